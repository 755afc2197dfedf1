-- Counts in Valkey as `trunkline.policy.buckets` counts in memory: one script, so that whatever it reads and writes is
-- one step to every process. The server's clock counts, for all processes alike, in microseconds.
--
-- KEYS: a hash of each bucket's slots, or for concurrency (span 0) a sorted set of leases by their end; then the index
-- of the gateway's buckets by their end. The hash keeps its sum as well: `total` was made in slot `place` from the slots
-- since `first`, and is made anew in another slot, when some may have to be forgotten.
--
-- ARGV[1] is what to do, followed by as many values for each bucket:
--   take    lease, its length, the longest life of the index, how many it names; span, kept, limit, amount, is used, name
--   settle  span, kept, place, change or lease
--   look    span, kept

local SECOND = 1000000
local TOLERANCE = 1e-9

local time = redis.call('TIME')
local now = time[1] * SECOND + time[2]

local function whole(number) return string.format('%.0f', number) end
local function exact(number) return string.format('%.17g', number) end

local function is_over(used, amount, limit)
  return used + amount > limit + TOLERANCE or (amount == 0 and used >= limit - TOLERANCE)
end

-- Fills in what counts at present.
local function look(bucket)
  if bucket.span == 0 then
    redis.call('ZREMRANGEBYSCORE', bucket.key, '-inf', whole(now))
    if bucket.length then
      -- After the clock was set back: a lease that is not renewed ends in its time all the same.
      local last = whole(now + bucket.length + 2 * SECOND)
      for _, lease in ipairs(redis.call('ZRANGEBYSCORE', bucket.key, '(' .. last, '+inf')) do
        redis.call('ZADD', bucket.key, last, lease)
      end
    end
    bucket.total, bucket.place, bucket.first = redis.call('ZCARD', bucket.key), 0, 0
    return
  end
  bucket.place = (now - now % bucket.span) / bucket.span
  local seen = redis.call('HMGET', bucket.key, 'place', 'total', 'first')
  if tonumber(seen[1] or '') == bucket.place then
    bucket.total, bucket.first = tonumber(seen[2]), tonumber(seen[3])
    return
  end
  bucket.is_new, bucket.total, bucket.first = true, 0, bucket.place
  local fields, gone, later = redis.call('HGETALL', bucket.key), {}, 0
  for number = 1, #fields, 2 do
    local slot = tonumber(fields[number])
    if slot and slot < bucket.place - bucket.kept then
      gone[#gone + 1] = fields[number]
    elseif slot and slot > bucket.place then
      -- The clock was set back: this would count for as long as that, and a window more. It counts as of now.
      gone[#gone + 1] = fields[number]
      later = later + tonumber(fields[number + 1])
      bucket.total = bucket.total + tonumber(fields[number + 1])
    elseif slot then
      bucket.total = bucket.total + tonumber(fields[number + 1])
      bucket.first = math.min(bucket.first, slot)
    end
  end
  if #gone > 0 then redis.call('HDEL', bucket.key, unpack(gone)) end
  if later > 0 then
    local present = tonumber(redis.call('HGET', bucket.key, whole(bucket.place)) or 0)
    redis.call('HSET', bucket.key, whole(bucket.place), exact(present + later))
  end
end

local function leaves(bucket, slot)
  return (slot + bucket.kept + 1) * bucket.span - now
end

local function resets(bucket)
  if bucket.span == 0 or bucket.total <= 0 then return 0 end
  return leaves(bucket, bucket.first)
end

-- How long until there is room for the amount, or, if there never is, until all is forgotten.
local function wait(bucket)
  if bucket.span == 0 then return SECOND end
  local oldest = tonumber(redis.call('HGET', bucket.key, whole(bucket.first)) or 0)
  if oldest > 0 and not is_over(bucket.total - oldest, bucket.amount, bucket.limit) then
    return leaves(bucket, bucket.first)
  end
  local fields, slots, amounts = redis.call('HGETALL', bucket.key), {}, {}
  for number = 1, #fields, 2 do
    local slot = tonumber(fields[number])
    if slot then
      slots[#slots + 1], amounts[slot] = slot, tonumber(fields[number + 1])
    end
  end
  table.sort(slots)
  local left, found = bucket.total, 0
  for _, slot in ipairs(slots) do
    if not is_over(left, bucket.amount, bucket.limit) then break end
    left, found = left - amounts[slot], leaves(bucket, slot)
  end
  return math.max(found, 0)
end

local function add(bucket, slot, change)
  if change == 0 then return end
  local before = tonumber(redis.call('HGET', bucket.key, whole(slot)) or 0)
  local after = math.max(before + change, 0)
  bucket.total = math.max(bucket.total + after - before, 0)
  bucket.first = math.min(bucket.first, slot)
  redis.call('HSET', bucket.key, whole(slot), exact(after), 'place', whole(bucket.place), 'total', exact(bucket.total),
    'first', whole(bucket.first))
  redis.call('PEXPIRE', bucket.key, whole(math.ceil((bucket.kept + 1) * bucket.span / 1000)))
end

local function bucket_at(number, first, size)
  local at = first + (number - 1) * size
  return { key = KEYS[number], span = tonumber(ARGV[at]), kept = tonumber(ARGV[at + 1]) }, at
end

local function take()
  local lease, length = ARGV[2], tonumber(ARGV[3])
  local index, buckets, is_refused = KEYS[#KEYS], {}, false
  for number = 1, #KEYS - 1 do
    local bucket, at = bucket_at(number, 6, 6)
    bucket.limit, bucket.amount = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
    bucket.is_used, bucket.name, bucket.length = ARGV[at + 4] == '1', ARGV[at + 5], length
    look(bucket)
    bucket.is_over = not bucket.is_used and is_over(bucket.total, bucket.amount, bucket.limit)
    is_refused = is_refused or bucket.is_over
    buckets[number] = bucket
  end
  local answer, is_listed = { whole(now) }, false
  for _, bucket in ipairs(buckets) do
    if not is_refused and bucket.span == 0 then
      redis.call('ZADD', bucket.key, whole(now + length), lease)
      redis.call('PEXPIRE', bucket.key, whole(length / 1000))
      redis.call('ZADD', index, whole(now + length), bucket.name)
      bucket.total, is_listed = bucket.total + 1, true
    elseif not is_refused then
      add(bucket, bucket.place, bucket.amount)
      if bucket.is_new and bucket.amount > 0 then
        redis.call('ZADD', index, whole(leaves(bucket, bucket.place) + now), bucket.name)
        is_listed = true
      end
    end
    answer[#answer + 1] = exact(bucket.total)
    answer[#answer + 1] = whole(bucket.is_over and wait(bucket) or 0)
    answer[#answer + 1] = whole(resets(bucket))
    answer[#answer + 1] = whole(bucket.place)
    answer[#answer + 1] = bucket.is_over and '1' or '0'
  end
  if is_listed then
    redis.call('ZREMRANGEBYSCORE', index, '-inf', whole(now))
    redis.call('ZREMRANGEBYRANK', index, 0, -tonumber(ARGV[5]) - 1)
    redis.call('PEXPIRE', index, ARGV[4])
  end
  return answer
end

local function settle()
  local answer = {}
  for number = 1, #KEYS do
    local bucket, at = bucket_at(number, 2, 4)
    if bucket.span == 0 then
      redis.call('ZREM', bucket.key, ARGV[at + 3])
      answer[number] = '0'
    else
      look(bucket)
      local slot = math.min(tonumber(ARGV[at + 2]), bucket.place)
      -- What was reserved in a window that has passed is settled with it.
      if slot >= bucket.place - bucket.kept then add(bucket, slot, tonumber(ARGV[at + 3])) end
      answer[number] = exact(bucket.total)
    end
  end
  return answer
end

local function look_at_all()
  local answer = {}
  for number = 1, #KEYS do
    local bucket = bucket_at(number, 2, 2)
    look(bucket)
    answer[#answer + 1] = exact(bucket.total)
    answer[#answer + 1] = whole(resets(bucket))
  end
  return answer
end

local acts = { take = take, settle = settle, look = look_at_all }
return acts[ARGV[1]]()
