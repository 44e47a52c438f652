-- Blobs that may be deleted. Arguments: the cache, the moment, how many.
if call('HGET', P .. 'h', 'cache') ~= ARGV[1] then return { 'GONE' } end
local due = call('ZRANGEBYLEX', P .. 'b', '-', '[' .. ARGV[2] .. '\255', 'LIMIT', 0, ARGV[3])
for i, member in ipairs(due) do due[i] = sub(member, 17) end
return { 'OK', due }
