-- The blobs that entries name. Arguments: the cache, then one of these: `live`, a namespace's name and how many, for the
-- generations of the namespaces after it; `cleared`, a generation and how many, for those of cleared namespaces after it;
-- `entries`, a generation, the entry to go on after and how many; `garbage` and blobs.
if call('HGET', P .. 'h', 'cache') ~= ARGV[1] then return { 'GONE' } end
local found, last = {}, ''
if ARGV[2] == 'live' then
  local names = call('ZRANGEBYLEX', P .. 'n', ARGV[3] == '' and '-' or '(' .. ARGV[3], '+', 'LIMIT', 0, ARGV[4])
  for _, name in ipairs(names) do
    local generation = call('HGET', P .. 's:' .. name, 'generation')
    if generation then found[#found + 1] = generation end
  end
  return { 'OK', found, decimal(#names), names[#names] or '' }
end
if ARGV[2] == 'cleared' then
  local after = ARGV[3] == '' and '-inf' or '(' .. decimal(number(ARGV[3]))
  for _, member in ipairs(call('ZRANGE', P .. 'd', after, '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[4])) do
    last = sub(member, 1, 12)
    found[#found + 1] = last
  end
  return { 'OK', found, decimal(#found), last }
end
if ARGV[2] == 'garbage' then
  for i = 3, #ARGV do
    if call('HEXISTS', P .. 'z', ARGV[i]) == 1 then found[#found + 1] = ARGV[i] end
  end
  return { 'OK', found }
end
-- By the list of when entries were put, which has their ids: neither keys nor their hashes are needed.
local entries = P .. 'e:' .. ARGV[3]
local after = ARGV[4] == '' and '-' or '(' .. ARGV[4]
local members = call('ZRANGEBYLEX', P .. 'c:' .. ARGV[3], after, '+', 'LIMIT', 0, ARGV[5])
for _, member in ipairs(members) do
  local blob = call('GETRANGE', entries .. sub(member, 17), 131, 162)
  if blob ~= NO_BLOB and blob ~= '' then found[#found + 1] = blob end
end
return { 'OK', found, decimal(#members), members[#members] or '' }
