-- Blobs that may be deleted. Arguments: the cache, the moment, how many, and nothing or the second of the server's time
-- before which they must have been listed.
if call('HGET', P .. 'h', 'cache') ~= ARGV[1] then return { 'GONE' } end
local before = tonumber(ARGV[4])
local due = {}
for _, member in ipairs(call('ZRANGEBYLEX', P .. 'b', '-', '[' .. ARGV[2] .. '\255', 'LIMIT', 0, ARGV[3])) do
  local blob = sub(member, 17)
  local listed = before and tonumber(sub(call('HGET', P .. 'z', blob) or '', 31))
  if not before or (listed and listed < before) then due[#due + 1] = blob end
end
return { 'OK', due }
