-- What all scripts share; it stands before each of them. docs/design.md explains the keys.
local P = KEYS[1]
local call = redis.call

-- The arguments are taken one after the other, from the one at `at` on.
local at = 1
local function take(count)
  local from = at
  at = at + count
  return unpack(ARGV, from, at - 1)
end

local function now_ms()
  local time = call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- If the engine's clock was set back, all times in its data go back with it. Otherwise dead nodes would stay.
local function heed_clock(now)
  local back = tonumber(call('GET', P..':clock') or '0') - now
  if back > 1000 then
    for _, node in ipairs(call('ZRANGE', P..':leases', 0, -1)) do
      call('ZINCRBY', P..':leases', -back, node)
      call('HINCRBY', P..':node:'..node, 'since', -back)
    end
    for _, id in ipairs(call('ZRANGE', P..':orphans', 0, -1)) do call('ZINCRBY', P..':orphans', -back, id) end
  end
  if back > 1000 or back < 0 then call('SET', P..':clock', now) end
end

-- Redis prints a number of Lua's with up to 17 digits. That takes longer than a whole number's digits.
local function text(number) return string.format('%d', number) end

local function last_turn()
  return tonumber(call('GET', P..':c') or '0')
end

-- Fields and values for the inboxes of nodes, collected until `deliver`.
local parcels, receivers = {}, {}

local function put(node, field, value)
  local parcel = parcels[node]
  if parcel == nil then
    parcel = {}
    parcels[node] = parcel
    receivers[#receivers + 1] = node
  end
  parcel[#parcel + 1] = field
  parcel[#parcel + 1] = value
end

local nodes
local function put_all(but, field, value)
  if nodes == nil then nodes = call('ZRANGE', P..':leases', 0, -1) end
  for _, node in ipairs(nodes) do
    if node ~= but then put(node, field, value) end
  end
end

local function fence(node)
  call('HDEL', P..':node:'..node, 'e')
  call('ZADD', P..':leases', 0, node)
  call('DEL', P..':in:'..node)
  call('HDEL', P..':last', node)
end

local function deliver(turn, id)
  if #receivers == 0 then return end
  local before, newest = call('HMGET', P..':last', unpack(receivers)), {}
  for at, node in ipairs(receivers) do
    local key, parcel = P..':in:'..node, parcels[node]
    -- Few arguments a command: Lua's stack has a limit.
    local sub = 0
    for from = 1, #parcel, 4000 do
      local to = math.min(from + 3999, #parcel)
      local more = to < #parcel and '1' or '0'
      call('XADD', key, turn..'-'..sub, 'p', before[at] or '0', 'm', more, 'i', id, unpack(parcel, from, to))
      sub = sub + 1
    end
    newest[#newest + 1] = node
    newest[#newest + 1] = turn
  end
  call('HSET', P..':last', unpack(newest))
end

-- Users: a record for each with a nick or a room. o: node, or '' while nobody has it; n: nick;
-- k: keys of the nick; r: rooms; h: hash of the token, or ''; g: milliseconds of grace;
-- a: positions in JSON while detached; p: the account that it is logged in to, s: when that was made,
-- and x: when the login ends. Only users with an account have these. d: words about itself in JSON, if it has
-- said some. All users of an account have its nick, and P:logins:<account> has
-- their ids. P:nicks has the holder of each key: an account, or a user without one.
local function load_user(id)
  local record = call('HGET', P..':users', id)
  return record and cjson.decode(record) or nil
end

local function new_user(node)
  return { o = node, n = 'anonymous', k = {}, r = {}, h = '', g = 0 }
end

local function forget_user(id, user)
  call('HDEL', P..':users', id)
  if user.o ~= '' then call('SREM', P..':of:'..user.o, id) end
  call('ZREM', P..':orphans', id)
end

local function save_user(id, user)
  if #user.k == 0 and #user.r == 0 then
    forget_user(id, user)
  else
    call('HSET', P..':users', id, cjson.encode(user))
    if user.o ~= '' then call('SADD', P..':of:'..user.o, id) end
  end
end

local function free_nick(id, user)
  for _, key in ipairs(user.k) do
    if call('HGET', P..':nicks', key) == (user.p or id) then call('HDEL', P..':nicks', key) end
  end
  user.k = {}
end

-- Whoever holds some of these keys, but for these two.
local function other_holders(keys, one, two)
  local found, seen = {}, {}
  if #keys == 0 then return found end
  for _, holder in ipairs(call('HMGET', P..':nicks', unpack(keys))) do
    if holder and holder ~= one and holder ~= two and not seen[holder] then
      seen[holder] = true
      found[#found + 1] = holder
    end
  end
  return found
end

local function take_nick(id, user, nick, keys)
  free_nick(id, user)
  for _, key in ipairs(keys) do call('HSET', P..':nicks', key, user.p or id) end
  user.n, user.k = nick, keys
end

-- Takes the nick of a user, and lets it be in no account. The last user of an account frees the account's nick.
local function log_out(id, user)
  if user.p then
    call('SREM', P..':logins:'..user.p, id)
    if call('EXISTS', P..':logins:'..user.p) == 1 then user.k = {} end
  end
  free_nick(id, user)
  user.n, user.p, user.s, user.x = 'anonymous', nil, nil, nil
end

-- Logs a user in to an account, or out with '', and gives it this nick. An account that somebody else vouches for
-- may have another nick than at its last login. Then all its users get the new one.
local function be(id, user, account, since, expires, nick, keys)
  log_out(id, user)
  if account ~= '' then
    user.p, user.s, user.x = account, since, expires
    for _, other_id in ipairs(call('SMEMBERS', P..':logins:'..account)) do
      local other = load_user(other_id)
      if other.k[1] ~= keys[1] then
        free_nick(other_id, other)
        other.n, other.k = nick, keys
        save_user(other_id, other)
      end
    end
    call('SADD', P..':logins:'..account, id)
  end
  take_nick(id, user, nick, keys)
end

-- The schema since which users may have accounts.
local LOGINS_SCHEMA = 2

-- No node of an older version comes from now on.
local function raise_schema(to)
  if tonumber(call('GET', P..':schema') or '0') < to then call('SET', P..':schema', to) end
end

-- The users that are a person: those of an account, or the one with this id.
local function users_of(person)
  local ids = call('SMEMBERS', P..':logins:'..person)
  return #ids > 0 and ids or { person }
end

-- Rooms. P:m counts all members, P:i:<room> those of each node.
local interest = {}

-- The rules of the whole server are those of a room with this name. All nodes follow it, and nobody is in it.
local SERVER = 'the server'

local function nodes_of(room)
  local found = interest[room]
  if found == nil then
    found = room == SERVER and call('ZRANGE', P..':leases', 0, -1) or call('HKEYS', P..':i:'..room)
    interest[room] = found
  end
  return found
end

local function count_member(node, room, change)
  interest[room] = nil
  if node ~= '' and call('HINCRBY', P..':i:'..room, node, change) <= 0 then
    call('HDEL', P..':i:'..room, node)
  end
end

local function is_in(user, room)
  for _, name in ipairs(user.r) do
    if name == room then return true end
  end
  return false
end

local function enter(user, room, shown)
  if is_in(user, room) then return end
  user.r[#user.r + 1] = room
  call('HSETNX', P..':rooms', room, shown)
  call('HINCRBY', P..':m', room, 1)
  count_member(user.o, room, 1)
end

-- Ends the rules of a room with a creator once nobody is in it; `rules` says how.
local end_creator

local function leave(user, room)
  if not is_in(user, room) then return end
  local rest = {}
  for _, name in ipairs(user.r) do
    if name ~= room then rest[#rest + 1] = name end
  end
  user.r = rest
  count_member(user.o, room, -1)
  if call('HINCRBY', P..':m', room, -1) <= 0 then
    call('HDEL', P..':m', room)
    call('HDEL', P..':rooms', room)
    end_creator(room)
  end
end

-- The rooms that exist without members. In ARGV they begin at `from`.
local function keep_rooms(from)
  call('DEL', P..':kept')
  for k = from, #ARGV do call('SADD', P..':kept', ARGV[k]) end
end

local function end_user(id, user)
  for _, room in ipairs({ unpack(user.r) }) do leave(user, room) end
  log_out(id, user)
  forget_user(id, user)
end

-- The state of a room: position, topic, its author, the author's nick, its time, the version of its rules, and
-- if they are asked for, the fields of these with their values. Otherwise '' stands for the fields.
local function about(room, with_fields)
  local found = call('HMGET', P..':r:'..room, 'p', 't', 'ta', 'tn', 'tw', 'v')
  if not found[1] then found[1] = call('GET', P..':floor') or '0' end
  for k = 1, 5 do found[k] = found[k] or '' end
  found[6] = found[6] or '0'
  found[7] = with_fields and call('HGETALL', P..':f:'..room) or ''
  return found
end

