-- RGW's maps: pairs of a key and a value, and how each release walks over them.

-- While a script runs, globals are what it makes of them, and there is no debug library.
local error, ipairs, pairs, setmetatable, tonumber, tostring, type =
  error, ipairs, pairs, setmetatable, tonumber, tostring, type
local find, match, sub, insert, remove = string.find, string.match, string.sub, table.insert, table.remove
local assert, open, debug_setmetatable = assert, io.open, debug.setmetatable

-- How often a walk may come to the same key; a script that bounds its loop has left it long before.
local MAX_REPEATS = 10000
-- How many bytes a key and its value may have, and how many of them there may be.
local MAX_ENTRY, MAX_ENTRIES = 1000, 100000

---@class rgw_nats.emulator.Maps
---@field private release rgw_nats.emulator.Release
---@field private state rgw_nats.emulator.State
---@field private hazards string[]
---@field private walks table<string, table> The walk of 19 and newer over each map, by the map's name.
---@field private by_key table<userdata, table>
local Maps = {}
Maps.__index = Maps

local maps = {
  -- What RGW.increment and RGW.decrement add.
  RESERVED = { increment = 1, decrement = -1 },
}


---@param release rgw_nats.emulator.Release
---@param state rgw_nats.emulator.State
---@param hazards string[]
---@return rgw_nats.emulator.Maps
function maps.new(release, state, hazards)
  return setmetatable({ release = release, state = state, hazards = hazards, walks = {}, by_key = {} }, Maps)
end

--- A string as C++ gets it from Lua: up to its first NUL.
---@param text string
---@return string
function maps.cut(text)
  return match(text, "^[^\0]*")
end
local cut = maps.cut

--- The error of luaL_check… for an argument of a C function. Lua 5.4 names a metamethod without its underscores.
---@param place integer
---@param called string
---@param expected string
---@param given string
---@return string
function maps.bad_argument(place, called, expected, given)
  if _VERSION ~= "Lua 5.3" then called = called:gsub("^__", "") end
  return ("bad argument #%d to '%s' (%s expected, got %s)"):format(place, called, expected, given)
end

--- An argument of a C function that must be a string, or can be made one; nil and the error of luaL_checkstring if not.
---@return string? text
---@return string? problem
function maps.c_string(value, place, called)
  if type(value) == "string" then return value end
  if type(value) == "number" then return tostring(value) end
  -- Metamethods have all their arguments; functions that want a string take it first.
  local given = value == nil and place == 1 and "no value" or type(value)
  return nil, maps.bad_argument(place, called, "string", given)
end

--- The place of the first pair with a key.
---@param data [string, any][]
---@param key string
---@return integer?
function maps.find(data, key)
  for place, pair in ipairs(data) do
    if pair[1] == key then return place end
  end
end

--- The function that steps over a map. `named` leaves out what has an empty key, as 16 and 18 do with grants.
function Maps:walk(path, data, show, named)
  if self.release >= 19 then return self:by_iterator(path, data, show) end
  return self:by_last_key(path, data, show, named)
end

-- 16 and 18 look the last key up to go on from it. Where that key is there twice they never get past it; and where they
-- do not find it, as it has a NUL in it or was erased, an assertion fails.
function Maps:by_last_key(path, data, show, named)
  local repeats = 0
  return function(_, last)
    local place = 1
    if last ~= nil then
      local known, problem = maps.c_string(last, 2, "for iterator")
      if problem then error(problem, 2) end
      place = maps.find(data, cut(known))
      if not place then
        local why = find(known, "\0", 1, true) and "has a NUL in it" or "is no longer there"
        self.state:stop("crash", ("%s was walked on from the key %q, which %s: an assertion of 16.2 and 18.2 fails")
          :format(path, known, why))
      end
      place = place + 1
    end
    while named and data[place] and data[place][1] == "" do place = place + 1 end
    local pair = data[place]
    if not pair then return nil end
    if pair[1] == last then
      repeats = repeats + 1
      if repeats > MAX_REPEATS then
        self.state:stop("hang", ("a walk over %s never gets past the key %q, which is there twice"):format(path, last))
      end
    end
    return pair[1], show(pair)
  end
end

-- A userdata with this metatable; RGW's keys on 19 and newer are such. Lua itself can make none but closed files.
local function userdata(metatable)
  local file = assert(open("/dev/null"))
  file:close()
  return debug_setmetatable(file, metatable)
end

-- 19 and newer give one userdata as each key, which stands at a place of the map and moves on. There is one for each
-- map as the script has spelled it; RGW finds it by a metatable, and uses its memory again though Lua may have
-- collected it.
function Maps:by_iterator(path, data, show)
  local function begin()
    local walk = self.walks[path]
    local name = path .. ".Iterator"
    if not walk then
      walk = { data = data }
      local function text()
        local pair = walk.data[walk.place]
        if pair then return pair[1] end
        self:hazard(path .. " was walked to its end, and its key read then: there is no such memory")
        return ""
      end
      walk.metatable = { __name = name, __tostring = text }
      self.state:register(name, walk.metatable)
      self.walks[path] = walk
    elseif walk.place <= #walk.data then
      return nil, ("Trying to iterate '%s' before previous iteration finished"):format(path)
    else
      self:hazard(path .. " was walked a second time, which RGW does in memory that Lua may have collected")
    end
    walk.place, walk.data, walk.key = 1, data, userdata(walk.metatable)
    self.by_key[walk.key] = walk
    return walk
  end
  return function(_, key)
    local walk, problem
    if key == nil then
      walk, problem = begin()
      if problem then error(problem, 2) end
    else
      walk = self.by_key[key]
      if not walk then self.state:stop("crash", path .. " was walked on from what is no key of RGW") end
      walk.place = walk.place + 1
      if walk.moved or walk.place > #walk.data + 1 then
        self.state:stop("crash", path .. " was walked on after its pairs had moved, in memory that is no longer theirs")
      end
    end
    local pair = walk.data[walk.place]
    if not pair then return nil end
    return walk.key, show(pair)
  end
end

function Maps:hazard(text)
  insert(self.hazards, text)
end

-- Walks of 19 and newer stand at a place, whatever comes to be there. A new pair may move all of them elsewhere.
local function put(self, data, key, value, moves)
  local place = maps.find(data, key)
  if place then
    data[place][2] = value
    return
  end
  for _, walk in pairs(self.walks) do
    if moves and walk.data == data and walk.place <= #data then walk.moved = true end
  end
  place = 1
  while data[place] and data[place][1] < key do place = place + 1 end
  insert(data, place, { key, value })
end

local function erase(data, key)
  local place = maps.find(data, key)
  if place then remove(data, place) end
end

-- What is wrong with the size of a new entry.
local function oversized(data, size)
  if size > MAX_ENTRY then return "Lua maximum size of entry limit exceeded" end
  if #data > MAX_ENTRIES then return "Lua max number of entries limit exceeded" end
end

--- Assigns to a map of texts; returns a problem, if there is one.
---@return string?
function Maps:assign(_, data, key, value)
  local name, problem = maps.c_string(key, 2, "__newindex")
  if problem then return problem end
  name = cut(name)
  if value == nil and self.release > 16 then return erase(data, name) end
  local text, bad = maps.c_string(value, 3, "__newindex")
  if bad then return bad end
  text = cut(text)
  local large = self.release > 16 and oversized(data, #sub(text, 1, MAX_ENTRY) + #sub(name, 1, MAX_ENTRY))
  if large then return large end
  put(self, data, name, text, true)
end

--- Assigns to `RGW`.
---@return string?
function Maps:share(data, key, value)
  local name, problem = maps.c_string(key, 2, "__newindex")
  if problem then return problem end
  name = cut(name)
  if maps.RESERVED[name:lower()] then return "increment/decrement are reserved function names for RGW" end
  if value == nil then return erase(data, name) end
  local size = ({ string = #tostring(value), number = 8, boolean = 1 })[type(value)]
  if not size then return "unsupported value type for RGW table" end
  local large = oversized(data, size + #sub(name, 1, MAX_ENTRY))
  -- The error jumps over the unlocking of the map.
  if large then data.locked = true end
  if large then return large end
  put(self, data, name, value)
end

--- What `RGW.increment` and `RGW.decrement` do: nothing to what is not there.
---@return string?
function maps.add(data, sign, key, number)
  local name, problem = maps.c_string(key, 1, sign > 0 and "increment" or "decrement")
  if problem then return problem end
  local amount = tonumber(number == nil and 1 or number)
  if not amount then return "can increment only by numeric values" end
  local place = maps.find(data, cut(name))
  if not place then return end
  if type(data[place][2]) ~= "number" then return "can increment only numeric values" end
  data[place][2] = data[place][2] + sign * amount
end

return maps
