-- Writes the rows that a piece of work has changed, if nothing has changed since it looked. ARGV: the version
-- of the schema, the change that the writer has seen last, or '', and for each row: table, key, row or ''.
-- Returns {OK, the number of this change}, {BEHIND}, or {NEWER} if nodes of a newer version have been here.
local P, call = KEYS[1], redis.call
local NEWS = 1000
local schema, seen = tonumber(ARGV[1]), ARGV[2]
if tonumber(call('GET', P..':schema') or '0') > schema then return {'NEWER'} end
local newest = call('XREVRANGE', P..':news', '+', '-', 'COUNT', 1)[1]
if (newest and newest[1] or '') ~= seen then return {'BEHIND'} end

-- First a write that needs memory: without memory, the engine refuses it, and the script ends here.
call('SET', P..':schema', schema)
local changed = {}
for at = 3, #ARGV, 3 do
  local name, key, row = unpack(ARGV, at, at + 2)
  if row == '' then
    call('HDEL', P..':'..name, key)
  else
    call('HSET', P..':'..name, key, row)
  end
  changed[#changed + 1] = name
  changed[#changed + 1] = key
end
return {'OK', call('XADD', P..':news', 'MAXLEN', NEWS, '*', 'rows', cjson.encode(changed))}
