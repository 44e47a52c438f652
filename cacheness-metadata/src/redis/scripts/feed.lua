-- Where the feed stands: the number of the last event. Arguments: the cache.
local known = call('HMGET', P .. 'h', 'cache', 'events')
if known[1] ~= ARGV[1] then return { 'GONE' } end
return { 'OK', known[2] or '0' }
