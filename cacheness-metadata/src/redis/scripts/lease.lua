-- A lease. Arguments: the cache, `acquire`, `renew` or `release`, the lease's name, the holder, for how many milliseconds,
-- and until when.
-- The lease's key ends by itself, by the server's clock.
if not load_head(ARGV[1]) then return { 'GONE' } end
local name, holder, ttl = P .. 'l:' .. ARGV[3], ARGV[4], ARGV[5]
local held = call('HMGET', name, 'holder', 'token')
local is_mine = held[1] == holder
if ARGV[2] == 'release' then
  if is_mine then call('UNLINK', name) end
  return { 'OK', is_mine and '1' or '0' }
end
if ARGV[2] == 'acquire' and not held[1] then
  begin_writing()
  held[2] = next_version()
  call('HSET', name, 'holder', holder, 'token', held[2])
  save_head()
elseif not is_mine then
  return { 'OK', '0' }
end
call('PEXPIRE', name, ttl)
return { 'OK', '1', held[2] }
