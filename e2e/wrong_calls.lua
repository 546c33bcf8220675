-- Calls every function of the module wrongly in every way and says what came of it, a line for each call that behaved
-- otherwise than promised: `nil, "code: message", "code"`, `true`, a table or a handle; never an error.
local out = assert(io.open("/ceph/wrong_calls.txt", "w"))
local nats = require("rgw_nats")
local handle = assert(nats.connect("nats://127.0.0.1:1"))
local closed = assert(nats.connect("nats://127.0.0.1:1"))
closed:close()

local cyclic = {}
cyclic.self = cyclic
local deep = {}
for _ = 1, 100 do deep = { deep } end
local wide = {}
for n = 1, 30000 do wide[n] = n end
if RGW_ABORT_REQUEST then wide = { 1 } end -- 20 has no memory for that many
local function raise(value) return function() error(value, 0) end end
local function trap(value)
  local raises = raise(value)
  return setmetatable({}, { __index = raises, __pairs = raises, __len = raises, __tostring = raises, __name = "trap" })
end
local NOTHING = {}
local values = {
  NOTHING, true, false, 0, -1, math.mininteger, 1.5, 0 / 0, 1 / 0, "", "a.b", "a..b", "nats://127.0.0.1:1",
  "\0", "\255\254", ("x"):rep(5000), {}, cyclic, deep, wide, { url = "nats://127.0.0.1:1" }, { url = 1, x = 2 },
  trap("text"), trap({}), trap(nil), print, coroutine.create(print), io.stdout, handle, closed, nats,
  Request, Request.HTTP, Request.Response, Request.HTTP.Metadata, Request.Tags, Request.Environment,
  Request.Bucket or {},
  Request.Object or {}, Request.ObjectOwner, Request.ZoneGroup,
}
local functions = {}
for name, f in pairs(nats) do
  if type(f) == "function" then functions[name] = f end
end
for _, name in ipairs({ "publish", "status" }) do functions["connection:" .. name] = handle[name] end
functions["tostring"] = tostring

local calls = 0
local function try(name, f, ...)
  calls = calls + 1
  local results = table.pack(pcall(f, ...))
  local ok, first, message, code = table.unpack(results, 1, 4)
  local good
  if not ok then
    good = false
  elseif first == nil then
    good = type(message) == "string" and type(code) == "string" and message:sub(1, #code + 2) == code .. ": "
  else
    good = first == true or type(first) == "table" or type(first) == "userdata" or type(first) == "string"
  end
  if not good then
    out:write(name, " ", tostring(ok), " ", type(first), " ", type(message), " ", type(code), "\n")
  end
end

for name, f in pairs(functions) do
  if name ~= "tostring" then
    try(name, f)
    for _, one in ipairs(values) do
      if one == NOTHING then one = nil end
      try(name, f, one)
      try(name, f, handle, one)
      try(name, f, Request, one)
      try(name, f, handle, "a.b", one)
      try(name, f, handle, "a.b", "payload", one)
      try(name, f, one, one, one, one, one)
      local thread = coroutine.create(f)
      coroutine.resume(thread, one, one)
    end
  end
end
try("tostring", tostring, closed)
handle:close()
out:write("calls ", tostring(calls), "\n")
out:close()
-- And uncaught, as the last thing: each of these ends a script with a string.
assert(nats.notify(Request, { ulr = "nats://127.0.0.1:1" }))
