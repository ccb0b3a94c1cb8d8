-- Messages that wait for a moderator. P:held:<room> has them by their numbers, each a JSON array: kind, author, nick,
-- text, networks, time. P:holding has all of them ("number room") by their times, and P:held_last the last number.
local HELD_MS = 86400000

local function drop_held(room, number)
  call('ZREM', P..':holding', number..' '..room)
  return call('HDEL', P..':held:'..room, number) == 1
end

local function forget_held(room)
  for _, number in ipairs(call('HKEYS', P..':held:'..room)) do drop_held(room, number) end
end

-- Drops those that have waited long enough.
local function expire_held(now)
  for _, one in ipairs(call('ZRANGEBYSCORE', P..':holding', '-inf', now - HELD_MS, 'LIMIT', 0, 1000)) do
    local number, room = string.match(one, '^(%d+) (.*)$')
    drop_held(room, number)
  end
end

local function put_held(room, number, time, record)
  call('HSET', P..':held:'..room, number, string.sub(record, 1, -2)..','..time..']')
  call('ZADD', P..':holding', time, number..' '..room)
end

local function silence_in(room, is_meant)
  local waiting = call('HGETALL', P..':held:'..room)
  for k = 1, #waiting, 2 do
    local _, author, _, _, networks = unpack(cjson.decode(waiting[k + 1]))
    local drops = is_meant[author]
    for network in string.gmatch(networks, '%S+') do drops = drops or is_meant[network] end
    if drops then drop_held(room, waiting[k]) end
  end
end

-- Drops what persons and networks have waiting in a room; with that of the server's rules, in all rooms.
local function silence(room, whose)
  if #whose == 0 then return end
  local is_meant, rooms = {}, { [room] = true }
  for _, one in ipairs(whose) do is_meant[one] = true end
  if room == SERVER then
    for _, one in ipairs(call('ZRANGE', P..':holding', 0, -1)) do rooms[string.match(one, ' (.*)$')] = true end
  end
  for name in pairs(rooms) do silence_in(name, is_meant) end
end
