-- The blobs that entries name. Arguments: the cache, then either nothing, for the generations that there are; or
-- `entries`, a generation, the key to go on after and how many entries; or `garbage` and blobs.
if call('HGET', P .. 'h', 'cache') ~= ARGV[1] then return { 'GONE' } end
if not ARGV[2] then
  local all = call('HKEYS', P .. 'g')
  for _, member in ipairs(call('ZRANGE', P .. 'd', 0, -1)) do all[#all + 1] = sub(member, 1, 12) end
  return { 'OK', all }
end
local found = {}
if ARGV[2] == 'garbage' then
  for i = 3, #ARGV do
    if call('HEXISTS', P .. 'z', ARGV[i]) == 1 then found[#found + 1] = ARGV[i] end
  end
  return { 'OK', found }
end
local generation, after = ARGV[3], ARGV[4] == '' and '-' or '(' .. ARGV[4]
local keys = call('ZRANGEBYLEX', P .. 'k:' .. generation, after, '+', 'LIMIT', 0, ARGV[5])
for _, key in ipairs(keys) do
  local blob = call('GETRANGE', P .. 'e:' .. generation .. sha(key), 131, 162)
  if blob ~= NO_BLOB and blob ~= '' then found[#found + 1] = blob end
end
return { 'OK', found, decimal(#keys), keys[#keys] or '' }
