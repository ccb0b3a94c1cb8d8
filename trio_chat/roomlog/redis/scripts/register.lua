-- A node begins, or begins anew. ARGV: node, new epoch, old epoch or '', milliseconds of a lease,
-- schema, an identity and a secret for a log without them, then the rooms that exist without members.
-- Returns {OK, turn, last seq of the old epoch, its reply, identity, secret}, or {BUSY, milliseconds left of
-- the other's lease}, {REAP} while users of the old epoch are still to be ended, {SCHEMA, the newer one}, {WAIT}.
local me, epoch, old, lease, schema = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local written = tonumber(call('GET', P..':schema') or '0')
if written > schema then return {'SCHEMA', written} end
-- An engine that was emptied takes no turn until each node has noticed that at its next beat, and has said
-- who is there and how far its rooms have got. Otherwise the first one would give positions to other messages
-- that another node has shown already, and would take the others' people for gone.
local emptied, recovering = 'emptied', call('GET', P..':recovering')
if recovering and recovering ~= emptied then return {'WAIT'} end
local place, now = P..':node:'..me, now_ms()
heed_clock(now)
local known = call('HMGET', place, 'e', 's', 'r', 'o')
local left = tonumber(call('ZSCORE', P..':leases', me) or '0') - now
local function answer(seq, reply)
  reply = reply ~= '' and cmsgpack.unpack(reply) or ''
  return {'OK', last_turn(), tonumber(seq), reply, call('GET', P..':id'), call('GET', P..':secret')}
end
if known[1] == epoch then                       -- the answer was lost, and this is a retry
  return answer(call('HGET', place, 'os'), call('HGET', place, 'or'))
end
if known[1] and known[1] ~= old and left > 0 then return {'BUSY', left} end
local mine = known[1] == old or known[4] == old
if call('SCARD', P..':of:'..me) > 0 and known[1] ~= old then return {'REAP'} end
if written == 0 and old ~= '' then call('SET', P..':recovering', emptied, 'PX', math.floor(math.min(lease / 5 + 1000, 10000))) end
-- Older nodes may come until something is there that they do not understand; see `all_know`.
call('SET', P..':schema', math.max(written, 1))
call('SETNX', P..':id', ARGV[6])
call('SETNX', P..':secret', ARGV[7])
call('DEL', place, P..':in:'..me, P..':said:'..me, P..':mail:'..me)
local seq, reply = 0, ''
if mine and old ~= '' then seq, reply = known[2] or 0, known[3] or '' end
call('HSET', place, 'e', epoch, 'v', schema, 'o', epoch, 's', 0, 'since', now, 'os', seq, 'or', reply)
call('ZADD', P..':leases', now + lease, me)
call('HDEL', P..':last', me)
keep_rooms(8)
return answer(seq, reply)
