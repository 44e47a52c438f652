-- Some namespaces after a name; or the limits of one. Arguments: the cache, the name, and how many or nothing.
if call('HGET', P .. 'h', 'cache') ~= ARGV[1] then return { 'GONE' } end
if ARGV[3] then
  local after = ARGV[2] == '' and '-' or '(' .. ARGV[2]
  return { 'OK', call('ZRANGEBYLEX', P .. 'n', after, '+', 'LIMIT', 0, ARGV[3]) }
end
local limits = call('HMGET', P .. 's:' .. ARGV[2], 'max_entries', 'max_bytes')
return { 'OK', limits[1] or '', limits[2] or '' }
