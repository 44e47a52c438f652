-- What goes without being asked for by key: victims of the limits, expired entries, and what cleared namespaces left.

-- Entries that may be evicted because the caller has looked whether it used them, and entries that this call puts.
local vetted, own = {}, {}
local AT_ONCE, RECLAIMED_AT_MOST = 16, 1000
local evicted, victims_of_limits, evictions_left, reclaimed = {}, 0, 500, 0
local own_entries, own_bytes = 0, 0

-- At least so many of the first entries of a list are of this call. It is kept from one change to the next: to look through
-- them anew for each would take the square of their number.
local skips = {}

-- An entry of this call leaves its place in the lists.
local function unskip()
  for list, skip in pairs(skips) do
    if skip > 0 then skips[list] = skip - 1 end
  end
end

-- True where so much is over the limits of a namespace, or of the cache where `row` is nil.
local function exceeds(row, entries, bytes)
  local limits = row or head
  return (limits.max_entries and entries > limits.max_entries) or (limits.max_bytes and bytes > limits.max_bytes) or false
end

local function is_over(row, entries, bytes)
  local sums = row or head
  return exceeds(row, sums.entries + entries, sums.bytes + bytes)
end

-- Takes back an entry of a cleared namespace.
local function reclaim_one(generation, id, e, due)
  drop(P .. 'e:' .. id)
  unindex(generation, id, e)
  discard(e, due, true)
end

-- When the blobs of a cleared namespace may be deleted.
local function due_of(generation)
  local score = number(generation)
  local found = call('ZRANGE', P .. 'd', decimal(score), decimal(score), 'BYSCORE')[1]
  return found and sub(found, 13) or '8000000000000000'
end

-- Takes back up to `most` entries of cleared namespaces, and says how many. A namespace counts as one more, so that very
-- many that had next to nothing in them are not taken back all at once.
local function reclaim(most)
  local left, done = most, 0
  while left > 0 and head.cleared > 0 do
    local first = call('ZRANGE', P .. 'd', 0, 0)[1]
    if not first then
      head.cleared = 0
      break
    end
    local generation, due = sub(first, 1, 12), sub(first, 13)
    local rows = call('ZRANGE', P .. 'c:' .. generation, 0, left - 1)
    for _, member in ipairs(rows) do
      local id = generation .. sub(member, 17)
      local e = parse(call('GETRANGE', P .. 'e:' .. id, 0, HEADER - 1))
      if e then reclaim_one(generation, id, e, due) end
      drop(P .. 'e:' .. id)
      zrem(P .. 'c:' .. generation, 0, member)
    end
    if #rows < left then
      zrem(P .. 'd', number(generation), first)
      drop(P .. 'k:' .. generation)
      drop(P .. 'c:' .. generation)
      head.cleared = head.cleared - 1
      left = left - 1
    end
    left, done = left - #rows, done + #rows
  end
  return done
end

-- The entry that a member of an index names, with its namespace; nil where there is none any more. What is left of it
-- then goes.
local function candidate(list, score, member, id, is_of)
  local e = read(id)
  if not (e and is_of(e)) then
    zrem(list, score, member)
    return nil
  end
  local generation = sub(id, 1, 12)
  local name = call('HGET', P .. 'g', generation)
  if name then return e, name end
  reclaim_one(generation, id, e, due_of(generation))
  reclaimed = reclaimed + 1
  return nil
end

local function evict_one(name, id, e, reason, due)
  local row = tenant(name)
  take_out(row, id, e, due)
  tell('gone', name, e.key)
  if reason == 'expired' then
    row.expirations = row.expirations + 1
  else
    row.evictions = row.evictions + 1
    victims_of_limits = victims_of_limits + 1
    if e.rank > head.age then head.age = e.rank end
  end
  evicted[#evicted + 1] = { name, e.key, reason }
end

local function expired_members(list, now, skip, count)
  return call('ZRANGEBYLEX', list, '-', '[' .. now .. '\255', 'LIMIT', skip, count)
end

local function evict_expired(row, entries, bytes, now, due)
  local list = P .. 'x'
  if row then list = P .. 'x:' .. row.generation end
  while is_over(row, entries, bytes) and evictions_left > 0 and reclaimed < RECLAIMED_AT_MOST do
    local members = expired_members(list, now, skips[list] or 0, AT_ONCE)
    for _, member in ipairs(members) do
      if not is_over(row, entries, bytes) or evictions_left == 0 then return end
      local id = sub(member, 17)
      if own[id] then
        skips[list] = (skips[list] or 0) + 1
      else
        local e, name = candidate(list, 0, member, id, function(e) return e.expires == sub(member, 1, 16) end)
        if e then
          evict_one(name, id, e, 'expired', due)
          evictions_left = evictions_left - 1
        end
      end
    end
    if #members == 0 then return end
  end
end

-- Those that go next, for the caller to see whether it used them. The first `skip` are entries of this call; without
-- passing over them nothing would be found where many of them rank lowest, and the caller would ask for ever.
local function next_victims(row, count, skip)
  local list, found, bytes = ranks(), {}, 0
  if row then list = list .. ':' .. row.generation end
  for _, member in ipairs(call('ZRANGE', list, skip, skip + count - 1)) do
    local id = sub(member, 31)
    local name = call('HGET', P .. 'g', sub(id, 1, 12))
    local e = name and read(id)
    if e and not own[id] and bytes < 1048576 then
      bytes = bytes + #e.key
      found[#found + 1] = name
      found[#found + 1] = e.key
      found[#found + 1] = sub(member, 17)
    end
  end
  return found
end

local function evict_ranked(row, entries, bytes, due)
  local list = ranks()
  if row then list = list .. ':' .. row.generation end
  while is_over(row, entries, bytes) and evictions_left > 0 do
    if reclaimed >= RECLAIMED_AT_MOST then return { 'CLEARED' } end
    local skip = skips[list] or 0
    local members = call('ZRANGE', list, skip, skip + AT_ONCE - 1)
    for _, member in ipairs(members) do
      if not is_over(row, entries, bytes) or evictions_left == 0 then return nil end
      local id = sub(member, 31)
      if own[id] then
        skips[list] = (skips[list] or 0) + 1
      else
        local e, name = candidate(list, 0, member, id, function(e) return place(e, id) == member end)
        if e then
          if not vetted[sub(member, 17)] then
            return { 'LOOK', next_victims(row, least(5000, 32 + 4 * #evicted), skips[list] or 0) }
          end
          evict_one(name, id, e, 'limit', due)
          evictions_left = evictions_left - 1
        end
      end
    end
    if #members == 0 then return nil end
  end
  return nil
end

-- Evicts until so much more fits: what has expired, then by priority and rank. Nil, or why it cannot go on.
local function evict(row, entries, bytes, now, due, refuses)
  if (row or not refuses) and head.ranking == 1 then return { 'UNRANKED' } end
  evict_expired(row, entries, bytes, now, due)
  if reclaimed >= RECLAIMED_AT_MOST then return { 'CLEARED' } end
  if refuses then return nil end
  return evict_ranked(row, entries, bytes, due)
end
