-- Writes a part of a copy, whose prefix is that of all keys here. ARGV: token of the copy, operation, room:
-- F: the position above which new rooms begin; the room is ''.
-- R: position, time, first kept position, 1 if a topic follows, then its text, author, nick, time.
-- V: version of the rules, and their fields in JSON.
-- A: for each action: position, time, blob, and what the fields were before, in JSON.
-- H: for each message that waits: number, time, record.
-- E: for each batch: last position, count, time, blob.
-- Returns {OK}, or {OTHER} if another copy began after this one.
local token, operation, room = ARGV[1], ARGV[2], ARGV[3]
if call('GET', P..':token') ~= token then return {'OTHER'} end
-- What a killed command leaves does not stay for ever.
local DAY = 86400
local function expire(name)
  call('EXPIRE', P..name, DAY)
end

-- First a write that needs memory: without memory, the engine refuses it, and the script ends here.
call('SET', P..':token', token, 'EX', DAY)
if operation == 'F' then
  call('SET', P..':floor', ARGV[4])
  expire(':floor')
elseif operation == 'R' then
  local position, time, first, topic = unpack(ARGV, 4, 7)
  call('HSET', P..':r:'..room, 'p', position, 'w', time, 'f', first)
  if topic == '1' then
    local text, author, nick, when = unpack(ARGV, 8, 11)
    call('HSET', P..':r:'..room, 't', text, 'ta', author, 'tn', nick, 'tw', when)
  end
  expire(':r:'..room)
  count_bytes(room, ROOM_BYTES)
elseif operation == 'V' then
  change_fields(room, ARGV[4], cjson.decode(ARGV[5]))
  for _, name in ipairs({':f:'..room, ':ruled', ':counts'}) do expire(name) end
elseif operation == 'A' then
  for at = 4, #ARGV, 4 do
    local position, time, blob, was = unpack(ARGV, at, at + 3)
    call('XADD', P..':a:'..room, position..'-0', 't', time, 'd', blob, 'w', was)
  end
  expire(':a:'..room)
elseif operation == 'H' then
  for at = 4, #ARGV, 3 do
    local number, time, record = unpack(ARGV, at, at + 2)
    put_held(room, number, time, record)
    local last = tonumber(call('GET', P..':held_last') or '0')
    call('SET', P..':held_last', math.max(last, tonumber(number)))
  end
  for _, name in ipairs({':held:'..room, ':holding', ':held_last'}) do expire(name) end
else
  local bytes = 0
  for at = 4, #ARGV, 4 do
    local top, count, time, blob = unpack(ARGV, at, at + 3)
    call('XADD', P..':e:'..room, top..'-0', 'n', count, 't', time, 'd', blob, 'i', 'copy')
    bytes = bytes + #blob + BATCH_BYTES
  end
  expire(':e:'..room)
  count_bytes(room, bytes)
end
expire(':sizes')
expire(':bytes')
return {'OK'}
