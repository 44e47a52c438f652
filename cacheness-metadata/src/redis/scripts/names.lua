-- The namespaces; or the limits of one. Arguments: the cache, and the namespace or nothing.
if call('HGET', P .. 'h', 'cache') ~= ARGV[1] then return { 'GONE' } end
if not ARGV[2] then return { 'OK', call('ZRANGE', P .. 'n', 0, -1) } end
local limits = call('HMGET', P .. 's:' .. ARGV[2], 'max_entries', 'max_bytes')
return { 'OK', limits[1] or '', limits[2] or '' }
