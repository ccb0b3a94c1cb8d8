-- Reads what has changed. ARGV: the version of the schema, and the change that the reader has seen last.
-- Returns {OK, the newest change, then for each row: table, key, row or ''}, {LOST, the newest change or ''} if the
-- reader is too far behind, or {NEWER} if nodes of a newer version have been here.
local P, call = KEYS[1], redis.call
local schema, seen = tonumber(ARGV[1]), ARGV[2]
if tonumber(call('GET', P..':schema') or '0') > schema then return {'NEWER'} end
local news = P..':news'
local newest = call('XREVRANGE', news, '+', '-', 'COUNT', 1)[1]
if seen == '' or #call('XRANGE', news, seen, seen) == 0 then return {'LOST', newest and newest[1] or ''} end

local reply, had = {'OK', newest[1]}, {}
for _, change in ipairs(call('XRANGE', news, '('..seen, '+')) do
  local rows = cjson.decode(change[2][2])
  for at = 1, #rows, 2 do
    local name, key = rows[at], rows[at + 1]
    if not had[name..' '..key] then
      had[name..' '..key] = true
      reply[#reply + 1] = name
      reply[#reply + 1] = key
      reply[#reply + 1] = call('HGET', P..':'..name, key) or ''
    end
  end
end
return reply
