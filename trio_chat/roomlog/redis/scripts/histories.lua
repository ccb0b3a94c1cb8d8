-- Histories. A batch counts its bytes and what Redis needs for it, and a room what it needs itself.
local BATCH_BYTES, ROOM_BYTES = 80, 700

-- A room is young until something is said in it a day after its history began (`o`), and gives way before
-- the others. So a flood of new rooms pushes out its own rooms: nobody can fake the day.
local YOUNG_MS = 86400000

-- Rooms by size, to see which ones are large, and the young ones of them. A room moves there with its
-- first entry, and then only every so many bytes.
local SIZE_STEP = 8192

local function rank_size(room, before, now, is_young)
  if before <= ROOM_BYTES or math.floor(before / SIZE_STEP) ~= math.floor(now / SIZE_STEP) then
    call('ZADD', P..':sizes', now, room)
    if is_young then call('ZADD', P..':young', now, room) end
  end
end

local function count_bytes(room, bytes)
  local is_young = call('HEXISTS', P..':r:'..room, 'o') == 1
  local now = call('HINCRBY', P..':r:'..room, 'b', bytes)
  rank_size(room, now - bytes, now, is_young)
  call('INCRBY', P..':bytes', bytes)
  if is_young then call('INCRBY', P..':young_bytes', bytes) end
end

local function begin_history(room, time)
  call('HSET', P..':r:'..room, 'o', time)
  count_bytes(room, ROOM_BYTES)
end

local function grow_old(room, size)
  call('HDEL', P..':r:'..room, 'o')
  call('ZREM', P..':young', room)
  call('DECRBY', P..':young_bytes', size)
end

-- Batches. P:e:<room> is a stream of them, whose IDs are their last positions. No entry of a stream can be changed.
-- So batches whose texts have changed leave it, and P:x:<room> has them instead, packed, by their last positions.
local function top_of(batch) return tonumber(string.match(batch[1], '^%d+')) end

-- Returns at most `count` batches of a room whose last positions lie in a range, oldest first; or newest first if
-- `is_backwards`. The ends of a history are '-' and '+'.
local function batches(room, least, most, count, is_backwards)
  local said, changed = P..':e:'..room, P..':x:'..room
  local low, high = least == '-' and '-inf' or least, most == '+' and '+inf' or most
  local some, others
  if is_backwards then
    some = call('XREVRANGE', said, most, least, 'COUNT', count)
    others = call('ZREVRANGEBYSCORE', changed, high, low, 'LIMIT', 0, count)
  else
    some = call('XRANGE', said, least, most, 'COUNT', count)
    others = call('ZRANGEBYSCORE', changed, low, high, 'LIMIT', 0, count)
  end
  if #others == 0 then return some end
  local found, k, next_one, other = {}, 1, 1, nil
  while #found < count and (some[k] or other or others[next_one]) do
    if not other and others[next_one] then
      other = cmsgpack.unpack(others[next_one])
      next_one = next_one + 1
    end
    if some[k] and (not other or (top_of(some[k]) < top_of(other)) ~= (is_backwards or false)) then
      found[#found + 1], k = some[k], k + 1
    else
      found[#found + 1], other = other, nil
    end
  end
  return found
end

-- Texts that an action took out wait in P:aside:<action>:<room>, packed. They count among the bytes of the room.
-- P:asides:<room> has the actions, each with its bytes, by the last position of its texts.
local function drop_aside(room, one)
  local action, bytes = string.match(one, '^(%d+) (%d+)$')
  call('DEL', P..':aside:'..action..':'..room)
  call('ZREM', P..':asides:'..room, one)
  return tonumber(bytes)
end

local function forget_history(room)
  local state = call('HMGET', P..':r:'..room, 'p', 'b', 'o')
  local position, size = tonumber(state[1] or '0'), tonumber(state[2] or '0')
  grow_old(room, state[3] and size or 0)
  if position > tonumber(call('GET', P..':floor') or '0') then call('SET', P..':floor', position) end
  for _, one in ipairs(call('ZRANGE', P..':asides:'..room, 0, -1)) do drop_aside(room, one) end
  forget_held(room)
  call('DEL', P..':e:'..room, P..':x:'..room, P..':r:'..room, P..':a:'..room)
  call('ZREM', P..':sizes', room)
  call('DECRBY', P..':bytes', size)
end

local function fields_of(batch)
  local found, flat = {}, batch[2]
  for k = 1, #flat, 2 do found[flat[k]] = flat[k + 1] end
  return found
end

-- A millisecond after the last entry of a batch.
local function time_after(fields)
  return tonumber(fields.t) + tonumber(fields.n)
end

-- Drops the oldest batches of a room: at most 128, only those that end at `position` at most, and no more
-- than it takes to free `bytes`. With `before`, only those whose entries are all from before that time.
-- Returns how many they were, or nil.
local function drop_oldest(room, position, bytes, before)
  local freed, count, last = 0, 0, nil
  for _, batch in ipairs(batches(room, '-', position, 128)) do
    local fields = fields_of(batch)
    if before and time_after(fields) > before then break end
    freed, count = freed + #fields.d + BATCH_BYTES, count + 1
    last = top_of(batch)
    if freed >= bytes then break end
  end
  if last == nil then return nil end
  call('XTRIM', P..':e:'..room, 'MINID', (last + 1)..'-0')
  call('ZREMRANGEBYSCORE', P..':x:'..room, '-inf', last)
  for _, one in ipairs(call('ZRANGEBYSCORE', P..':asides:'..room, '-inf', last)) do
    freed = freed + drop_aside(room, one)
  end
  call('HSET', P..':r:'..room, 'f', last + 1)
  count_bytes(room, -freed)
  return count
end

-- Whether people may expect a room to be there.
local function is_held(room)
  return call('HEXISTS', P..':m', room) == 1 or call('SISMEMBER', P..':kept', room) == 1
    or call('SISMEMBER', P..':ruled', room) == 1 or room == SERVER
end

local function forget_one_of(rooms)
  for _, room in ipairs(rooms) do
    if not is_held(room) then
      forget_history(room)
      return true
    end
  end
  return false
end

-- The smallest history that is not held gives way, or any one if the smallest ones are all held.
local function make_place(most_rooms)
  if call('ZCARD', P..':sizes') < most_rooms then return end
  for _, ranks in ipairs({P..':young', P..':sizes'}) do
    if forget_one_of(call('ZRANGE', ranks, 0, 99)) then return end
    if forget_one_of(call('ZRANDMEMBER', ranks, 100)) then return end
  end
end
