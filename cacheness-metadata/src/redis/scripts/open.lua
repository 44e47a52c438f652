-- Begins a cache where there is none and one may be begun, and says what is there. Arguments: a new cache's id, whether
-- it may be created, the format, whether a feed is to be kept.
local kind = call('TYPE', KEYS[1]).ok
if kind ~= 'none' and kind ~= 'hash' then return { 'OTHER' } end
local known = call('HMGET', KEYS[1], 'format', 'cache', 'feed')
if kind == 'hash' and not (known[1] and known[2]) then return { 'OTHER' } end
if not known[1] then
  if ARGV[2] ~= '1' then return { 'NOTHING' } end
  call('HSET', KEYS[1], 'format', ARGV[3], 'cache', ARGV[1], 'feed', ARGV[4])
  known = { ARGV[3], ARGV[1], ARGV[4] }
elseif tonumber(known[1]) and tonumber(known[1]) > tonumber(ARGV[3]) then
  return { 'NEWER', known[1] }
end
if ARGV[4] == '1' and known[3] ~= '1' then
  -- What begins with this is not refused by a server that has no memory left.
  call('UNLINK', P .. 't:0')
  call('HSET', KEYS[1], 'feed', '1')
end
load_head(known[2])
return { 'OK', known[2], rules() }
