-- A copy from another store: it is made under keys of its own, and takes the place of the chat at its end.
-- ARGV: 'begin', 'publish' or 'abandon', prefix of the copy's keys, token of the copy, 1 to replace a chat
-- that has rooms, schema; with 'publish' also the identity of the log.
-- Returns {OK}, or {OTHER} if another copy began after this one, {NODES, name...} while nodes use the chat,
-- {ROOMS, number}, or {SCHEMA, the newer one}.
local what, copy, token, force, schema = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
if what ~= 'begin' and call('GET', copy..':token') ~= token then return {'OTHER'} end

local function remove(key)
  call('UNLINK', key)
end

local function remove_copy()
  for _, key in ipairs(call('KEYS', copy..':*')) do remove(key) end
end

if what == 'abandon' then
  remove_copy()
  return {'OK'}
end
local written = tonumber(call('GET', P..':schema') or '0')
if written > schema then return {'SCHEMA', written} end
local nodes_here = call('ZRANGEBYSCORE', P..':leases', '('..now_ms(), '+inf')
if #nodes_here > 0 then return {'NODES', unpack(nodes_here)} end
local rooms = call('ZCARD', P..':sizes')
if rooms > 0 and force ~= '1' then return {'ROOMS', rooms} end

local function keep(name)
  call('RENAME', copy..name, P..name)
  call('PERSIST', P..name)
end

if what == 'begin' then
  remove_copy()
  call('SET', copy..':token', token, 'EX', 86400)
  return {'OK'}
end

local names = call('ZRANGE', copy..':sizes', 0, -1)
for _, room in ipairs(names) do
  if call('EXISTS', copy..':r:'..room) == 0 then return {'OTHER'} end
end

-- Nobody uses the chat, so this may take a moment. The number of turns goes on, so that a node which
-- was away knows that it has missed something.
for _, key in ipairs(call('KEYS', P..':*')) do
  if key ~= P..':c' and string.sub(key, 1, #copy + 1) ~= copy..':' then remove(key) end
end
for _, room in ipairs(names) do
  keep(':r:'..room)
  for _, kind in ipairs({':e:', ':f:', ':a:', ':held:'}) do
    if call('EXISTS', copy..kind..room) == 1 then keep(kind..room) end
  end
end
for _, name in ipairs({':sizes', ':bytes', ':floor', ':ruled', ':counts', ':holding', ':held_last'}) do
  if call('EXISTS', copy..name) == 1 then keep(name) end
end
remove(copy..':token')
call('SET', P..':schema', call('EXISTS', P..':ruled') == 1 and RULES_SCHEMA or 1)
if call('EXISTS', P..':holding') == 1 then raise_schema(MODERATORS_SCHEMA) end
for _, pair in ipairs(call('HKEYS', P..':counts')) do
  local field = string.match(pair, '^[^\n]*')
  if schema_of({ [field] = true }) == LIMITS_SCHEMA then raise_schema(LIMITS_SCHEMA) end
end
call('SET', P..':id', ARGV[6])
call('INCR', P..':c')
return {'OK'}
