-- All users, and rooms of interest, at one moment. ARGV: node, epoch, then rooms.
-- Returns {OK, turn, users, rooms, about each room of ARGV}, or {FENCED} or {WAIT}.
local me, epoch = ARGV[1], ARGV[2]
if call('HGET', P..':node:'..me, 'e') ~= epoch then return {'FENCED'} end
if call('EXISTS', P..':recovering') == 1 then return {'WAIT'} end
local rooms = {}
for k = 3, #ARGV do rooms[#rooms + 1] = about(ARGV[k], true) end
return {'OK', last_turn(), call('HGETALL', P..':users'), call('HGETALL', P..':rooms'), rooms}
