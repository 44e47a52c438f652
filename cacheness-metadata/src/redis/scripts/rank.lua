-- Writes ranks that a policy gave. Arguments: the cache, the epoch, `1` where this is the end of ranking all anew, who does
-- that or nothing, then for each entry its id, what its header was when it was ranked, and its rank; and until when. Says for
-- how many that was no longer so.
if not load_head(ARGV[1]) then return { 'GONE' } end
if decimal(head.epoch) ~= ARGV[2] or head.ranked == 0 then return { 'OVER' } end
begin_writing()
if ARGV[4] ~= '' then
  -- One process at a time ranks all anew; one that has ended without a word is waited for by this time.
  if head.ranking == 0 then return { 'OVER' } end
  local mine = ARGV[2] .. ':' .. ARGV[4]
  local ranker = call('GET', P .. 'q') or ''
  if ranker ~= mine and sub(ranker, 1, #ARGV[2] + 1) == ARGV[2] .. ':' then return { 'TAKEN' } end
  call('SET', P .. 'q', mine, 'PX', 2000)
end
local missed = 0
for at = 5, #ARGV - 1, 3 do
  local id, rank = ARGV[at], ARGV[at + 2]
  local text = call('GETRANGE', P .. 'e:' .. id, 0, HEADER - 1)
  local e = parse(text)
  local generation = sub(id, 1, 12)
  local name = call('HGET', P .. 'g', generation)
  if e and name then
    if sub(text, 1, 14) .. sub(text, 61, 106) ~= ARGV[at + 1] then
      if e.epoch ~= head.epoch then missed = missed + 1 end
    else
      local scoped = call('SISMEMBER', P .. 'i', name) == 1
      unindex_rank(generation, id, e)
      if scoped and e.scoped == '0' and e.expires ~= NEVER then
        zadd(P .. 'x:' .. generation, 0, e.expires .. id)
      end
      e.rank, e.epoch, e.scoped = rank, head.epoch, scoped and '1' or '0'
      index_rank(generation, id, e)
      call('SETRANGE', P .. 'e:' .. id, 90, rank .. sub(text, 107, 122) .. format('%08d', e.epoch) .. e.scoped)
    end
  end
end
if ARGV[3] == '1' and missed == 0 and head.ranking == 1 then
  head.ranking, head.rules = 0, head.rules + 1
  call('UNLINK', P .. 'q')
  save_head()
end
return { 'OK', decimal(missed) }
