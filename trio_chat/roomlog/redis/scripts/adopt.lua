-- The successor of a node goes on in its place. ARGV: node, new epoch, old epoch, milliseconds of a lease,
-- schema, a secret for a log without one.
-- Returns {OK, identity, secret, ids of its users, and the name and the state of each room with rules that it
-- follows}, or {FENCED}.
local me, epoch, old, lease, schema = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local place = P..':node:'..me
local known = call('HGET', place, 'e')
if known ~= old and known ~= epoch then return {'FENCED'} end
call('HSET', place, 'e', epoch, 'v', schema, 'o', epoch, 's', 0, 'r', '')
call('ZADD', P..':leases', now_ms() + lease, me)
local rooms = {}
for _, room in ipairs(call('SMEMBERS', P..':ruled')) do
  if room == SERVER or call('HEXISTS', P..':i:'..room, me) == 1 then
    rooms[#rooms + 1] = room
    rooms[#rooms + 1] = about(room, true)
  end
end
call('SETNX', P..':secret', ARGV[6])
return {'OK', call('GET', P..':id'), call('GET', P..':secret'), call('SMEMBERS', P..':of:'..me), rooms}
