-- Rules of rooms. The version `v` of a room's rules is the position of the entry that changed a field last.
-- P:f:<room> has the fields, P:a:<room> the newest actions by their positions, P:ruled the rooms with fields,
-- and P:counts in how many rooms a field has a value.
local MOST_ACTIONS = 1000
local RULES_SCHEMA = 2

local function count_value(field, value, change)
  local pair = field..'\n'..value
  if call('HINCRBY', P..':counts', pair, change) <= 0 then call('HDEL', P..':counts', pair) end
end

-- Changes fields of a room: each name has its new value, or null. Returns their values before.
local function change_fields(room, version, changes)
  local key, was = P..':f:'..room, {}
  for name, value in pairs(changes) do
    local before = call('HGET', key, name)
    was[name] = before or cjson.null
    if before then count_value(name, before, -1) end
    if value ~= cjson.null then
      call('HSET', key, name, value)
      count_value(name, value, 1)
    elseif before then
      call('HDEL', key, name)
    end
  end
  call('HSET', P..':r:'..room, 'v', version)
  if call('EXISTS', key) == 1 then call('SADD', P..':ruled', room) else call('SREM', P..':ruled', room) end
  return was
end

-- The new values of fields in the blob of an action: the first item of the JSON in its last part. Nil for other blobs.
local function changes_in(blob)
  if string.sub(blob, 1, 2) ~= 'R\0' then return nil end
  return cjson.decode(string.match(blob, '[^%z]*$'))[1]
end

-- Does what an entry of history says, if it is an action.
local function act(room, position, time, blob)
  local changes = changes_in(blob)
  if changes == nil then return end
  raise_schema(RULES_SCHEMA)
  local was = {}
  if next(changes) ~= nil then was = change_fields(room, position, changes) end
  local about_it = { 't', time, 'd', blob, 'w', cjson.encode(was) }
  call('XADD', P..':a:'..room, 'MAXLEN', MOST_ACTIONS, position..'-0', unpack(about_it))
end
