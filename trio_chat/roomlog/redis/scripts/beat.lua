-- A node's sign of life. ARGV: node, epoch, milliseconds of a lease, seen, number of the last inbox entry,
-- what it says of itself, milliseconds for which entries are kept or 0, 1 if the rooms follow that exist
-- without members.
-- Returns {OK, turn, a node to reap or '', whether users without a node are to be ended, milliseconds that
-- the lease had left, entries of its inbox that it has not read, nodes with a lease, users}, or a word:
-- FENCED, WAIT, ROLLED.

-- An inbox of so many bytes belongs to a node that does not read, though it may beat: it is fenced.
local MOST_UNREAD_BYTES = 64 * 1024 * 1024
-- Rooms that one beat looks at for old entries, and about how many batches it drops.
local ROOMS_A_BEAT, DROPS_A_BEAT = 100, 1000
local LAST_POSITION = '18446744073709551615'

local function has_old(room, before)
  local oldest = batches(room, '-', '+', 1)[1]
  return oldest and time_after(fields_of(oldest)) <= before
end

local function drop_old(before)
  local left = DROPS_A_BEAT
  local cursor, found = unpack(call('ZSCAN', P..':sizes', call('GET', P..':aged') or '0', 'COUNT', ROOMS_A_BEAT))
  for k = 1, #found, 2 do
    local room = found[k]
    while has_old(room, before) do
      left = left - drop_oldest(room, LAST_POSITION, math.huge, before)
      if left <= 0 then return end              -- the next beat begins with the same rooms
    end
  end
  call('SET', P..':aged', cursor)
end

local me, epoch, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
local seen, read = tonumber(ARGV[4]), tonumber(ARGV[5])
local place, now = P..':node:'..me, now_ms()
heed_clock(now)
local known = call('HMGET', place, 'e', 'since')
if known[1] ~= epoch then return {'FENCED'} end
if call('EXISTS', P..':recovering') == 1 then return {'WAIT'} end
if seen > last_turn() then return {'ROLLED'} end
local ends = tonumber(call('ZSCORE', P..':leases', me) or '0')
local since = tonumber(known[2] or '0')
if ends < now then since = now end            -- it ran out, but nobody has ended us
call('ZADD', P..':leases', now + lease, me)
call('XTRIM', P..':in:'..me, 'MINID', (read + 1)..'-0')
for _, node in ipairs(call('ZRANGE', P..':leases', 0, -1)) do
  local held = call('MEMORY', 'USAGE', P..':in:'..node, 'SAMPLES', 0) or 0
  if held > MOST_UNREAD_BYTES then
    fence(node)
    if node == me then return {'FENCED'} end
  end
end
local unread = call('XLEN', P..':in:'..me)
call('HSET', place, 'since', since, 'unread', unread)
call('HSET', P..':about', me, ARGV[6])
expire_held(now)
if ARGV[8] == '1' then keep_rooms(9) end
if ARGV[7] ~= '0' then drop_old(now - tonumber(ARGV[7])) end
-- A node that was away itself must not judge others before they had the time to come back.
local dead, orphans = '', 0
if now - since >= lease then
  dead = call('ZRANGEBYSCORE', P..':leases', '-inf', now - 1, 'LIMIT', 0, 1)[1] or ''
  orphans = #call('ZRANGEBYSCORE', P..':orphans', '-inf', now, 'LIMIT', 0, 1)
end
return {
  'OK', last_turn(), dead, orphans, ends - now,
  unread, call('ZCOUNT', P..':leases', now, '+inf'), call('HLEN', P..':users'),
}
