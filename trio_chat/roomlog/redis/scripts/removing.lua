-- Texts that are taken out of histories, and put back.
local MODERATORS_SCHEMA = 3              -- removals and messages that wait came with it
local ASIDE_SECONDS = 7 * 86400

-- A deleted entry of a stream is only marked, and its bytes stay until all entries of its node are deleted. By the
-- defaults of Redis, a node has at most so many bytes and entries.
local NODE_BYTES, NODE_ENTRIES = 4096, 100

local function split(whole, mark)
  local parts, from = {}, 1
  while true do
    local found = string.find(whole, mark, from, true)
    if not found then break end
    parts[#parts + 1] = string.sub(whole, from, found - 1)
    from = found + 1
  end
  parts[#parts + 1] = string.sub(whole, from)
  return parts
end

-- Moves a batch out of the stream, perhaps with another blob.
local function move(room, batch)
  local top = top_of(batch)
  call('XDEL', P..':e:'..room, batch[1])
  call('ZREMRANGEBYSCORE', P..':x:'..room, top, top)
  call('ZADD', P..':x:'..room, top, cmsgpack.pack(batch))
end

-- Adds the batches of the stream to `found` that may be in one node with the batch that ends at `top`: those that
-- `command` gives from there to `last`. Returns the last position of the last one.
local function add_neighbours(room, command, top, last, found)
  local from, reached, bytes, count = text(top), top, 0, 0
  while count < NODE_ENTRIES do
    local some = call(command, P..':e:'..room, from, last, 'COUNT', 25)
    for _, batch in ipairs(some) do
      local here = top_of(batch)
      if here ~= top then
        for _, part in ipairs(batch[2]) do bytes = bytes + #part end
        if bytes > NODE_BYTES then return reached end
        found[text(here)], reached = found[text(here)] or batch, here
      end
    end
    if #some < 25 then break end
    from, count = '('..some[#some][1], count + #some
  end
  return reached
end

-- Moves changed batches, by their last positions, and their neighbours. `groups` has the first and the last one of
-- each row of them in the stream.
local function move_all(room, changed, groups)
  local reached = 0
  for k, group in ipairs(groups) do
    local after = groups[k + 1] and text(groups[k + 1].first - 1) or '+'
    add_neighbours(room, 'XREVRANGE', group.first, text(reached + 1), changed)
    reached = add_neighbours(room, 'XRANGE', group.last, after, changed)
  end
  for _, batch in pairs(changed) do move(room, batch) end
end

-- Replaces texts in runs of positions. `new` gets a position and its text, and returns another text or nil. Returns
-- how many bytes the history has grown.
local function change_texts(room, runs, new)
  local grown, changed, groups = 0, {}, {}
  local function change(batch, first, run)
    local top = top_of(batch)
    batch = changed[text(top)] or batch
    local fields = fields_of(batch)
    if string.sub(fields.d, 1, 2) == 'R\0' then return end    -- the texts of actions stay
    local parts = split(fields.d, '\0')
    local texts, is_changed = split(parts[4], '\n'), false
    for k, old in ipairs(texts) do
      local position = first + k - 1
      local found = position >= run[1] and position <= run[2] and new(position, old)
      if found and found ~= old then texts[k], is_changed = found, true end
    end
    if not is_changed then return end
    parts[4] = table.concat(texts, '\n')
    local blob = table.concat(parts, '\0')
    grown = grown + #blob - #fields.d
    for k = 1, #batch[2], 2 do
      if batch[2][k] == 'd' then batch[2][k + 1] = blob end
    end
    local is_new = not changed[text(top)] and call('ZCOUNT', P..':x:'..room, top, top) == 0
    changed[text(top)] = batch
    local group = groups[#groups]
    if is_new and group and group.last == first - 1 then
      group.last = top
    elseif is_new then
      groups[#groups + 1] = { first = top, last = top }
    end
  end
  for _, run in ipairs(runs) do
    local least = run[1]
    while least <= run[2] do
      local found = batches(room, text(least), '+', math.min(run[2] - least + 1, 64))
      if #found == 0 then break end
      for _, batch in ipairs(found) do
        least = top_of(batch) + 1
        local first = least - tonumber(fields_of(batch).n)
        if first > run[2] then break end
        change(batch, first, run)
      end
    end
  end
  move_all(room, changed, groups)
  return grown
end

-- Drops texts that no action of the room can put back any more.
local function drop_old_asides(room)
  local oldest = call('XRANGE', P..':a:'..room, '-', '+', 'COUNT', 1)[1]
  local freed, first = 0, oldest and top_of(oldest) or 0
  for _, one in ipairs(call('ZRANGE', P..':asides:'..room, 0, -1)) do
    local action = string.match(one, '^%d+')
    if tonumber(action) < first or call('EXISTS', P..':aside:'..action..':'..room) == 0 then
      freed = freed + drop_aside(room, one)
    end
  end
  return freed
end

-- Drops texts at some positions that moderators took out before. Returns how many bytes that frees.
local function drop_texts(room, runs)
  local freed = 0
  for _, member in ipairs(call('ZRANGE', P..':asides:'..room, 0, -1)) do
    local key = P..':aside:'..string.match(member, '^%d+')..':'..room
    local packed = call('GET', key)
    if packed then
      local one, taken = unpack(cmsgpack.unpack(packed))
      local is_changed = false
      for position in pairs(taken) do
        for _, run in ipairs(runs) do
          local at = tonumber(position)
          if at >= run[1] and at <= run[2] then taken[position], is_changed = nil, true end
        end
      end
      if next(taken) == nil then
        freed = freed + drop_aside(room, one)
      elseif is_changed then
        call('SET', key, cmsgpack.pack({ one, taken }), 'KEEPTTL')
      end
    end
  end
  return freed
end

-- Takes texts out, as an action says. Those of other people are set aside.
local function remove(room, action, removal)
  local taken, last, size = {}, 0, BATCH_BYTES
  local grown = change_texts(room, removal.positions, function(position, old)
    if old == '' or position >= tonumber(action) then return nil end
    taken[text(position)], last = old, math.max(last, position)
    size = size + #old + 16
    return ''
  end)
  if removal.own then
    grown = grown - drop_texts(room, removal.positions)
  else
    grown = grown - drop_old_asides(room)
    if last > 0 then
      local one = action..' '..text(size)
      call('SET', P..':aside:'..action..':'..room, cmsgpack.pack({ one, taken }), 'EX', ASIDE_SECONDS)
      call('ZADD', P..':asides:'..room, last, one)
      grown = grown + size
    end
  end
  count_bytes(room, grown)
end

local function has_texts(room, action)
  return call('EXISTS', P..':aside:'..text(action)..':'..room) == 1
end

-- Puts texts back that another action took out, as far as there still are any.
local function put_back(room, removal)
  local packed = call('GET', P..':aside:'..text(removal.undoes)..':'..room)
  if not packed then return end
  local one, taken = unpack(cmsgpack.unpack(packed))
  local grown = change_texts(room, removal.positions, function(position) return taken[text(position)] end)
  count_bytes(room, grown - drop_aside(room, one))
end
