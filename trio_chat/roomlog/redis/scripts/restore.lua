-- A node puts back what it has seen and the engine has lost. ARGV: node, last? (1 with the last call), gaps? (1 if
-- nobody else will fill them), then for each batch: room, last position, count, time, turn id, blob, topic? (1:
-- then text, author, nick follow), by room and position. Returns how many batches were put back, or -1 if the
-- recovery is over, and the numbers of those after a gap that another node may fill, from 1 on.
-- An engine that was emptied has lost more than the nodes have at hand: it gets nothing back.
local recovering = call('GET', P..':recovering')
if not recovering or recovering == 'emptied' then return {-1} end
local me, last, gaps, put_back, number, waiting = ARGV[1], ARGV[2], ARGV[3] == '1', 0, 0, {}
at = 4
while at <= #ARGV do
  local room, position, count, time, id, blob, topic = take(7)
  local key = P..':r:'..room
  number = number + 1
  local text, author, nick
  if topic == '1' then text, author, nick = take(3) end
  position, count = tonumber(position), tonumber(count)
  local state = call('HMGET', key, 'p', 'f')
  local top = tonumber(state[1] or call('GET', P..':floor') or '0')
  local first = position - count + 1
  if top < first - 1 and not gaps then
    waiting[#waiting + 1] = number
  elseif top < first then        -- otherwise it is there already
    if not state[1] then begin_history(room, time) end
    call('XADD', P..':e:'..room, position..'-0', 'n', count, 't', time, 'd', blob, 'i', id)
    call('HSET', key, 'p', position, 'w', tonumber(time) + count - 1, 'f', state[2] or position - count + 1)
    count_bytes(room, #blob + BATCH_BYTES)
    act(room, position, time, blob)
    if text then call('HSET', key, 't', text, 'ta', author, 'tn', nick, 'tw', time) end
    put_back = put_back + 1
    -- The turn that said it counts as done, so that its node's retry does not say it again.
    local node, epoch, seq = string.match(id, '^(%S+) (%S+) (%d+)$')
    if node then
      local known = call('HMGET', P..':node:'..node, 'e', 's')
      if known[1] == epoch and tonumber(known[2] or '0') < tonumber(seq) then
        call('HSET', P..':node:'..node, 's', seq, 'r', cmsgpack.pack({'DONE'}))
      end
    end
  end
end
if last == '1' then
  call('SADD', P..':restored', me)
  local missing = 0
  for _, node in ipairs(call('ZRANGE', P..':leases', 0, -1)) do
    if call('SISMEMBER', P..':restored', node) == 0 then missing = missing + 1 end
  end
  if missing == 0 then call('DEL', P..':recovering') end
end
return {put_back, unpack(waiting)}
