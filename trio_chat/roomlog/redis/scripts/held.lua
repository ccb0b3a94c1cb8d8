-- The messages of a room that wait. ARGV: room. Returns their numbers, each with its record.
local waiting, found, now = call('HGETALL', P..':held:'..ARGV[1]), {}, now_ms()
for k = 1, #waiting, 2 do
  if cjson.decode(waiting[k + 1])[6] > now - HELD_MS then
    found[#found + 1] = waiting[k]
    found[#found + 1] = waiting[k + 1]
  end
end
return found
