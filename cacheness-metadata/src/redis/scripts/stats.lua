-- The statistics of one namespace, or of some after a name. Arguments: the cache, `1` or `*`, the name, how many.
if not load_head(ARGV[1]) then return { 'GONE' } end
local names = { ARGV[3] }
if ARGV[2] == '*' then
  local after = '-'
  if ARGV[3] ~= '' then after = '(' .. ARGV[3] end
  names = call('ZRANGEBYLEX', P .. 'n', after, '+', 'LIMIT', 0, ARGV[4])
end
local found = {}
for i, name in ipairs(names) do
  local row = call(
    'HMGET', P .. 's:' .. name, 'entries', 'bytes', 'hits', 'misses', 'puts', 'removals', 'evictions', 'expirations',
    'errors', 'bytes_out', 'bytes_in', 'generation'
  )
  if row[12] then
    local first = call('ZRANGE', P .. 'c:' .. row[12], 0, 0)[1]
    row[12] = first and sub(first, 1, 16) or ''
    found[#found + 1] = row
  end
end
return { 'OK', decimal(head.garbage), names[#names] or '', decimal(#names), found }
