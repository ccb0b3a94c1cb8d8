-- All nodes. Returns for each: name, milliseconds that its lease has left, since when it has been there,
-- unread entries of its inbox, its users, what it says of itself or ''.
local now, found = now_ms(), {}
local leases = call('ZRANGE', P..':leases', 0, -1, 'WITHSCORES')
for k = 1, #leases, 2 do
  local node = leases[k]
  local known = call('HMGET', P..':node:'..node, 'since', 'unread')
  found[#found + 1] = {
    node, tonumber(leases[k + 1]) - now, tonumber(known[1] or '0'), tonumber(known[2] or '0'),
    call('SCARD', P..':of:'..node), call('HGET', P..':about', node) or '',
  }
end
return found
