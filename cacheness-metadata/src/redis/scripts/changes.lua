-- Changes of what is stored, which can be undone; namespaces; garbage; the indexes of entries.
--
-- The last argument of every script that writes is the moment, in microseconds of the server's clock, after which nobody
-- waits for it any more. It may have been on its way for long, and others have written since: then it does nothing.

local time = call('TIME')
local microseconds = tonumber(time[1]) * 1000000 + tonumber(time[2])
if microseconds > tonumber(ARGV[#ARGV]) then return { 'LATE', decimal(microseconds) } end

-- Lets the script write where the server has no memory left, which refuses only what comes first. All that makes room goes
-- by this, and what takes hardly any; puts do not.
local function begin_writing()
  call('UNLINK', P .. 't:0')
end

-- Nil, or what takes back the changes so far, where one that fails later must leave nothing behind.
local undo
local trash, trashed = {}, 0

local function zadd(name, score, member)
  call('ZADD', name, score, member)
  if undo then undo[#undo + 1] = { 'ZREM', name, member } end
end

local function zrem(name, score, member)
  if call('ZREM', name, member) == 1 and undo then undo[#undo + 1] = { 'ZADD', name, score, member } end
end

local function hset(name, field, value)
  if undo then
    local before = call('HGET', name, field)
    undo[#undo + 1] = before and { 'HSET', name, field, before } or { 'HDEL', name, field }
  end
  call('HSET', name, field, value)
end

local function hdel(name, field)
  local before = undo and call('HGET', name, field)
  if call('HDEL', name, field) == 1 and before then undo[#undo + 1] = { 'HSET', name, field, before } end
end

local function drop(name)
  if not undo then return call('UNLINK', name) end
  if call('EXISTS', name) == 0 then return end
  trashed = trashed + 1
  local aside = P .. 't:' .. trashed
  call('RENAME', name, aside)
  trash[#trash + 1] = aside
  undo[#undo + 1] = { 'RENAME', aside, name }
end

local function set(name, value)
  if undo then
    drop(name)
    undo[#undo + 1] = { 'UNLINK', name }
  end
  call('SET', name, value)
end

local function overwrite(name, offset, value)
  if undo then
    undo[#undo + 1] = { 'SETRANGE', name, offset, call('GETRANGE', name, offset, offset + #value - 1) }
  end
  call('SETRANGE', name, offset, value)
end

-- What happened, for the feed.
local events = {}
local function tell(kind, name, key, version)
  if head.feed == 1 then events[#events + 1] = { kind, name, key or '', version or '' } end
end

-- Namespaces that were read or made, by name; false for one that does not exist.
local tenants = {}
local SUMS = {
  'entries', 'bytes', 'blobs', 'indexed', 'hits', 'misses', 'puts', 'removals', 'evictions', 'expirations', 'errors',
  'bytes_out', 'bytes_in',
}

local function tenant(name)
  if tenants[name] == nil then
    local flat = call('HGETALL', P .. 's:' .. name)
    local row = { name = name, stored = {}, own_entries = 0, own_bytes = 0 }
    for i = 1, #flat, 2 do row.stored[flat[i]] = flat[i + 1] end
    for _, field in ipairs(SUMS) do row[field] = tonumber(row.stored[field]) or 0 end
    row.generation = row.stored.generation
    row.max_entries, row.max_bytes = tonumber(row.stored.max_entries), tonumber(row.stored.max_bytes)
    tenants[name] = row.generation and row or false
  end
  return tenants[name]
end

local function next_generation(name)
  head.generation = head.generation + 1
  local generation = format('%012x', head.generation)
  hset(P .. 'g', generation, name)
  return generation
end

local function tenant_or_new(name)
  local row = tenant(name)
  if row then return row end
  row = { name = name, stored = {}, own_entries = 0, own_bytes = 0 }
  for _, field in ipairs(SUMS) do row[field] = 0 end
  row.generation = next_generation(name)
  zadd(P .. 'n', 0, name)
  tenants[name] = row
  return row
end

local function save_tenants()
  for name, row in pairs(tenants) do
    if row then
      local changed = { 'HSET', P .. 's:' .. name }
      for _, field in ipairs(SUMS) do
        local text = decimal(row[field])
        if text ~= (row.stored[field] or '0') then
          changed[#changed + 1] = field
          changed[#changed + 1] = text
        end
      end
      if row.generation ~= row.stored.generation then
        changed[#changed + 1] = 'generation'
        changed[#changed + 1] = row.generation
      end
      if #changed > 2 then call(unpack(changed)) end
    end
  end
end

local function save_event(number, event, length)
  return redis.pcall(
    'XADD', P .. 'f', 'MAXLEN', '~', length, decimal(number) .. '-0', 't', event[1], 'n', event[2], 'k', event[3], 'v',
    event[4]
  )
end

-- Saves what was changed, with a feed that goes back for so many events. Their numbers are saved before them: one that is
-- missing shows, and one that is used twice is refused by the stream, from then on.
local function commit(length)
  local first = head.events
  head.events = first + #events
  save_tenants()
  save_head()
  for i, event in ipairs(events) do
    local saved = save_event(first + i, event, length)
    if type(saved) == 'table' and saved.err then
      -- A stream that is not ours, or of another count. Whoever follows it finds a gap.
      call('UNLINK', P .. 'f')
      save_event(first + i, event, length)
    end
  end
  for _, name in ipairs(trash) do call('UNLINK', name) end
end

local function roll_back()
  for i = #undo, 1, -1 do call(unpack(undo[i])) end
end

-- A version that was never issued: the moment in microseconds, or one more than the last. So what a server that lost
-- its last writes issues after a restart is new, too.
local function next_version()
  head.sequence = microseconds > head.sequence and microseconds or head.sequence + 1
  return hex(head.sequence)
end

-- Lists a blob as garbage. What a cleared namespace leaves was counted by the clearing.
local function discard(e, due, counted)
  if e.blob == NO_BLOB then return end
  local before = call('HGET', P .. 'z', e.blob)
  if before then
    zrem(P .. 'b', 0, sub(before, 1, 16) .. e.blob)
    head.garbage = head.garbage - number(sub(before, 17, 30))
  end
  if not counted then head.garbage = head.garbage + e.size end
  hset(P .. 'z', e.blob, due .. hex(e.size) .. time[1])
  zadd(P .. 'b', 0, due .. e.blob)
end

-- Takes a blob out of the garbage.
local function retrieve(blob)
  local before = blob ~= NO_BLOB and call('HGET', P .. 'z', blob)
  if not before then return end
  zrem(P .. 'b', 0, sub(before, 1, 16) .. blob)
  hdel(P .. 'z', blob)
  head.garbage = head.garbage - number(sub(before, 17, 30))
  if head.garbage < 0 then head.garbage = 0 end
end

local function ranks()
  return P .. 'r:' .. decimal(head.epoch)
end

local function place(e, id)
  return e.rank .. e.version .. id
end

local function index_expiry(generation, id, e)
  if e.expires == NEVER then return end
  zadd(P .. 'x', 0, e.expires .. id)
  if e.scoped == '1' then zadd(P .. 'x:' .. generation, 0, e.expires .. id) end
end

local function unindex_expiry(generation, id, e)
  if e.expires == NEVER then return end
  zrem(P .. 'x', 0, e.expires .. id)
  if e.scoped == '1' then zrem(P .. 'x:' .. generation, 0, e.expires .. id) end
end

local function is_ranked(e)
  return head.ranked == 1 and e.epoch == head.epoch
end

local function index_rank(generation, id, e)
  if not is_ranked(e) then return end
  zadd(ranks(), e.priority, place(e, id))
  if e.scoped == '1' then zadd(ranks() .. ':' .. generation, e.priority, place(e, id)) end
end

local function unindex_rank(generation, id, e)
  if not is_ranked(e) then return end
  zrem(ranks(), e.priority, place(e, id))
  if e.scoped == '1' then zrem(ranks() .. ':' .. generation, e.priority, place(e, id)) end
end

local function index(generation, id, e)
  zadd(P .. 'c:' .. generation, 0, e.created .. sub(id, 13))
  index_expiry(generation, id, e)
  index_rank(generation, id, e)
end

local function unindex(generation, id, e)
  zrem(P .. 'c:' .. generation, 0, e.created .. sub(id, 13))
  unindex_expiry(generation, id, e)
  unindex_rank(generation, id, e)
end

-- Takes an entry, or what is damaged, out of the totals.
local function count_out(row, e)
  local size = e and e.size or 0
  row.entries, head.entries = row.entries - 1, head.entries - 1
  row.bytes, head.bytes = row.bytes - size, head.bytes - size
  if e and e.blob ~= NO_BLOB then row.blobs = row.blobs - size end
  for _, sums in ipairs({ row, head }) do
    if sums.entries < 0 then sums.entries = 0 end
    if sums.bytes < 0 then sums.bytes = 0 end
  end
  if row.blobs < 0 then row.blobs = 0 end
end

-- Deletes an entry of a namespace; its blob becomes garbage.
local function take_out(row, id, e, due)
  drop(P .. 'e:' .. id)
  unindex(row.generation, id, e)
  zrem(P .. 'k:' .. row.generation, 0, e.key)
  count_out(row, e)
  discard(e, due)
end

-- Notes uses of an entry: `form` says what becomes of its rank, which the caller checks by the policy itself.
local function use(row, id, e, at, hits, form, expires)
  local was_ranked, before = is_ranked(e), e.rank
  local after = {}
  for name, value in pairs(e) do after[name] = value end
  if at > e.accessed then after.accessed = at end
  after.hits = least(e.hits + hits, LARGEST)
  after.expires = expires or e.expires
  if was_ranked then
    if form == 'latest' then
      if at > e.rank then after.rank = at end
    elseif form == 'hits' then
      after.rank = add(e.rank, format('%016x', least(hits, LARGEST)))
    elseif form == 'expiry' then
      after.rank = after.expires == NEVER and rep('f', 16) or after.expires
    end
  end
  if after.expires ~= e.expires then
    unindex_expiry(row.generation, id, e)
    index_expiry(row.generation, id, after)
  end
  if after.rank ~= e.rank then
    unindex_rank(row.generation, id, e)
    index_rank(row.generation, id, after)
  end
  overwrite(P .. 'e:' .. id, 44, after.accessed .. hex(after.hits) .. after.expires .. after.rank)
  if not was_ranked then return '' end
  return before .. after.rank .. hex(after.hits) .. hex(e.size) .. after.expires .. e.version .. id
end

-- Lets later puts rank nothing.
local function stop_ranking()
  drop(ranks())
  head.ranked, head.ranking = 0, 0
end

-- Begins to rank all entries anew, in lists of their own.
local function begin_ranking()
  drop(ranks())
  for _, name in ipairs(call('SMEMBERS', P .. 'i')) do
    local generation = call('HGET', P .. 's:' .. name, 'generation')
    if generation then drop(ranks() .. ':' .. generation) end
  end
  head.epoch, head.ranked, head.age = head.epoch + 1, 1, '8000000000000000'
  head.ranking = head.entries > 0 and 1 or 0
end

-- Forgets the lists of a namespace of its own.
local function drop_lists(generation)
  drop(ranks() .. ':' .. generation)
  drop(P .. 'x:' .. generation)
end
