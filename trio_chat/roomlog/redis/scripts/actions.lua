-- The newest actions of a room. ARGV: room, the position that they come before or '', how many at most. Returns them as
-- XREVRANGE does, each with the positions of the texts that an undo would put back.
local room, before, count = unpack(ARGV)
local first_kept = tonumber(call('HGET', P..':r:'..room, 'f') or '0')
local found = call('XREVRANGE', P..':a:'..room, before == '' and '+' or '('..before..'-0', '-', 'COUNT', count)
for _, action in ipairs(found) do
  local packed, positions = call('GET', P..':aside:'..text(top_of(action))..':'..room), {}
  for position in pairs(packed and cmsgpack.unpack(packed)[2] or {}) do
    if tonumber(position) >= first_kept then positions[#positions + 1] = tonumber(position) end
  end
  action[#action + 1] = positions
end
return found
