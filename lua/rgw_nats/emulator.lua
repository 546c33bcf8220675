-- A gateway without Ceph: runs scripts on requests as releases of Ceph show them. docs/emulator.md tells more.
local contexts = require("rgw_nats.emulator.contexts")
local maps = require("rgw_nats.emulator.maps")
local Proxies = require("rgw_nats.emulator.proxies")
local requests = require("rgw_nats.emulator.requests")
local State = require("rgw_nats.emulator.state")

-- While a script runs, globals are what it makes of them.
local error, insert, load = error, table.insert, load
-- A release is `verified` if it was compared with a real gateway; the others are made from Ceph's sources alone.
local RELEASES = {
  ["16.2"] = { number = 16, verified = true }, ["18.2"] = { number = 18, verified = true },
  ["19.2"] = { number = 19, verified = false }, ["20.2"] = { number = 20, verified = true },
  main = { number = 21, verified = false },
}
-- The first release that each option is of, and the values that it has.
local OPTIONS = {
  bytecode_cache = { 20, { [true] = true, [false] = true } }, multi_delete = { 21, { keys = true, list = true } },
}
-- rgw_lua_max_runtime_per_state, in milliseconds.
local MAX_RUNTIME = 1000
local ABORT = -1

---@class rgw_nats.emulator
local emulator = {}

---@alias rgw_nats.emulator.ReleaseName "16.2"|"18.2"|"19.2"|"20.2"|"main"

---What not every gateway of a release does.
---@class rgw_nats.emulator.Options
---Whether a script is compiled once it has run, and what it returns is ignored from then on (main, and 20.2 after
---20.2.4).
---@field bytecode_cache? boolean
---How a multi-object delete shows its keys (main): "keys" runs a script for each, "list" has `Request.Objects`.
---@field multi_delete? "keys"|"list"

---A gateway of one release.
---@class rgw_nats.emulator.Gateway
---@field release rgw_nats.emulator.ReleaseName
---Whether the release was compared with a real gateway; 19.2 and main are made from Ceph's sources alone.
---@field verified boolean
---@field log string[] What scripts have given to RGWDebugLog.
---@field hazards string[] What worked here, and is not safe on a gateway of this release.
---@field crashed? string Why the gateway has crashed; it runs nothing more then.
---@field aborted boolean Whether the last script had its request aborted, or a key of it skipped.
---@field private number rgw_nats.emulator.Release
---@field private options rgw_nats.emulator.Options
---@field private scripts table<string, string|function> The script that was run last in each context.
---@field private shared [string, any][] What is in RGW.
---@field private requests integer How many requests it has had.
local Gateway = {}
Gateway.__index = Gateway

---A request, as the fields that RGW has for it; times are without the NUL of 19.2 and newer, maps are lists of pairs.
---@class rgw_nats.emulator.Request: table

---Makes a gateway.
---@param release rgw_nats.emulator.ReleaseName
---@param options? rgw_nats.emulator.Options
---@return rgw_nats.emulator.Gateway
function emulator.new(release, options)
  local known = RELEASES[release]
  if not known then error(("no release %s; there are 16.2, 18.2, 19.2, 20.2 and main"):format(tostring(release)), 2) end
  for name, value in pairs(options or {}) do
    local option = OPTIONS[name]
    if not option then error(("no option %s; there are bytecode_cache and multi_delete"):format(tostring(name)), 2) end
    if known.number < option[1] then error(("%s has no %s"):format(release, name), 2) end
    if not option[2][value] then error(("%s cannot be %s"):format(name, tostring(value)), 2) end
  end
  return setmetatable({
    release = release, verified = known.verified, log = {}, hazards = {}, aborted = false, number = known.number,
    options = options or {}, scripts = {}, shared = {}, requests = 0,
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
  return setmetatable(request, { release = self.number, operation = operation })
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
  if not contexts.find(gateway.number, context) then
    local known = contexts.listed(gateway.number)
    return ("emulator: a script runs as %s, not %s"):format(known, tostring(context))
  end
end

-- What RGW's own functions and tables are called, for one script.
local function globals(gateway, state, request)
  local hidden = { Objects = gateway.options.multi_delete ~= "list" or nil }
  local proxies = Proxies.new(gateway.number, state, gateway.hazards, hidden)
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
  if gateway.number >= 20 then all.RGW_ABORT_REQUEST = ABORT end
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

-- Runs a script once; returns also whether it asks for the request to be aborted.
local function execute(gateway, chunk, view)
  local state = State.new(gateway.number >= 20 and MAX_RUNTIME or nil)
  state:open(globals(gateway, state, view))
  local results = table.pack(state:run(chunk))
  state:close()
  local ok, why = outcome(gateway, state.stopped, results)
  local last = results[results.n]
  return ok, why, ok and math.type(last) == "integer" and last == ABORT
end

---Runs a script: its text, or a function, which has the same globals. Returns true if it came to its end, or false and
---what RGW writes to its log, or why there was no end, or why it was not run.
---@param script string|function
---@param request rgw_nats.emulator.Request
---@param context? "postRequest"|"preRequest"|"postAuth" postRequest, if it is not given.
---@return boolean ok
---@return string? problem
function Gateway:run(script, request, context)
  local wrong = check(self, script, request, context or "postRequest")
  if wrong then error(wrong, 2) end
  context = contexts.find(self.number, context or "postRequest")
  self.aborted = false
  local never = self.crashed and "the gateway has crashed: " .. self.crashed
    or contexts.unreached(self.number, request, context)
  if never then return false, never end
  local chunk, problem = script, nil
  if type(script) == "string" then chunk, problem = load(script, script) end
  if not chunk then return false, problem end
  local is_compiled = self.options.bytecode_cache and self.scripts[context] == script
  self.scripts[context] = script
  local can_abort = self.number >= 20 and context ~= "postRequest" and not is_compiled
  local views, by_key = contexts.views(self.number, request, context, self.options.multi_delete)
  for _, view in ipairs(views) do
    local ok, why, aborts = execute(self, chunk, view)
    problem = problem or not ok and (why or "") or nil
    if self.crashed then break end
    aborts = aborts and can_abort
    self.aborted = self.aborted or aborts
    if by_key and aborts then contexts.skip(request, view.Object) end
    if not by_key and context ~= "postRequest" then contexts.finish(self.number, request, view, aborts) end
  end
  if problem then return false, problem end
  return true
end

return emulator
