-- First on each connection. ARGV: run id of the engine, milliseconds of recovery, of a lease.
-- A new run id means: restarted, or another engine took over. Then no turn is taken until the nodes
-- have put back what it has lost, and no lease ends because of its absence.
local run, window, lease = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local known = call('GET', P..':run')
if known == run then return {'SAME', call('EXISTS', P..':recovering')} end
call('SET', P..':run', run)
if not known then return {'FIRST', 0} end
local now = now_ms()
for _, node in ipairs(call('ZRANGE', P..':leases', 0, -1)) do
  call('ZADD', P..':leases', now + window + lease, node)
  call('HSET', P..':node:'..node, 'since', now)
end
-- The time of users without a node stood still, and may have been that of another clock.
local stood = now - tonumber(call('GET', P..':clock') or now)
for _, id in ipairs(call('ZRANGE', P..':orphans', 0, -1)) do call('ZINCRBY', P..':orphans', stood, id) end
call('DEL', P..':restored', P..':clock')
call('SET', P..':recovering', run, 'PX', window)
return {'NEW', 1}
