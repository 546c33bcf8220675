-- The tables that RGW shows to a script: empty ones, whose metatables know where in the request they look. Each release
-- has its own ways with them, which are the reason for this file.
local fields = require("rgw_nats.emulator.fields")
local maps = require("rgw_nats.emulator.maps")

-- While a script runs, globals are what it makes of them.
local error, setmetatable, tonumber, type = error, setmetatable, tonumber, type
local tointeger = math.tointeger
local cut, c_string = maps.cut, maps.c_string

-- What is called without the arguments that it needs, and reads through a null pointer.
local CRASHES = { CopyFrom = 16, Statements = 16 }

---@class rgw_nats.emulator.Proxies
---@field private release rgw_nats.emulator.Release
---@field private state rgw_nats.emulator.State
---@field private maps rgw_nats.emulator.Maps
---@field private metatables table<string, table>
---@field private hidden table<string, true>
local Proxies = {}
Proxies.__index = Proxies

--- The tables of one state. `hazards` collects what works here and is not safe on a gateway; `hidden` are the fields of
--- `Request` that this gateway lacks though others of its release have them.
---@param release rgw_nats.emulator.Release
---@param state rgw_nats.emulator.State
---@param hazards string[]
---@param hidden table<string, true>
---@return rgw_nats.emulator.Proxies
function Proxies.new(release, state, hazards, hidden)
  local proxies = { release = release, state = state, metatables = {}, hidden = hidden }
  proxies.maps = maps.new(release, state, hazards)
  return setmetatable(proxies, Proxies)
end

-- The metatable of a table. 16 and 18 have one for each kind, and fill it anew for each table that they make: all of
-- that kind then look where the last one does. Newer ones have one for each place in the request, as the script has
-- spelled it.
function Proxies:metatable(kind, path)
  local name = self.release < 19 and kind .. "Meta" or path
  local metatable = self.metatables[name] or { __name = name }
  self.metatables[name] = metatable
  return metatable
end

-- Returns a problem for its caller to raise; 16 throws it instead, as a C++ exception.
function Proxies:refused(problem)
  if self.release == 16 then self.state:stop("exception", problem) end
  return problem
end

function Proxies:crash(path)
  self.state:stop("crash", path .. " of 16.2 is a segmentation fault when it is indexed")
end

-- The metamethods raise by themselves, as the level of an error is that of who called them.
function Proxies:proxy(kind, path, index, assign, walk, length)
  local metatable = self:metatable(kind, path)
  metatable.__index = function(_, key)
    local value, problem = index(key)
    if problem then error(problem, 2) end
    return value
  end
  metatable.__newindex = function(_, key, value)
    local problem
    if assign then problem = assign(key, value) else problem = self:refused("trying to write to readonly field") end
    if problem then error(problem, 2) end
  end
  metatable.__pairs = function()
    if not walk then error(self:refused("trying to iterate over non-iterable field"), 2) end
    return walk(), nil
  end
  metatable.__len = function()
    if not length then error(self:refused("trying to get length of non-iterable field"), 2) end
    return length()
  end
  return setmetatable({}, metatable)
end

-- What a script sees of a value, which is in the request at `path`.
function Proxies:show(what, path, value)
  if what == "owner" then what = self.release < 19 and "User" or "text" end
  if what == "function" then return function() end end
  if value == nil then return nil end
  if fields.KINDS[what] then return self:record(what, path, value) end
  if fields.LISTS[what] then return self:list(what, path, value) end
  if fields.MAPS[what] then return self:map(what, path, value) end
  -- From 19 on, the NUL at the end of the C string comes along.
  if what == "time" and self.release >= 19 then return value .. "\0" end
  return value
end

--- A table with fields.
---@param kind string
---@param path string
---@param data table
---@return table
function Proxies:record(kind, path, data)
  local release = self.release
  -- One that is not loaded has the name in the URL and no other field, whatever is asked for.
  local unloaded = kind == "Bucket" and release > 16 and data.Id == nil
  local function unknown(name)
    return self:refused(("unknown field name: %s provided to: %s"):format(name, release < 19 and kind or path))
  end
  local function index(key)
    if CRASHES[kind] == release then self:crash(path) end
    local text, problem = c_string(key, 2, "__index")
    if problem then return nil, problem end
    local name = fields.name(kind, cut(text))
    if unloaded then return name == "Name" and data.Name or nil end
    local what = name and fields.type(release, kind, name)
    if not what or (kind == "Request" and self.hidden[name]) then return nil, unknown(cut(text)) end
    return self:show(what, path .. "." .. cut(text), data[name])
  end
  local writable = fields.writable(release, kind, not unloaded)
  local function assign(key, value)
    local text, problem = c_string(key, 2, "__newindex")
    if problem then return problem end
    local name = fields.name(kind, cut(text))
    if not (name and writable[name]) then return unknown(cut(text)) end
    local what = fields.type(release, kind, name)
    local new
    if what == "boolean" then
      new = not not value
    elseif what == "integer" then
      new = tointeger(tonumber(value))
      if not new then problem = maps.bad_argument(3, "__newindex", "number", type(value)) end
    else
      new, problem = c_string(value, 3, "__newindex")
      new = new and cut(new)
    end
    if problem then return problem end
    data[name] = new
  end
  return self:proxy(kind, path, index, writable and assign)
end

--- A list, which is counted from 0.
---@param kind string
---@param path string
---@param data any[]
---@return table
function Proxies:list(kind, path, data)
  local function at(place)
    return self:show(fields.LISTS[kind], ("%s.%d"):format(path, place), data[place + 1])
  end
  local function index(key)
    local place = tointeger(tonumber(key))
    if not place then return nil, maps.bad_argument(2, "__index", "number", type(key)) end
    return at(place)
  end
  local function step(_, last)
    local place = last and last + 1 or 0
    if place >= #data then return nil end
    return place, at(place)
  end
  if CRASHES[kind] == self.release then
    index = function() self:crash(path) end
  end
  return self:proxy(kind, path, index, nil, function() return step end, function() return #data end)
end

--- A map: pairs of a key and a value.
---@param what string
---@param path string
---@param data [string, any][]
---@return table
function Proxies:map(what, path, data)
  local kind, held = fields.MAPS[what][1], fields.MAPS[what][2]
  local function show(pair) return self:show(held, path .. "." .. pair[1], pair[2]) end
  local function index(key)
    local text, problem = c_string(key, 2, "__index")
    if problem then return nil, problem end
    local place = maps.find(data, cut(text))
    return place and show(data[place])
  end
  local assign = what == "headers" and function(key, value) return self.maps:assign(path, data, key, value) end
  local function walk() return self.maps:walk(path, data, show, what == "Grants") end
  return self:proxy(kind, path, index, assign or nil, what ~= "tags" and walk or nil, function() return #data end)
end

--- `RGW`, the map that all scripts of a gateway share.
---@param data [string, any][]
---@return table
function Proxies:shared(data)
  local function lock()
    if data.locked then self.state:stop("hang", "RGW is locked since it refused an entry for its size") end
  end
  local function show(pair) return pair[2] end
  local function adder(sign)
    return function(key, number)
      lock()
      local problem = maps.add(data, sign, key, number)
      if problem then error(problem, 2) end
    end
  end
  local function index(key)
    local text, problem = c_string(key, 2, "__index")
    if problem then return nil, problem end
    local sign = maps.RESERVED[cut(text):lower()]
    if sign then return adder(sign) end
    lock()
    local place = maps.find(data, cut(text))
    return place and data[place][2]
  end
  local function assign(key, value)
    lock()
    return self.maps:share(data, key, value)
  end
  local function length()
    lock()
    return #data
  end
  return self:proxy("RGW", "RGW", index, assign, function() return self.maps:walk("RGW", data, show) end, length)
end

return Proxies
