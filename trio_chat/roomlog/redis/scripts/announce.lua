-- A node says who its users are, after a new epoch or a new engine; what is so already stays. A user of
-- this node who is not announced has left: an engine that took over may not know of that.
-- ARGV: node, epoch, last? (1 with the last call), number of rooms, then for each room its name, least
-- position, topic with author, nick and time, and rules with their version, in JSON or ''; then for each user: id, hash, grace, positions or '', nick,
-- wire of its nick, its account or '', when that was made, when the login ends, its words about itself in JSON or
-- '', number of keys, keys, number of
-- rooms, and for each room: name, shown, wire of the join.
-- Returns {OK, turn, ids of users whose nick somebody else has by now...}, or {FENCED}.
local me, epoch, last = ARGV[1], ARGV[2], ARGV[3] == '1'
if call('HGET', P..':node:'..me, 'e') ~= epoch then return {'FENCED'} end
at = 4
local turn = last_turn() + 1
call('SET', P..':c', turn)
for _ = 1, tonumber(take(1)) do
  local room, position, topic, author, by, time, version, rules = take(8)
  if tonumber(about(room)[1]) < tonumber(position) then
    if call('HEXISTS', P..':r:'..room, 'p') == 0 then begin_history(room, now_ms()) end
    call('HSET', P..':r:'..room, 'p', position)
    if topic ~= '' then
      call('HSET', P..':r:'..room, 't', topic, 'ta', author, 'tn', by, 'tw', time)
    end
    if rules ~= '' then
      local fields = cjson.decode(rules)
      raise_schema(schema_of(fields))
      change_fields(room, version, fields)
    end
  end
end

local NO_WORDS = '["","","",false]'

local function make_anonymous(id, user)
  local who = cjson.encode(id)..','..cjson.encode(user.n)
  if user.p then
    put_all(me, 'E', '["I",'..who..','..cjson.encode(id)..',0,"anonymous","",[],0,[]]')
  elseif #user.k > 0 then
    put_all(me, 'E', '["N",'..who..',"anonymous","",[]]')
  end
  log_out(id, user)
end

-- Nodes that do not know the user learn its nick from the join.
local function join_of_nobody(wire)
  local entry = cjson.decode(wire)
  entry[3] = 'anonymous'
  return cjson.encode(entry)
end

-- Whom this epoch has announced, in all its calls; `register` deletes it.
local said, lost = P..':said:'..me, {}
while at <= #ARGV do
  local id, hash, grace, positions, nick, wire, account, since, expires, words, count = take(11)
  local keys = { take(tonumber(count)) }
  local user = load_user(id)
  call('SADD', said, id)
  if user and user.o ~= me then
    -- Orphaned, or moved away while this node was not there.
    if user.o == '' then
      user.o = me
      call('ZREM', P..':orphans', id)
      for _, room in ipairs(user.r) do count_member(me, room, 1) end
    else
      user = nil
    end
  else
    user = user or new_user(me)
  end
  if user then
    user.h, user.g = hash, tonumber(grace)
    user.a = positions ~= '' and positions or nil
    local loses_nick = false
    if #keys > 0 and #other_holders(keys, account == '' and id or account) == 0 then
      local had = user.k[1] == keys[1] and user.n == nick and (user.p or '') == account
      if account ~= '' then raise_schema(LOGINS_SCHEMA) end
      be(id, user, account, since, expires, nick, keys)
      if not had then put_all(me, 'E', wire) end
    else
      if #keys > 0 then
        lost[#lost + 1] = id
        loses_nick = true
      end
      make_anonymous(id, user)
    end
    if words ~= (user.d or '') then
      user.d = words ~= '' and words or nil
      put_all(me, 'E', '["D",'..cjson.encode(id)..','..(user.d or NO_WORDS)..']')
    end
    local here = {}
    for _ = 1, tonumber(take(1)) do
      local room, shown, joined = take(3)
      here[room] = true
      if not is_in(user, room) then
        enter(user, room, shown)
        put_all(me, 'E', loses_nick and join_of_nobody(joined) or joined)
      end
    end
    for _, room in ipairs({ unpack(user.r) }) do
      if not here[room] then
        leave(user, room)
        put_all(me, 'E', cjson.encode({ 'L', id, user.n, room }))
      end
    end
    save_user(id, user)
  else
    take(3 * tonumber(take(1)))
  end
end
if last then
  for _, id in ipairs(call('SDIFF', P..':of:'..me, said)) do
    local user = load_user(id)
    if user then
      put_all(me, 'E', cjson.encode({ 'G', id, user.n, 'left meanwhile' }))
      end_user(id, user)
    end
  end
end
deliver(turn, '')
return {'OK', turn, unpack(lost)}
