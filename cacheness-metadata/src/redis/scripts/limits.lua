-- Changes the limits of the cache or of a namespace. Arguments: the cache, the version of the rules that the caller goes
-- by, the namespace or nothing, then for the cache: the most entries and bytes, the policy, `1` where entries are to be
-- ranked; for a namespace: what becomes of the most entries and bytes (`keep` or the new ones), `1` where the policy
-- refuses; and until when.
if not load_head(ARGV[1]) then return { 'GONE' } end
if (stored.rules or '0') ~= ARGV[2] then return { 'STALE', rules() } end
local name, now = ARGV[3], { ARGV[4], ARGV[5] }

local function store(where, field, value)
  if value == '' then call('HDEL', where, field) else call('HSET', where, field, value) end
end

if name == '' then
  local entries, bytes, policy, ranked = now[1], now[2], ARGV[6], ARGV[7] == '1'
  local same = policy == (head.policy == '' and 'lru' or head.policy)
  local is_ready = ranked and same and head.ranked == 1 or not ranked and head.ranked == 0
  local unchanged = (stored.max_entries or '') == entries and (stored.max_bytes or '') == bytes and head.policy == policy
  -- A server that takes no writes at all is good enough for reading.
  if unchanged and is_ready then return { 'OK', rules(), now[1], now[2] } end
  begin_writing()
  if not ranked and head.ranked == 1 then stop_ranking() end
  if ranked and not is_ready then begin_ranking() end
  store(P .. 'h', 'max_entries', entries)
  store(P .. 'h', 'max_bytes', bytes)
  store(P .. 'h', 'policy', policy)
  stored.max_entries, stored.max_bytes, head.policy = entries, bytes, policy
else
  begin_writing()
  local row = tenant_or_new(name)
  local was = row.max_entries or row.max_bytes
  for i, field in ipairs({ 'max_entries', 'max_bytes' }) do
    if now[i] == 'keep' then now[i] = row.stored[field] or '' end
    store(P .. 's:' .. name, field, now[i])
  end
  local is_limited = now[1] ~= '' or now[2] ~= ''
  if is_limited then
    if not was then head.limited = head.limited + 1 end
    -- What is put from now on is listed with the namespace by itself; what is there already has to be.
    if head.ranked == 0 or (row.indexed == 0 and row.entries > 0) then begin_ranking() end
    if row.indexed == 0 then
      row.indexed = 1
      call('SADD', P .. 'i', name)
    end
  elseif was then
    head.limited, row.indexed = head.limited - 1, 0
    drop_lists(row.generation)
    call('SREM', P .. 'i', name)
    if head.limited <= 0 and (ARGV[6] == '1' or not (head.max_entries or head.max_bytes)) then stop_ranking() end
  end
  save_tenants()
end
head.rules = head.rules + 1
save_head()
stored.rules = decimal(head.rules)
return { 'OK', rules(), now[1], now[2] }
