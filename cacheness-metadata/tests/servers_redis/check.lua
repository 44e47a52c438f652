-- Compares everything that is stored under a prefix: each text of the answer is something that does not agree.
local P = string.sub(KEYS[1], 1, -2)
local wrong, entries, garbage = {}, 0, 0
local head = {}
local flat = redis.call('HGETALL', KEYS[1])
for i = 1, #flat, 2 do head[flat[i]] = flat[i + 1] end
local epoch, ranked, ranking = tonumber(head.epoch or '0'), head.ranked == '1', head.ranking == '1'

local function is(fine, what)
  if not fine then wrong[#wrong + 1] = what end
end

local function has(list, member)
  return redis.call('ZSCORE', P .. list, member) and true or false
end

local live, cleared, sums, bytes, blobs = {}, {}, {}, 0, {}
flat = redis.call('HGETALL', P .. 'g')
for i = 1, #flat, 2 do
  live[flat[i]] = flat[i + 1]
  is(redis.call('HGET', P .. 's:' .. flat[i + 1], 'generation') == flat[i], 'generation of ' .. flat[i + 1])
end
for _, member in ipairs(redis.call('ZRANGE', P .. 'd', 0, -1)) do cleared[string.sub(member, 1, 12)] = true end
local in_order, in_expiry, cleared_blobs = 0, 0, 0
local function starts(text, with)
  return string.sub(text, 1, #with) == with
end
for _, key in ipairs(redis.call('KEYS', '*')) do
  if starts(key, P .. 'e:') then
    local id, text = string.sub(key, #P + 3), redis.call('GET', key)
    local generation, key_length = string.sub(id, 1, 12), tonumber(string.sub(text, 165, 169), 16)
    local size, blob, expires = tonumber(string.sub(text, 15, 28), 16), string.sub(text, 132, 163), string.sub(text, 75, 90)
    local name, own = live[generation], string.sub(text, 178, 177 + key_length)
    local has_blob = string.sub(blob, 1, 1) ~= '-'
    is(string.sub(id, 13) == string.sub(redis.sha1hex(own), 1, 32), 'id of ' .. own)
    is(has('c:' .. generation, string.sub(text, 29, 44) .. string.sub(id, 13)), 'created of ' .. own)
    if name then
      entries, bytes = entries + 1, bytes + size
      sums[name] = sums[name] or { 0, 0, 0 }
      sums[name][1], sums[name][2] = sums[name][1] + 1, sums[name][2] + size
      if has_blob then
        sums[name][3], blobs[blob] = sums[name][3] + size, true
      end
      is(has('k:' .. generation, own), 'key of ' .. own)
      local scoped = redis.call('SISMEMBER', P .. 'i', name) == 1
      local place = string.sub(text, 91, 106) .. string.sub(text, 1, 14) .. id
      if expires ~= string.rep('-', 16) then
        is(has('x', expires .. id), 'expiry of ' .. own)
        if scoped and not ranking then is(has('x:' .. generation, expires .. id), 'expiry in the namespace of ' .. own) end
      end
      if ranked and not ranking then
        is(tonumber(string.sub(text, 123, 130)) == epoch, 'epoch of ' .. own)
        is(has('r:' .. epoch, place), 'rank of ' .. own)
        is(tonumber(redis.call('ZSCORE', P .. 'r:' .. epoch, place) or -1) == tonumber(string.sub(text, 107, 122)), 'priority of ' .. own)
        if scoped then is(has('r:' .. epoch .. ':' .. generation, place), 'rank in the namespace of ' .. own) end
      end
    else
      is(cleared[generation], 'an entry of no generation: ' .. own)
      if has_blob then cleared_blobs = cleared_blobs + size end
    end
  elseif starts(key, P .. 'k:') or starts(key, P .. 'c:') then
    local generation = string.sub(key, #P + 3)
    is(live[generation] or cleared[generation], 'a list of no generation ' .. key)
    if live[generation] then
      local row = redis.call('HGET', P .. 's:' .. live[generation], 'entries') or '0'
      is(redis.call('ZCARD', key) == tonumber(row), 'the length of ' .. key)
    end
  elseif starts(key, P .. 'x:') then
    is(redis.call('SISMEMBER', P .. 'i', live[string.sub(key, #P + 3)] or '') == 1, 'a list of no namespace with limits ' .. key)
  elseif starts(key, P .. 'r:') then
    is(ranked and starts(key, P .. 'r:' .. epoch), 'ranks of old ' .. key)
  elseif starts(key, P .. 't:') then
    is(false, 'what was set aside ' .. key)
  end
end
for _, list in ipairs({ 'x', 'r:' .. epoch }) do
  for _, member in ipairs(redis.call('ZRANGE', P .. list, 0, -1)) do
    local id = string.sub(member, list == 'x' and 17 or 31)
    is(redis.call('EXISTS', P .. 'e:' .. id) == 1, 'a row of no entry in ' .. list)
  end
end
for name, sum in pairs(sums) do
  local row = redis.call('HMGET', P .. 's:' .. name, 'entries', 'bytes', 'blobs')
  for i, field in ipairs({ 'entries', 'bytes', 'blobs' }) do
    is(tonumber(row[i] or '0') == sum[i], field .. ' of ' .. name)
  end
end
is(tonumber(head.entries or '0') == entries, 'entries')
is(tonumber(head.bytes or '0') == bytes, 'bytes')
flat = redis.call('HGETALL', P .. 'z')
for i = 1, #flat, 2 do
  garbage = garbage + tonumber(string.sub(flat[i + 1], 17, 30), 16)
  is(has('b', string.sub(flat[i + 1], 1, 16) .. flat[i]), 'when a blob is due')
  is(not blobs[flat[i]], 'a live blob is garbage')
end
is(redis.call('ZCARD', P .. 'b') == #flat / 2, 'the length of the garbage')
is(tonumber(head.garbage or '0') == garbage + cleared_blobs, 'garbage ' .. (head.garbage or '0') .. ' ' .. garbage .. ' ' .. cleared_blobs)
local limited = redis.call('SCARD', P .. 'i')
is(tonumber(head.limited or '0') == limited, 'how many namespaces have limits')
return wrong
