-- Some entries by namespace and key, without inline bytes. Arguments: the cache, `1` for one namespace or `*`, the
-- namespace to begin in, the key to begin after (Lua compares texts by the server's locale, so it is the caller that sees
-- to it that no key with the prefix stands before), the prefix, how many rows and namespaces may be looked at, how many
-- entries may be given, which expiry (`*`, `expired`, `valid`) at which moment, and the epoch whose entries are left out.
if not load_head(ARGV[1]) then return { 'GONE' } end
local only, name, after, prefix = ARGV[2] == '1', ARGV[3], ARGV[4], ARGV[5]
local looks, wanted, expiry, now, epoch = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8], ARGV[9], tonumber(ARGV[10])
local MOST_BYTES, AT_ONCE = 1048576, 100
local found, bytes = {}, 0

local function next_name(limit)
  return call('ZRANGEBYLEX', P .. 'n', limit, '+', 'LIMIT', 0, 1)[1]
end

if not only then
  local first = next_name(name == '' and '-' or '[' .. name)
  if first ~= name then after = '' end
  name = first
end
while name do
  local generation = call('HGET', P .. 's:' .. name, 'generation')
  local most = prefix == '' and '+' or '[' .. prefix .. '\255'
  while generation do
    local from = prefix == '' and '-' or '[' .. prefix
    if after ~= '' then from = '(' .. after end
    local at_once = least(AT_ONCE, looks + 1)
    local keys = call('ZRANGEBYLEX', P .. 'k:' .. generation, from, most, 'LIMIT', 0, at_once)
    for _, key in ipairs(keys) do
      if looks <= 0 or wanted <= 0 or bytes > MOST_BYTES then return { 'OK', '1', name, after, found } end
      looks, after = looks - 1, key
      local id = generation .. sha(key)
      local head_of = call('GETRANGE', P .. 'e:' .. id, 74, 129)
      local expires = sub(head_of, 1, 16)
      local expired = expires ~= NEVER and expires <= now
      local left_out = (expiry == 'expired' and not expired) or (expiry == 'valid' and expired)
        or tonumber(sub(head_of, 49, 56)) == epoch
      if #head_of == 56 and not left_out then
        local e, text = read(id)
        if not e or e.key == key then
          found[#found + 1] = name
          found[#found + 1] = id
          found[#found + 1] = key
          found[#found + 1] = text
          bytes, wanted = bytes + #text, wanted - 1
        end
      end
    end
    if #keys < at_once then break end
  end
  if only then break end
  name, after, looks = next_name('(' .. name), '', looks - 1
  if name and looks <= 0 then return { 'OK', '1', name, '', found } end
end
return { 'OK', '0', '', '', found }
