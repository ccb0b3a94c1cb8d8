-- The state of all rooms with a history, at one moment. Returns the position above which new rooms begin, then
-- for each room: {name, name as people see it, position, time, first kept position, topic, its author, the
-- author's nick, its time, version of the rules, fields with their values}. Texts that the engine does not have
-- are ''.
local found = {call('GET', P..':floor') or '0'}
for _, room in ipairs(call('ZRANGE', P..':sizes', 0, -1)) do
  local state = call('HMGET', P..':r:'..room, 'p', 'w', 'f', 't', 'ta', 'tn', 'tw', 'v')
  for k = 1, 8 do state[k] = state[k] or '' end
  local fields = call('HGETALL', P..':f:'..room)
  found[#found + 1] = {room, call('HGET', P..':rooms', room) or '', unpack(state, 1, 8)}
  table.insert(found[#found], fields)
end
return found
