-- The successor of a node goes on in its place. ARGV: node, new epoch, old epoch, milliseconds of a lease.
-- Returns {OK, identity, ids of its users}, or {FENCED}.
local me, epoch, old, lease = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local place = P..':node:'..me
local known = call('HGET', place, 'e')
if known ~= old and known ~= epoch then return {'FENCED'} end
call('HSET', place, 'e', epoch, 'o', epoch, 's', 0, 'r', '')
call('ZADD', P..':leases', now_ms() + lease, me)
return {'OK', call('GET', P..':id'), call('SMEMBERS', P..':of:'..me)}
