-- What the scripts share: the names of keys, numbers as text, the head, and how an entry is stored.
--
-- Numbers of 64 bits do not fit into Lua's, so moments and ranks are texts of 16 hexadecimal digits whose order is the
-- numbers' own. Versions and sizes stay below 2^53; they are texts of 14 digits where their order matters.

local P = string.sub(KEYS[1], 1, -2)
local call, format, sub, rep = redis.call, string.format, string.sub, string.rep
local LARGEST = 9007199254740991
local NEVER, NO_BLOB = rep('-', 16), rep('-', 32)
local HEADER = 177

local function number(text)
  return tonumber(text, 16)
end

local function hex(n)
  return format('%014x', n)
end

local function decimal(n)
  return format('%.0f', n)
end

local function least(a, b)
  if a < b then return a else return b end
end

-- The sum of two numbers of 16 digits, or the largest such number.
local function add(a, b)
  local low = number(sub(a, 9)) + number(sub(b, 9))
  local high = number(sub(a, 1, 8)) + number(sub(b, 1, 8))
  if low >= 4294967296 then low, high = low - 4294967296, high + 1 end
  if high >= 4294967296 then return rep('f', 16) end
  return format('%08x%08x', high, low)
end

local function sha(key)
  return sub(redis.sha1hex(key), 1, 32)
end

-- The head: `stored` as it was read, `head` with numbers. False where it is not that of this cache.
local head, stored = {}, {}
local NUMBERS = {
  'entries', 'bytes', 'garbage', 'sequence', 'generation', 'cleared', 'limited', 'epoch', 'ranked', 'ranking', 'rules',
  'feed', 'events',
}

local function load_head(cache)
  local flat = call('HGETALL', P .. 'h')
  for i = 1, #flat, 2 do stored[flat[i]] = flat[i + 1] end
  if stored.cache ~= cache then return false end
  for _, name in ipairs(NUMBERS) do head[name] = tonumber(stored[name]) or 0 end
  head.max_entries, head.max_bytes = tonumber(stored.max_entries), tonumber(stored.max_bytes)
  head.age, head.policy = stored.age or '8000000000000000', stored.policy or ''
  return true
end

local function save_head()
  local changed = { 'HSET', P .. 'h' }
  for _, name in ipairs(NUMBERS) do
    local text = decimal(head[name])
    if text ~= stored[name] then
      changed[#changed + 1] = name
      changed[#changed + 1] = text
    end
  end
  if head.age ~= stored.age then
    changed[#changed + 1] = 'age'
    changed[#changed + 1] = head.age
  end
  if #changed > 2 then call(unpack(changed)) end
end

-- What callers know of the limits and the policy.
local function rules()
  return {
    stored.rules or '0', decimal(head.epoch), decimal(head.ranked), decimal(head.ranking), decimal(head.limited),
    head.policy, stored.max_entries or '', stored.max_bytes or '', head.age,
  }
end

-- Reads the header of a stored entry; nil where it is none.
local function parse(text)
  if #text < HEADER then return nil end
  local e = {
    version = sub(text, 1, 14), size = number(sub(text, 15, 28)), created = sub(text, 29, 44),
    accessed = sub(text, 45, 60), hits = number(sub(text, 61, 74)), expires = sub(text, 75, 90),
    rank = sub(text, 91, 106), priority = tonumber(sub(text, 107, 122)), epoch = tonumber(sub(text, 123, 130)),
    scoped = sub(text, 131, 131), blob = sub(text, 132, 163), key_length = number(sub(text, 165, 169)),
    record_length = number(sub(text, 170, 177)),
  }
  if not (e.size and e.hits and e.priority and e.epoch and e.key_length and e.record_length) then return nil end
  return e
end

-- Reads an entry without its inline bytes: what was parsed, and the text. Nil and '' where there is none; nil and a
-- text where it is damaged.
local function read(id)
  local name = P .. 'e:' .. id
  local text = call('GETRANGE', name, 0, 1023)
  local e = parse(text)
  if not e then return nil, text end
  local length = HEADER + e.key_length + e.record_length
  if length > #text then
    if #text == 1024 then text = text .. call('GETRANGE', name, 1024, length - 1) end
    if length > #text then return nil, text end
  end
  e.key = sub(text, HEADER + 1, HEADER + e.key_length)
  return e, sub(text, 1, length)
end
