-- Makes the changes of one call, all or none. Arguments: the cache, the version of the rules that the caller goes by, `1`
-- where a later change may fail, `1` where the policy refuses, how many uses, vetted entries and changes follow, and for how
-- many events the feed goes back.

if not load_head(ARGV[1]) then return { 'GONE' } end
if (stored.rules or '0') ~= ARGV[2] then return { 'STALE', rules() } end
if ARGV[3] == '1' then undo = {} end
local refuses = ARGV[4] == '1'
local uses, looked_at, count = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local feed_length = ARGV[8]
local USE, CHANGE, RECLAIMED_PER_CALL = 6, 9, 16
evictions_left = evictions_left + count
local used, outcomes = {}, {}
local start_entries, start_bytes, gone_entries, gone_bytes = head.entries, head.bytes, 0, 0

-- What stands under a key: the entry; or `true` where something else does, with it.
local function find(row, key)
  if not row then return nil end
  local id = row.generation .. sha(key)
  local e, text = read(id)
  if e and e.key == key then return e, id end
  if text ~= '' then return nil, id, e or 'damaged' end
  return nil, id
end

local function holds(condition, previous)
  return condition == 'always' or condition == previous
end

-- Evicts until one more entry of this size fits into a namespace and the cache. Nil, or why it cannot.
local function make_room(row, entries, bytes, own_more, size, now, due)
  for _, scope in ipairs({ row, false }) do
    scope = scope or nil
    if is_over(scope, entries, bytes) then
      local of_call = scope or { own_entries = own_entries, own_bytes = own_bytes }
      local name = scope and scope.name or ''
      local mine, my_bytes = of_call.own_entries + own_more, of_call.own_bytes + size
      if exceeds(scope, mine, my_bytes) then
        return { 'OWN', { name, decimal(mine), decimal(my_bytes) } }
      end
      local before, bytes_before = head.entries, head.bytes
      local problem = evict(scope, entries, bytes, now, due, refuses)
      gone_entries, gone_bytes = gone_entries + before - head.entries, gone_bytes + bytes_before - head.bytes
      if scope then
        scope.gone_entries = (scope.gone_entries or 0) + before - head.entries
        scope.gone_bytes = (scope.gone_bytes or 0) + bytes_before - head.bytes
      end
      if problem then return problem end
      if is_over(scope, entries, bytes) then
        if evictions_left == 0 then
          local added, added_bytes = head.entries - start_entries + gone_entries, head.bytes - start_bytes + gone_bytes
          if scope then
            added = scope.entries - (tonumber(scope.stored.entries) or 0) + (scope.gone_entries or 0)
            added_bytes = scope.bytes - (tonumber(scope.stored.bytes) or 0) + (scope.gone_bytes or 0)
          end
          return { 'CROWDED', { name, decimal(added + entries), decimal(added_bytes + bytes) } }
        end
        if refuses then
          local limits = scope or head
          return { 'REFUSED', { name, limits.max_entries or '', limits.max_bytes or '' } }
        end
      end
    end
  end
  return nil
end

-- Takes a blob away from the entries of cleared namespaces that have this key: a put that is repeated after its namespace
-- was cleared names the blob of its first attempt, which would be listed as garbage when that entry is taken back. Where
-- very many namespaces were cleared, those are looked at that go next and those that were made last.
local function keep_from_reclaiming(key, blob)
  if blob == NO_BLOB or head.cleared <= 0 then return end
  local hash, looked_through = sha(key), {}
  for _, member in ipairs(call('ZRANGE', P .. 'd', 0, 255)) do looked_through[#looked_through + 1] = member end
  if #looked_through == 256 then
    for _, member in ipairs(call('ZRANGE', P .. 'd', -256, -1)) do looked_through[#looked_through + 1] = member end
  end
  for _, member in ipairs(looked_through) do
    local name = P .. 'e:' .. sub(member, 1, 12) .. hash
    local e = parse(call('GETRANGE', name, 0, HEADER - 1))
    if e and e.blob == blob then
      overwrite(name, 131, NO_BLOB)
      head.garbage = head.garbage - e.size
      if head.garbage < 0 then head.garbage = 0 end
    end
  end
end

local function put(name, key, condition, now, due, header, tail, rank_form)
  local row = tenant(name)
  local old, id, other = find(row, key)
  local previous = old and old.version or ''
  if not holds(condition, previous) then return { '0', previous } end
  local size = number(sub(header, 15, 28))
  for _, scope in ipairs({ head, row or head }) do
    if (scope.max_bytes and size > scope.max_bytes) or scope.max_entries == 0 then
      return nil, { 'FITS', { scope.name or '', scope.max_entries or '', scope.max_bytes or '', decimal(size) } }
    end
  end
  local blob = sub(header, 132, 163)
  -- A blob that the entry has already was kept by the sweep, which looks again after it has condemned it.
  local is_kept = blob == NO_BLOB or (old and old.blob == blob)
  if not is_kept and call('HEXISTS', P .. 'y', blob) == 1 then return nil, { 'CONDEMNED' } end
  row = row or tenant_or_new(name)
  id = id or row.generation .. sha(key)
  local mine = own[id]
  if other then
    -- Damage, or an entry whose key has the same hash: it is in the way.
    if other == 'damaged' then
      drop(P .. 'e:' .. id)
      count_out(row, nil)
    else
      take_out(row, id, other, due)
    end
  end
  local entries, bytes = old and 0 or 1, size - (old and old.size or 0)
  own[id] = mine or 0
  local first = #evicted
  local problem = make_room(row, entries, bytes, mine and 0 or 1, size - (mine or 0), now, due)
  if problem then return nil, problem end

  if old then
    unskip()
    unindex(row.generation, id, old)
    count_out(row, old)
    if old.blob ~= blob then discard(old, due) end
  else
    zadd(P .. 'k:' .. row.generation, 0, key)
  end
  local version = next_version()
  local rank = rank_form == 'version' and format('8%015x', head.sequence) or sub(header, 91, 106)
  local epoch = head.ranked == 1 and head.epoch or 0
  header = version .. sub(header, 15, 90) .. rank .. sub(header, 107, 122) .. format('%08d', epoch) .. decimal(row.indexed)
    .. sub(header, 132)
  local e = parse(header)
  set(P .. 'e:' .. id, header .. tail)
  index(row.generation, id, e)
  retrieve(e.blob)
  keep_from_reclaiming(key, e.blob)
  row.entries, row.bytes = row.entries + 1, row.bytes + size
  if e.blob ~= NO_BLOB then row.blobs = row.blobs + size end
  head.entries, head.bytes = head.entries + 1, head.bytes + size
  if mine then
    row.own_entries, row.own_bytes = row.own_entries - 1, row.own_bytes - mine
    own_entries, own_bytes = own_entries - 1, own_bytes - mine
  end
  row.own_entries, row.own_bytes = row.own_entries + 1, row.own_bytes + size
  own_entries, own_bytes = own_entries + 1, own_bytes + size
  own[id] = size
  tell('put', name, key, version)
  local gone = {}
  for i = first + 1, #evicted do gone[#gone + 1] = evicted[i] end
  return { '1', previous, version, gone, head.ranked == 1 and rank or '', id }
end

local function remove(name, key, condition, due)
  local row = tenant(name)
  local old, id, other = find(row, key)
  if not old and other ~= 'damaged' then return { '0', '' } end
  local previous = old and old.version or ''
  if not holds(condition, previous) then return { '0', previous } end
  if old then
    take_out(row, id, old, due)
  else
    drop(P .. 'e:' .. id)
    zrem(P .. 'k:' .. row.generation, 0, key)
    count_out(row, nil)
  end
  local mine = own[id]
  if mine then
    row.own_entries, row.own_bytes = row.own_entries - 1, row.own_bytes - mine
    own_entries, own_bytes = own_entries - 1, own_bytes - mine
    own[id] = nil
    unskip()
  end
  tell('gone', name, key)
  return { '1', previous }
end

local function touch(name, key, condition, now, way, by, form)
  local row = tenant(name)
  local old, id = find(row, key)
  if not old then return { '0', '' } end
  if not holds(condition, old.version) then return { '0', old.version } end
  local expires = by
  if way == 'extend' then expires = old.expires == NEVER and NEVER or add(old.expires, by) end
  if own[id] then unskip() end
  local result = use(row, id, old, now, 1, form, expires)
  tell('gone', name, key)
  return { '1', old.version, '', {}, result, id }
end

local function evict_some(name, now, due, entries, bytes, most)
  local row
  if name ~= '' then
    row = tenant(name)
    if not row then return { '1', '', '', {}, '0' } end
  end
  if not is_over(row, entries, bytes) then return { '1', '', '', {}, '0' } end
  evictions_left = most
  local problem = evict(row, entries, bytes, now, due, refuses)
  if problem then return nil, problem end
  local more = evictions_left == 0 and is_over(row, entries, bytes)
  return { '1', '', '', evicted, more and '1' or '0' }
end

local COUNTERS = { 'hits', 'misses', 'puts', 'removals', 'evictions', 'expirations', 'errors', 'bytes_out', 'bytes_in' }

local function add_counters(name, counts)
  local row, i = tenant_or_new(name), 0
  for text in string.gmatch(counts, '%d+') do
    i = i + 1
    row[COUNTERS[i]] = least(row[COUNTERS[i]] + tonumber(text), LARGEST)
  end
  return { '1' }
end

local function reset(name)
  local row = tenant(name)
  if row then
    for _, field in ipairs(COUNTERS) do row[field] = 0 end
  end
  return { '1' }
end

local function clear(name, due, dropping)
  local row = tenant(name)
  if not row then return { '0', '0' } end
  local removed = row.entries
  if removed > 0 or dropping then
    local old = row.generation
    hdel(P .. 'g', old)
    zadd(P .. 'd', number(old), old .. due)
    drop_lists(old)
    head.cleared = head.cleared + 1
    head.entries, head.bytes = head.entries - row.entries, head.bytes - row.bytes
    if head.entries < 0 then head.entries = 0 end
    if head.bytes < 0 then head.bytes = 0 end
    head.garbage = head.garbage + row.blobs
    row.entries, row.bytes, row.blobs = 0, 0, 0
    if not dropping then row.generation = next_generation(name) end
    tell('cleared', name)
  end
  if dropping then
    zrem(P .. 'n', 0, name)
    drop(P .. 's:' .. name)
    tenants[name] = false
    if row.indexed == 1 then
      call('SREM', P .. 'i', name)
      head.limited, head.rules = head.limited - 1, head.rules + 1
      local of_cache = head.max_entries or head.max_bytes
      if head.limited <= 0 and (refuses or not of_cache) then stop_ranking() end
    end
  end
  return { '1', decimal(removed) }
end

local function purge(now, due, limit)
  local members, keys, back = expired_members(P .. 'x', now, 0, limit), {}, 0
  for _, member in ipairs(members) do
    local id = sub(member, 17)
    local e, name = candidate(P .. 'x', 0, member, id, function(e) return e.expires == sub(member, 1, 16) end)
    if e then
      evict_one(name, id, e, 'expired', due)
      keys[#keys + 1] = { name, e.key }
    else
      back = back + 1
    end
  end
  back = back + reclaim(limit - #members)
  local more = head.cleared > 0 or #expired_members(P .. 'x', now, 0, 1) > 0
  return { decimal(#keys), decimal(back), more and '1' or '0', keys }
end

local function forget(blobs)
  for at = 1, #blobs, 32 do retrieve(sub(blobs, at, at + 31)) end
  return { '1' }
end

-- Notes that blobs are about to be deleted, and forgets some of those of long ago.
local function condemn(blobs, now, until_then)
  for _, member in ipairs(expired_members(P .. 'w', now, 0, 1000)) do
    call('ZREM', P .. 'w', member)
    if call('HGET', P .. 'y', sub(member, 17)) == sub(member, 1, 16) then call('HDEL', P .. 'y', sub(member, 17)) end
  end
  for at = 1, #blobs, 32 do
    local blob = sub(blobs, at, at + 31)
    call('HSET', P .. 'y', blob, until_then)
    call('ZADD', P .. 'w', 0, until_then .. blob)
  end
  return { '1' }
end

local function change(at)
  local kind, name, key, condition, now, due = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5]
  local a, b, c = ARGV[at + 6], ARGV[at + 7], ARGV[at + 8]
  if kind == 'put' then return put(name, key, condition, now, due, a, b, c) end
  if kind == 'remove' then return remove(name, key, condition, due) end
  if kind == 'touch' then return touch(name, key, condition, now, a, b, c) end
  if kind == 'evict' then return evict_some(name, now, due, tonumber(a), tonumber(b), tonumber(c)) end
  if kind == 'count' then return add_counters(name, a) end
  if kind == 'reset' then return reset(name) end
  if kind == 'clear' then return clear(name, due, a == 'drop') end
  if kind == 'purge' then return purge(now, due, tonumber(a)) end
  if kind == 'condemn' then return condemn(a, now, due) end
  return forget(a)
end

local function run()
  local at = 9
  local last = 8 + uses * USE + looked_at
  local reclaims, puts = false, false
  for i = 9 + uses * USE, last do vetted[ARGV[i]] = true end
  for i = last + 1, last + count * CHANGE, CHANGE do
    local kind = ARGV[i]
    if kind == 'put' or kind == 'remove' then reclaims = true end
    if kind == 'put' then puts = true end
  end
  -- A put is refused here if the server has no memory left: once something is written, nothing is refused any more.
  if puts then call('HSET', P .. 'h', 'cache', stored.cache) else begin_writing() end
  for _ = 1, uses do
    local row = tenant(ARGV[at])
    local e, id = find(row, ARGV[at + 1])
    if e and e.version == ARGV[at + 2] then
      used[#used + 1] = use(row, id, e, ARGV[at + 3], tonumber(ARGV[at + 4]), ARGV[at + 5])
    else
      used[#used + 1] = ''
    end
    at = at + USE
  end
  for i = last + 1, last + count * CHANGE, CHANGE do
    local outcome, problem = change(i)
    if problem then return problem end
    outcomes[#outcomes + 1] = outcome
  end
  if reclaims and head.cleared > 0 then reclaim(RECLAIMED_PER_CALL) end
  return nil
end

local fine, problem = pcall(run)
if not fine then
  if undo then roll_back() end
  return type(problem) == 'table' and problem or redis.error_reply(problem)
end
if problem and undo then
  roll_back()
  return { problem[1], '0', stored.age or '8000000000000000', {}, {}, problem[2] or {}, {} }
end
local next_ones = {}
if not problem and victims_of_limits > 0 then next_ones = next_victims(nil, least(32, 4 + 2 * victims_of_limits), 0) end
commit(feed_length)
if problem then return { problem[1], '1', head.age, evicted, used, problem[2] or {}, {} } end
return { 'OK', '1', head.age, {}, used, next_ones, outcomes }
