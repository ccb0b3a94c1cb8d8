-- Ends users of a node whose lease has run out; or, with '', users whose grace period is over. A user
-- that can resume stays, without a node, for its grace period. ARGV: node or '', 1 if it leaves by itself,
-- its epoch then, most users. Returns how many users of the node are left.
local victim, itself, epoch, most = ARGV[1], ARGV[2] == '1', ARGV[3], tonumber(ARGV[4])
local now = now_ms()
local ids
if victim == '' then
  ids = call('ZRANGEBYSCORE', P..':orphans', '-inf', now, 'LIMIT', 0, most)
else
  local place = P..':node:'..victim
  if itself then
    if call('HGET', place, 'e') ~= epoch then return 0 end
  elseif tonumber(call('ZSCORE', P..':leases', victim) or '0') >= now then
    return 0
  end
  if not itself then fence(victim) end
  ids = call('SRANDMEMBER', P..':of:'..victim, most)
end
local turn = last_turn() + 1
call('SET', P..':c', turn)
local left = 0
for _, id in ipairs(ids) do
  local user = load_user(id)
  if not user then
    call('ZREM', P..':orphans', id)
    if victim ~= '' then call('SREM', P..':of:'..victim, id) end
  elseif victim ~= '' and user.h ~= '' and user.g > 0 then
    for _, room in ipairs(user.r) do count_member(victim, room, -1) end
    call('SREM', P..':of:'..victim, id)
    user.o = ''
    save_user(id, user)
    call('ZADD', P..':orphans', now + user.g, id)
  else
    put_all(victim, 'E', cjson.encode({ 'G', id, user.n, victim == '' and 'did not come back' or 'its node is gone' }))
    end_user(id, user)
  end
end
if victim ~= '' then
  left = call('SCARD', P..':of:'..victim)
  if left == 0 then
    call('ZREM', P..':leases', victim)
    call('DEL', P..':in:'..victim, P..':said:'..victim, P..':mail:'..victim)
    call('HDEL', P..':last', victim)
    call('HDEL', P..':about', victim)
    if itself then call('DEL', P..':node:'..victim)
    else call('EXPIRE', P..':node:'..victim, 86400) end
  end
end
deliver(turn, '')
return left
