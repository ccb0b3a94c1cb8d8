-- Puts a message into the mailboxes of nodes. ARGV: sender, receiver or '' for all others, message,
-- milliseconds for which a mailbox is kept, most messages in one.
-- Returns {nodes that have it, nodes whose lease has run out or whose mailbox is full}.
local me, to, message, kept, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local now, reached, missed = now_ms(), {}, {}
local leases = call('ZRANGE', P..':leases', 0, -1, 'WITHSCORES')
for k = 1, #leases, 2 do
  local node = leases[k]
  if node == to or (to == '' and node ~= me) then
    local key = P..':mail:'..node
    if tonumber(leases[k + 1]) < now or call('LLEN', key) >= most then
      missed[#missed + 1] = node
    else
      call('RPUSH', key, message)
      if call('PTTL', key) < kept then call('PEXPIRE', key, kept) end
      reached[#reached + 1] = node
    end
  end
end
return {reached, missed}
