-- Rules of rooms. The version `v` of a room's rules is the position of the entry that changed a field last.
-- P:f:<room> has the fields, P:a:<room> the newest actions by their positions, P:ruled the rooms with fields,
-- and P:counts in how many rooms a field has a value.
local MOST_ACTIONS = 1000
local RULES_SCHEMA = 2

-- The settings that an older node would let everybody pass.
local LIMITS_SCHEMA = 4

-- The schema that a node has to know to understand an action.
local function schema_of(changes, removal)
  if changes['set limit'] or changes['set key'] then return LIMITS_SCHEMA end
  return removal and MODERATORS_SCHEMA or RULES_SCHEMA
end

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

-- With the field `creator`, the fields of a room end once nobody is in it.
end_creator = function(room)
  local key = P..':f:'..room
  if call('HEXISTS', key, 'creator') == 0 then return end
  local fields = call('HGETALL', key)
  for k = 1, #fields, 2 do count_value(fields[k], fields[k + 1], -1) end
  call('DEL', key)
  call('HDEL', P..':r:'..room, 'v')
  call('SREM', P..':ruled', room)
end

-- The new values of fields in the blob of an action, and which texts it removes, or nil. Both are in the JSON of its
-- last part. Nil for other blobs.
local function read_action(blob)
  if string.sub(blob, 1, 2) ~= 'R\0' then return nil end
  local changes, _, _, removal = unpack(cjson.decode(string.match(blob, '[^%z]*$')))
  return changes, removal ~= cjson.null and removal or nil
end

-- Does what an entry of history says, if it is an action. What people remove of their own is none, and only done.
local function act(room, position, time, blob)
  local changes, removal = read_action(blob)
  if changes == nil then return end
  raise_schema(schema_of(changes, removal))
  local was = {}
  if next(changes) ~= nil then was = change_fields(room, position, changes) end
  if not removal or not removal.own then
    local about_it = { 't', time, 'd', blob, 'w', cjson.encode(was) }
    call('XADD', P..':a:'..room, 'MAXLEN', MOST_ACTIONS, position..'-0', unpack(about_it))
  end
  if removal and removal.undoes > 0 then
    put_back(room, removal)
  elseif removal then
    remove(room, position, removal)
  end
end
