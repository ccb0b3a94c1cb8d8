-- One turn of a node: all its drafts in order, or nothing at all.
-- ARGV: node, epoch, seq, seen, most rooms, entries a room, bytes of all histories, then operations.
-- Returns {turn, number of the last inbox entry before it, results}, or a word: FENCED, WAIT, ROLLED.
local me, epoch, seq, seen = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local most_rooms, most_entries, most_bytes = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local place = P..':node:'..me
local known = call('HMGET', place, 'e', 's', 'r')
if known[1] ~= epoch then return {'FENCED'} end
if call('EXISTS', P..':recovering') == 1 then return {'WAIT'} end
local turn = last_turn()
if seen > turn then return {'ROLLED'} end
local last = tonumber(known[2] or '0')
if seq == last then return cmsgpack.unpack(known[3]) end
-- An engine that took over has lost turns of ours, and others have gone on meanwhile.
if seq ~= last + 1 then return {'ROLLED'} end

-- Before anything else a write that needs memory: without memory, the turn fails as a whole.
turn = turn + 1
call('SET', P..':c', turn)
local now, id = now_ms(), me..' '..epoch..' '..seq
local results, bytes, young_bytes = {}, 0, 0

local function append(room, count, blob)
  local key = P..':r:'..room
  local state = call('HMGET', key, 'p', 'w', 'f', 'b', 'o')
  local size = #blob + BATCH_BYTES
  if not state[1] then
    if room ~= SERVER then make_place(most_rooms) end
    state[1] = call('GET', P..':floor') or '0'
    state[5] = text(now)
    call('HSET', key, 'o', state[5])
    size = size + ROOM_BYTES
  end
  local position = tonumber(state[1])
  local first = math.max(tonumber(state[2] or '0'), now - 1) + 1
  local top = position + count
  local kept_from = state[3]
  local size_before = tonumber(state[4] or '0')
  local size_now = size_before + size
  local is_young = state[5] and now - tonumber(state[5]) < YOUNG_MS
  if state[5] and not is_young then grow_old(room, size_before) end
  local count_text, first_text, top_text = text(count), text(first), text(top)
  if not kept_from then
    kept_from = position + 1
    call('HSET', key, 'f', kept_from)
  end
  call('HSET', key, 'p', top_text, 'w', text(first + count - 1), 'b', text(size_now))
  rank_size(room, size_before, size_now, is_young)
  call('XADD', P..':e:'..room, top_text..'-0', 'n', count_text, 't', first_text, 'd', blob, 'i', id)
  bytes = bytes + size
  if is_young then young_bytes = young_bytes + size end
  if top - kept_from >= most_entries * 1.0625 + 16 then drop_oldest(room, top - most_entries, math.huge) end
  local field = 'S'..top_text..' '..count_text..' '..first_text..' '..room
  for _, node in ipairs(nodes_of(room)) do
    if node ~= me then put(node, field, blob) end
  end
  return {top, first}
end

at = 8

-- The first item of the result of what was decided by other rules than those of the room. The second is the state
-- of the room. So the node learns them, once in a turn.
local STALE = -3

-- The result of an action that gives a field a value which it has in too many rooms.
local OUT_OF_BOUNDS = -4
-- The result of an undo that has no texts to put back.
local NO_TEXTS = -5
-- The result of a message of a person who has the most that may wait.
local TOO_MANY_OF_PERSON = -6
-- The result of a join of a room that has as many users as it may have for that.
local ROOM_FULL = -7

-- Tells the nodes with members of the room, and those of the author, of a message that waits or no longer does.
local function tell_of_held(room, author, wire, more)
  local hear = {}
  for _, node in ipairs(nodes_of(room)) do hear[node] = true end
  for _, id in ipairs(users_of(author)) do
    local user = load_user(id)
    if user and user.o ~= '' then hear[user.o] = true end
  end
  hear[me] = nil
  for node in pairs(hear) do put(node, 'P', string.sub(wire, 1, -2)..','..table.concat(more, ',')..']') end
end

local told = {}
local function about_once(room, is_news)
  is_news = is_news and not told[room]
  told[room] = told[room] or is_news
  return about(room, is_news)
end

local function is_stale(room, version)
  return (call('HGET', P..':r:'..room, 'v') or '0') ~= version
end

-- The result of a claim about a user that has resumed on another node meanwhile: it knows nothing of it.
local MOVED = -1
-- The result of what nodes of an older version, of which there are some, would not understand.
local TOO_NEW = -2

-- Whether all nodes understand this schema. From then on no older one comes among them.
local function all_know(schema)
  if tonumber(call('GET', P..':schema')) >= schema then return true end
  for _, node in ipairs(call('ZRANGE', P..':leases', 0, -1)) do
    if tonumber(call('HGET', P..':node:'..node, 'v') or '1') < schema then return false end
  end
  raise_schema(schema)
  return true
end

local operations = {
  -- Messages of one room.
  S = function()
    local room, count, blob = take(3)
    return append(room, tonumber(count), blob)
  end,
  -- A topic, which is a message too.
  T = function()
    local room, blob, text, author, nick = take(5)
    local said = append(room, 1, blob)
    call('HSET', P..':r:'..room, 't', text, 'ta', author, 'tn', nick, 'tw', said[2])
    return said
  end,
  -- An action of a moderator, which is a message too. A field may have the value `bound` in `most` rooms. 0: there
  -- are too many rooms with rules.
  R = function()
    local room, version, bound, most, blob, count = take(6)
    local silenced = { take(tonumber(count)) }
    local changes, removal = read_action(blob)
    if not all_know(schema_of(changes, removal)) then return TOO_NEW end
    if is_stale(room, version) then return { STALE, about_once(room, true) } end
    if removal and removal.undoes > 0 and not has_texts(room, removal.undoes) then return NO_TEXTS end
    local is_new = next(changes) ~= nil and call('SISMEMBER', P..':ruled', room) == 0
    if is_new and room ~= SERVER and call('SCARD', P..':ruled') >= most_rooms then return 0 end
    for name, value in pairs(changes) do
      if value == bound and call('HGET', P..':f:'..room, name) ~= value
        and tonumber(call('HGET', P..':counts', name..'\n'..value) or '0') >= tonumber(most) then
        return OUT_OF_BOUNDS
      end
    end
    local said = append(room, 1, blob)
    act(room, text(said[1]), text(said[2]), blob)
    silence(room, silenced)
    told[room] = nil
    return said
  end,
  -- A message that is to wait for a moderator, if there is place: for those of a person, a room, and all rooms. The
  -- wire ends with its number, its time, and how many wait in the room.
  H = function()
    local room, wire, author, record, of_person, of_room, of_all = take(7)
    if not all_know(MODERATORS_SCHEMA) then return TOO_NEW end
    expire_held(now)
    local own, waiting = 0, call('HVALS', P..':held:'..room)
    for _, one in ipairs(waiting) do
      if cjson.decode(one)[2] == author then own = own + 1 end
    end
    if own >= tonumber(of_person) then return TOO_MANY_OF_PERSON end
    local is_full = #waiting >= tonumber(of_room) or call('ZCARD', P..':holding') >= tonumber(of_all)
    if is_full or call('EXISTS', P..':r:'..room) == 0 then return 0 end
    local number = call('INCR', P..':held_last')
    put_held(room, text(number), text(now), record)
    tell_of_held(room, author, wire, { number, text(now), #waiting + 1 })
    return { number, now, #waiting + 1 }
  end,
  -- What a moderator has decided of such a message: with a blob it is said now. 0: it does not wait.
  K = function()
    local room, wire, author, number, blob = take(5)
    expire_held(now)
    if not drop_held(room, number) then return 0 end
    local said = blob == '' and 1 or append(room, 1, blob)
    tell_of_held(room, author, wire, { number, 0, 0 })
    return said
  end,
  -- A nick with its keys, if all of them are free.
  N = function()
    local user_id, hash, grace, wire, nick, count = take(6)
    local keys = { take(tonumber(count)) }
    local user = load_user(user_id) or new_user(me)
    if user.o ~= me then return MOVED end
    if user.p or #other_holders(keys, user_id) > 0 then return 0 end
    user.h, user.g = hash, tonumber(grace)
    take_nick(user_id, user, nick, keys)
    save_user(user_id, user)
    put_all(me, 'E', wire)
    return 1
  end,
  -- A login to an account, which takes its nick from anyone who has none; or a logout, with ''. Returns whom it
  -- has displaced. The wire ends with an empty list for them.
  I = function()
    local user_id, hash, grace, wire, account, since, expires, nick, count = take(9)
    local keys = { take(tonumber(count)) }
    local user = load_user(user_id) or new_user(me)
    if user.o ~= me then return MOVED end
    if account ~= '' and not all_know(LOGINS_SCHEMA) then return TOO_NEW end
    local displaced = other_holders(keys, user_id, account)
    for _, holder in ipairs(displaced) do
      if call('EXISTS', P..':logins:'..holder) == 1 then return 0 end
    end
    for _, guest in ipairs(displaced) do
      local other = load_user(guest)
      log_out(guest, other)
      save_user(guest, other)
    end
    user.h, user.g = hash, tonumber(grace)
    be(user_id, user, account, since, expires, nick, keys)
    save_user(user_id, user)
    local list = #displaced > 0 and cjson.encode(displaced) or '[]'
    put_all(me, 'E', string.sub(wire, 1, -4)..list..']')
    return displaced
  end,
  -- A join, and a leave of another room in the same step unless that is ''. Who makes a room without rules has the
  -- role that the field `creator` gives. No entry makes these rules, so their version is below 0. A room with `most`
  -- users is full, unless that is 0.
  J = function()
    local user_id, hash, grace, wire, nick, room, shown, leaving, kept, version, creator, most = take(12)
    local user = load_user(user_id) or new_user(me)
    if user.o ~= me then return MOVED end
    local makes = call('HEXISTS', P..':m', room) == 0
    if makes then end_creator(room) end
    if is_stale(room, version) then return { STALE, about_once(room, true) } end
    if most ~= '0' and tonumber(call('HGET', P..':m', room) or '0') >= tonumber(most) then return ROOM_FULL end
    makes = makes and kept ~= '1'
    if makes then
      local rooms, names = call('HLEN', P..':m'), call('SMEMBERS', P..':kept')
      for from = 1, #names, 4000 do
        local chunk = { unpack(names, from, math.min(from + 3999, #names)) }
        for _, members in ipairs(call('HMGET', P..':m', unpack(chunk))) do
          if not members then rooms = rooms + 1 end
        end
      end
      if rooms >= most_rooms then return 0 end
    end
    user.n, user.h, user.g = nick, hash, tonumber(grace)
    if leaving ~= '' then leave(user, leaving) end
    enter(user, room, shown)
    save_user(user_id, user)
    put_all(me, 'E', wire)
    local creates = makes and creator ~= '' and call('EXISTS', P..':f:'..room) == 0
      and call('SCARD', P..':ruled') < most_rooms and all_know(MODERATORS_SCHEMA)
    if creates then change_fields(room, text(-1 - turn), { creator = creator }) end
    return about(room, creates)                 -- the node knows all other fields
  end,
  -- A user's words about itself, in JSON or ''. A user without a nick and a room is unknown here.
  D = function()
    local user_id, words, wire = take(3)
    local user = load_user(user_id)
    if user and user.o == me then
      user.d = words ~= '' and words or nil
      save_user(user_id, user)
      put_all(me, 'E', wire)
    end
    return 1
  end,
  L = function()
    local user_id, wire, room = take(3)
    local user = load_user(user_id)
    if user and user.o ~= me then return MOVED end
    if user and is_in(user, room) then
      leave(user, room)
      save_user(user_id, user)
      put_all(me, 'E', wire)
    end
    return 1
  end,
  -- The end of a user of this node, or of none. 0: it has moved to another node.
  G = function()
    local user_id, wire = take(2)
    local user = load_user(user_id)
    if not user then return 1 end
    if user.o ~= me and user.o ~= '' then return 0 end
    end_user(user_id, user)
    put_all(me, 'E', wire)
    return 1
  end,
  -- A private message from a person to another. All devices of both get it. 0: nobody is that; 2: that person is
  -- detached.
  P = function()
    local to, wire, from = take(3)
    local result, receivers_of = 0, {}
    for _, id in ipairs(users_of(to)) do
      local user = load_user(id)
      if user and not user.a and user.o ~= '' then
        result = 1
        receivers_of[user.o] = true
      elseif user and result == 0 then
        result = 2
      end
    end
    if result ~= 1 then return result end
    for _, id in ipairs(users_of(from)) do
      local user = load_user(id)
      if user and user.o ~= '' then receivers_of[user.o] = true end
    end
    for node in pairs(receivers_of) do
      if node ~= me then put(node, 'P', wire) end
    end
    return 1
  end,
  -- A user is detached, with these positions in JSON; or attached again, with ''.
  A = function()
    local user_id, positions = take(2)
    local user = load_user(user_id)
    if user and user.o == me then
      user.a = positions ~= '' and positions or nil
      save_user(user_id, user)
    end
    return 1
  end,
  -- A user moves here, if the hash is that of its token. With its first user in a room, a node learns the rules.
  M = function()
    local user_id, hash, wire = take(3)
    local user = load_user(user_id)
    if not user or user.h == '' or user.h ~= hash then return 0 end
    local moved = { user.a or '' , user.o == '' and '1' or '0' }
    for _, room in ipairs(user.r) do
      local is_first = call('HEXISTS', P..':i:'..room, me) == 0
      count_member(user.o, room, -1)
      count_member(me, room, 1)
      moved[#moved + 1] = room
      moved[#moved + 1] = about_once(room, is_first)
    end
    if user.o ~= '' then call('SREM', P..':of:'..user.o, user_id) end
    call('ZREM', P..':orphans', user_id)
    user.o, user.a = me, nil
    save_user(user_id, user)
    put_all(me, 'E', wire)
    return moved
  end,
}

while at <= #ARGV do
  at = at + 1
  results[#results + 1] = operations[ARGV[at - 1]]()
end

-- The largest histories give way first, those of young rooms if these have more than half. The newest
-- messages go last. A turn frees the bytes that it adds.
local all_bytes = bytes > 0 and call('INCRBY', P..':bytes', bytes) or 0
if young_bytes > 0 then call('INCRBY', P..':young_bytes', young_bytes) end
local may_be_young = true
for _ = 1, 4 + math.floor(bytes / 4096) do
  local excess = all_bytes - most_bytes
  if excess <= 0 then break end
  local young = may_be_young and tonumber(call('GET', P..':young_bytes') or '0') > most_bytes / 2
  local ranks = young and P..':young' or P..':sizes'
  local room, ranked = unpack(call('ZREVRANGE', ranks, 0, 0, 'WITHSCORES'))
  if not room then break end
  local state = call('HMGET', P..':r:'..room, 'p', 'b')
  local position, size = tonumber(state[1] or '0'), state[2] or '0'
  if not drop_oldest(room, position - 1, excess) then
    if not is_held(room) then
      forget_history(room)
    elseif not drop_oldest(room, position, excess) then
      if size ~= ranked then
        -- Its rank is older than its size; with an exact one, others come before it.
        call('ZADD', ranks, size, room)
      elseif young then
        may_be_young = false
      else
        break
      end
    end
  end
  all_bytes = tonumber(call('GET', P..':bytes'))
end

local barrier = call('HGET', P..':last', me) or '0'
deliver(turn, id)
local reply = {turn, tonumber(barrier), results}
call('HSET', place, 's', seq, 'r', cmsgpack.pack(reply))
return reply
