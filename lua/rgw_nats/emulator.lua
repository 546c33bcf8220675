-- A gateway without Ceph: runs scripts on requests as Ceph 16.2, 18.2 and 20.2 show them. docs/emulator.md tells more.
local maps = require("rgw_nats.emulator.maps")
local Proxies = require("rgw_nats.emulator.proxies")
local requests = require("rgw_nats.emulator.requests")
local State = require("rgw_nats.emulator.state")

-- While a script runs, globals are what it makes of them.
local error, insert, load = error, table.insert, load
local RELEASES = { ["16.2"] = 16, ["18.2"] = 18, ["20.2"] = 20 }
-- rgw_lua_max_runtime_per_state, in milliseconds.
local MAX_RUNTIME = 1000
local ABORT = -1

---@class rgw_nats.emulator
local emulator = {}

---A gateway of one release.
---@class rgw_nats.emulator.Gateway
---@field release "16.2"|"18.2"|"20.2"
---@field log string[] What scripts have given to RGWDebugLog.
---@field hazards string[] What worked here, and is not safe on a gateway of this release.
---@field crashed? string Why the gateway has crashed; it runs nothing more then.
---@field aborted boolean Whether the last script asked for its request to be aborted (20.2, preRequest).
---@field private number rgw_nats.emulator.Release
---@field private shared [string, any][] What is in RGW.
---@field private requests integer How many requests it has had.
local Gateway = {}
Gateway.__index = Gateway

---A request, as the fields that RGW has for it; times are without the NUL of 20.2, maps are lists of pairs.
---@class rgw_nats.emulator.Request: table

---Makes a gateway.
---@param release "16.2"|"18.2"|"20.2"
---@return rgw_nats.emulator.Gateway
function emulator.new(release)
  local number = RELEASES[release]
  if not number then error(("no release %s; there are 16.2, 18.2 and 20.2"):format(tostring(release)), 2) end
  return setmetatable({
    release = release, log = {}, hazards = {}, aborted = false, number = number, shared = {}, requests = 0,
  }, Gateway)
end

---Makes a request: all that captures of the operation have, with these fields instead. `false` is for a field that is
---nil, and for an empty map. Else a map can be a table, which adds to it, or a list of pairs, which takes its place.
---@param operation string
---@param given? table
---@return rgw_nats.emulator.Request
function Gateway:request(operation, given)
  self.requests = self.requests + 1
  local ok, request = pcall(requests.make, self.number, self.requests, operation, given or {})
  if not ok then error("emulator: " .. request, 2) end
  return setmetatable(request, { release = self.number })
end

-- The arguments of run, or an error for its caller.
local function check(gateway, script, request, context)
  if type(script) ~= "string" and type(script) ~= "function" then
    return ("emulator: a script is a string or a function, got %s"):format(type(script))
  end
  local metatable = type(request) == "table" and getmetatable(request)
  if not metatable or metatable.release ~= gateway.number then
    return ("emulator: this gateway runs requests that gateway:request() of a %s made"):format(gateway.release)
  end
  if context ~= "preRequest" and context ~= "postRequest" then
    return ("emulator: a script runs as preRequest or postRequest, not %s"):format(tostring(context))
  end
end

-- What RGW's own functions and tables are called, for one script.
local function globals(gateway, state, request)
  local proxies = Proxies.new(gateway.number, state, gateway.hazards)
  local all = {
    Request = proxies:record("Request", "Request", request),
    RGWDebugLog = function(message)
      local text, problem = maps.c_string(message, 1, "RGWDebugLog")
      if problem then error(problem, 2) end
      insert(gateway.log, maps.cut(text))
    end,
  }
  -- The one thing that is in the table itself; it writes to the log of operations.
  rawset(all.Request, "Log", function() return 0 end)
  if gateway.number > 16 then all.RGW = proxies:shared(gateway.shared) end
  if gateway.number == 20 then all.RGW_ABORT_REQUEST = ABORT end
  return all
end

-- What a script has come to, by what coroutine.resume returned.
local function outcome(gateway, stopped, results)
  if stopped and stopped.kind == "hang" then return false, "on a real gateway this never ends: " .. stopped.why end
  if stopped and stopped.kind == "exception" then return false, stopped.why end
  if not stopped and results[1] then return true end
  local problem = results[2]
  if not stopped and (type(problem) == "string" or type(problem) == "number") then return false, tostring(problem) end
  local shown, text = pcall(tostring, problem)
  gateway.crashed = stopped and stopped.why
    or ("an error value that is no string ends it, and this was a %s: %s"):format(type(problem), shown and text or "?")
  return false, "the gateway has crashed: " .. gateway.crashed
end

---Runs a script: its text, or a function, which has the same globals. Returns true if it came to its end, or false and
---what RGW writes to its log, or why there was no end.
---@param script string|function
---@param request rgw_nats.emulator.Request
---@param context? "postRequest"|"preRequest" postRequest, if it is not given.
---@return boolean ok
---@return string? problem
function Gateway:run(script, request, context)
  context = context or "postRequest"
  local wrong = check(self, script, request, context)
  if wrong then error(wrong, 2) end
  self.aborted = false
  if self.crashed then return false, "the gateway has crashed: " .. self.crashed end
  local chunk, problem = script, nil
  if type(script) == "string" then chunk, problem = load(script, script) end
  if not chunk then return false, problem end
  local early = context == "preRequest" and requests.early(self.number, request)
  local state = State.new(self.number == 20 and MAX_RUNTIME or nil)
  state:open(globals(self, state, early or request))
  local results = table.pack(state:run(chunk))
  state:close()
  local ok, why = outcome(self, state.stopped, results)
  if not ok then return false, why end
  local last = results[results.n]
  if early and self.number == 20 and math.type(last) == "integer" and last == ABORT then
    self.aborted, request.Response = true, early.Response
  end
  return true
end

return emulator
