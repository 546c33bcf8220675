-- A Lua state as RGW makes it for a script: its globals, and an end that no pcall of the script can hold up. It is made
-- of the state that the emulator runs in, which is put back as it was when the script is through.

-- While a script runs, globals are what it makes of them, and there is no debug library.
local error, ipairs, next, pairs, rawset, setmetatable, type = error, ipairs, next, pairs, rawset, setmetatable, type
local _G, coroutine, os, package, pack, unpack = _G, coroutine, os, package, table.pack, table.unpack
local getregistry, insert, floor = debug.getregistry, table.insert, math.floor
local create, resume, yield = coroutine.create, coroutine.resume, coroutine.yield
local isyieldable, running, sethook = coroutine.isyieldable, coroutine.running, debug.sethook
local clock = os.clock

-- What luaL_openlibs gives, less what RGW takes away again. bit32 is there in builds of 5.3, warn in 5.4.
local GLOBALS = {}
for name in ([[_G _VERSION assert bit32 collectgarbage coroutine error getmetatable io ipairs math next os package pairs
  pcall print rawequal rawget rawlen rawset require select setmetatable string table tonumber tostring type utf8 warn
  xpcall]]):gmatch("%S+") do
  GLOBALS[name] = true
end
local LIBRARIES = { "coroutine", "io", "math", "os", "package", "string", "table", "utf8" }
-- How long a script may compute where RGW has no limit, in seconds of the processor.
local PATIENCE = 2

-- What a script is ended by; nobody else can have it.
local STOP = setmetatable({}, { __tostring = function() return "rgw_nats.emulator: the script was ended" end })

---@class rgw_nats.emulator.State
---@field stopped? { kind: "exception"|"crash"|"hang", why: string } Why the script was ended from outside of Lua.
---@field private limit? integer
---@field private start number
---@field private thread thread
---@field private restore fun()[]
---@field private finished boolean
local State = {}
State.__index = State

-- Returns a function that makes a table what it is now.
local function keep(place)
  local kept = {}
  for key, value in next, place do kept[key] = value end
  return function()
    for key in next, place do
      if kept[key] == nil then rawset(place, key, nil) end
    end
    for key, value in next, kept do rawset(place, key, value) end
  end
end

-- Native modules keep things for the state under light userdata. What the script's calls have put there goes with the
-- state. Tables stay: they are metatables of what may still be collected.
local function keep_registry(registry)
  local kept = {}
  for key in next, registry do
    if type(key) == "userdata" then kept[key] = true end
  end
  return function()
    for key, value in next, registry do
      if type(key) == "userdata" and not kept[key] and type(value) ~= "table" then registry[key] = nil end
    end
  end
end

--- Makes a state. `limit` is how many milliseconds a script may run, as RGW 20 has it; without one it may run until it
--- seems to be endless.
---@param limit? integer
---@return rgw_nats.emulator.State
function State.new(limit)
  return setmetatable({ limit = limit, restore = {}, finished = false }, State)
end

--- Puts it in the place of the state that is, with these globals besides Lua's own.
---@param globals table<string, any>
function State:open(globals)
  for _, name in ipairs(LIBRARIES) do
    if type(_G[name]) == "table" then insert(self.restore, keep(_G[name])) end
  end
  for _, place in ipairs({ package.loaded, _G }) do insert(self.restore, keep(place)) end
  insert(self.restore, keep_registry(getregistry()))
  for name, replacement in pairs(self:coroutines()) do rawset(coroutine, name, replacement) end
  rawset(os, "exit", nil)
  for name in next, _G do
    if not GLOBALS[name] then rawset(_G, name, nil) end
  end
  for name, value in pairs(globals) do rawset(_G, name, value) end
end

--- Puts back what was there before.
function State:close()
  self.finished = true
  for _, restore in ipairs(self.restore) do restore() end
end

--- Keeps a value in the registry, under a name, until the state is closed.
---@param name string
---@param value table
function State:register(name, value)
  local registry = getregistry()
  registry[name] = value
  insert(self.restore, function() registry[name] = nil end)
end

--- Runs a function. Returns as coroutine.resume does; `stopped` says if the end came from outside of Lua.
---@param chunk function
---@return boolean ok
---@return any ...
function State:run(chunk)
  self.start = clock()
  self.thread = create(self:limited(chunk))
  return resume(self.thread)
end

--- Ends the script; does not return. `kind` is "exception" for a C++ exception, which ends the script and no more;
--- "crash", which ends the gateway; or "hang", which never lets the request end.
---@param kind "exception"|"crash"|"hang"
---@param why string
function State:stop(kind, why)
  if self.finished then error(why, 0) end
  self.stopped = self.stopped or { kind = kind, why = why }
  -- A coroutine that yields passes all pcalls, and this one is never resumed.
  if isyieldable() then yield(STOP) end
  -- Not across C, such as a native module that reads Request. An error then, which whoever catches it gets again with
  -- his next instruction.
  sethook(function() error(STOP, 0) end, "", 1)
  error(STOP, 0)
end

-- The hook that watches how long the script runs.
function State:watch()
  if self.stopped then error(STOP, 0) end
  local elapsed = (clock() - self.start) * 1000
  if self.limit and elapsed > self.limit then
    error(("Lua runtime limit exceeded: total elapsed time is %d ms"):format(floor(elapsed)), 0)
  elseif not self.limit and elapsed > PATIENCE * 1000 then
    self:stop("hang", ("the script had not ended after %d s"):format(PATIENCE))
  end
end

-- The function, in a coroutine that is watched: hooks are of one coroutine each.
function State:limited(body)
  if type(body) ~= "function" then return body end
  return function(...)
    -- RGW looks at the clock for each line and each 1000 instructions.
    sethook(function() self:watch() end, self.limit and "l" or "", self.limit and 1000 or 100000)
    return body(...)
  end
end

-- What the script gets of coroutines: its main function is in none, as far as it can see; and what ends the script in a
-- coroutine ends those that have resumed it too.
function State:coroutines()
  local function passed(...)
    if self.stopped then self:stop(self.stopped.kind, self.stopped.why) end
    return ...
  end
  return {
    create = function(body) return create(self:limited(body)) end,
    resume = function(...) return passed(resume(...)) end,
    wrap = function(body)
      local thread = create(self:limited(body))
      return function(...)
        local values = pack(passed(resume(thread, ...)))
        -- Lua says where it was called, besides.
        if not values[1] then error(values[2], type(values[2]) == "string" and 2 or 0) end
        return unpack(values, 2, values.n)
      end
    end,
    yield = function(...)
      if running() == self.thread then error("attempt to yield from outside a coroutine", 0) end
      return yield(...)
    end,
    isyieldable = function() return running() ~= self.thread and isyieldable() end,
    running = function()
      local thread = running()
      return thread, thread == self.thread
    end,
  }
end

return State
