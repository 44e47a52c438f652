-- Looks entries up. Arguments: the cache, the namespace, keys.
if call('HGET', P .. 'h', 'cache') ~= ARGV[1] then return { 'GONE' } end
local found = { 'OK' }
local generation = call('HGET', P .. 's:' .. ARGV[2], 'generation')
for i = 3, #ARGV do
  found[i - 1] = generation and call('GET', P .. 'e:' .. generation .. sha(ARGV[i])) or false
end
return found
