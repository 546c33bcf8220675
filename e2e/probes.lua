-- Asks a gateway for the ways in which it differs from the others: one probe for each request, by the object's name.
-- The emulator runs the same; test_emulator.py compares what both write.
local OUT = "/ceph/written.txt"
local out = assert(io.open(OUT, "a"))
out:setvbuf("no")

local function show(value)
  if type(value) == "string" then return ("%q"):format(value) end
  if type(value) == "number" or type(value) == "boolean" or value == nil then return tostring(value) end
  return type(value)
end

local function write(...)
  local values = table.pack(...)
  for place = 1, values.n do values[place] = show(values[place]) end
  out:write("  ", table.concat(values, " "), "\n")
end

-- Writes what a function returns or raises.
local function try(body, ...) write(pcall(body, ...)) end

local function name(value) return getmetatable(value).__name end

-- A user is a table before 20.
local function who(user)
  if type(user) ~= "table" then return user end
  return user.Tenant .. "/" .. user.Id
end

local probes = {}

function probes.case()
  write(Request.rgwop, Request.hTTP.METHOD, Request.http.metadata["x-amz-meta-foo"])
  write(Request.HTTP.Metadata["X-Amz-Meta-Foo"], Request.Environment["aws:sourceip"])
end

function probes.names()
  write(name(Request), name(Request.HTTP), name(Request.HTTP.Metadata), name(Request.Tags), name(Request.Environment))
  write(name(Request.Bucket), name(Request.Bucket.User), name(Request.Object), name(Request.ObjectOwner))
  write(name(Request.Response), name(Request.ZoneGroup), name(Request.http), name(Request.GenericAttributes))
  write(name(Request.Bucket.Quota), name(Request.Bucket.PlacementRule), name(Request.UserPolicies))
  write(RGW and name(RGW), getmetatable(Request).__metatable, (tostring(Request):gsub(":.*", "")))
end

function probes.raw()
  write(next(Request))
  write(next(Request.Tags))
  write(rawlen(Request.Tags), select("#", pairs(Request.Tags)))
end

function probes.aliases()
  local metadata = Request.HTTP.Metadata
  local tags = Request.Tags
  write(metadata["x-amz-meta-foo"], metadata.k1, tags.k1)
  write(rawequal(getmetatable(metadata), getmetatable(tags)))
end

function probes.repeated()
  local steps = 0
  for key, value in pairs(Request.Tags) do
    write(tostring(key), value)
    steps = steps + 1
    if steps == 5 then break end
  end
  write(#Request.Tags, Request.Tags.a)
end

function probes.broken()
  for key in pairs(Request.Tags) do
    write(tostring(key))
    break
  end
  try(function()
    for key in pairs(Request.Tags) do write(tostring(key)) end
  end)
end

function probes.spelled()
  for key in pairs(Request.HTTP.Metadata) do
    write(tostring(key))
    break
  end
  try(function()
    local count = 0
    for _ in pairs(Request.http.metadata) do count = count + 1 end
    write(count == #Request.HTTP.Metadata)
  end)
end

function probes.nested()
  for outer in pairs(Request.Tags) do
    try(function()
      for inner in pairs(Request.Tags) do write(tostring(outer), tostring(inner)) end
    end)
  end
end

function probes.keys()
  local keys = {}
  for key, value in pairs(Request.Tags) do
    keys[#keys + 1] = key
    write(type(key), tostring(key), value, key == "k1", rawequal(keys[1], key), ("%s"):format(key))
    try(function() return key .. "" end)
    try(function() return #key end)
    try(function() return key.any end)
    try(function() return key < "a" end)
  end
end

function probes.times()
  for _, time in ipairs({ Request.Time, Request.Bucket.CreationTime, Request.Object.MTime }) do
    write(#time, time:byte(-1) == 0)
  end
end

function probes.metadata()
  local metadata = Request.HTTP.Metadata
  local size = #metadata
  Request.HTTP.Metadata["x-amz-meta-new"] = "1"
  write(#metadata - size, metadata["x-amz-meta-new"])
  metadata["x-amz-meta-foo"] = 7
  write(#metadata - size, metadata["x-amz-meta-foo"])
  try(function() metadata["x-amz-meta-new"] = nil end)
  write(#metadata - size, metadata["x-amz-meta-new"])
  try(function() metadata["x-amz-meta-new"] = ("x"):rep(2000) end)
  write(#(metadata["x-amz-meta-new"] or ""))
  try(function() metadata["x-amz-meta-new"] = "a\0b" end)
  write(metadata["x-amz-meta-new"])
  try(function() metadata["x-amz-meta-new"] = {} end)
end

function probes.erased()
  -- Otherwise an assertion fails on 18, and 16 has no way to erase.
  if not RGW_ABORT_REQUEST then return end
  local metadata = Request.HTTP.Metadata
  for number = 1, 5 do metadata["x-amz-meta-n" .. number] = "v" end
  for key in pairs(metadata) do
    local text = tostring(key)
    if text:find("^x%-amz%-meta%-n") then
      write(text)
      metadata[text] = nil
    end
  end
  write(metadata["x-amz-meta-n1"], metadata["x-amz-meta-n2"], metadata["x-amz-meta-n5"])
end

function probes.grown()
  -- 20 goes on in memory that the assignment has freed.
  if RGW_ABORT_REQUEST then return end
  local metadata, steps = Request.HTTP.Metadata, 0
  for key in pairs(metadata) do
    steps = steps + 1
    if tostring(key) == "x-amz-meta-foo" then
      metadata["a"], metadata["x-amz-meta-z"] = "1", "2"
    end
  end
  write(#metadata - steps)
end

function probes.response()
  local response = Request.Response
  write(response.HTTPStatusCode, response.RGWCode, response.HTTPStatus, response.Message)
  response.message, response.HTTPStatusCode, response.RGWCode = "m", "201", 3.0
  write(Request.Response.Message, Request.Response.HTTPStatusCode, Request.Response.RGWCode)
  try(function() response.RGWCode = "x" end)
  try(function() response.Message = {} end)
end

function probes.storage_class()
  if not RGW then return end
  write(Request.HTTP.StorageClass)
  Request.HTTP.StorageClass = "COLD"
  write(Request.HTTP.StorageClass, Request.Trace.Enable)
end

function probes.globals()
  for _, global in ipairs({ "load", "loadfile", "loadstring", "dofile", "debug", "RGW", "RGW_ABORT_REQUEST", "io",
    "package", "coroutine", "require", "utf8", "arg", "bit32" }) do
    write(global, type(_G[global]))
  end
  write(os.exit, type(os.execute), type(package.loadlib), type(package.loaded.debug), _VERSION, RGW_ABORT_REQUEST)
end

function probes.coroutines()
  write(coroutine.isyieldable(), select(2, coroutine.running()))
  try(coroutine.yield)
  local values = coroutine.wrap(function(first)
    write(coroutine.isyieldable(), select(2, coroutine.running()))
    coroutine.yield(first, Request.RGWOp)
    error("inside")
  end)
  write(values(1))
  try(values)
end

function probes.shared()
  if not RGW then return end
  RGW.number, RGW.text, RGW.float, RGW.flag = 1, "t", 1.5, true
  write(RGW.number, RGW.text, RGW.float, RGW.flag, RGW.none, #RGW)
  RGW.increment("number")
  RGW.Increment("number", 4)
  RGW.decrement("number", 2)
  RGW.increment("float", 1)
  RGW.increment("missing")
  write(RGW.number, RGW.float, RGW.missing)
  try(function() RGW.increment("text") end)
  try(function() RGW.increment("number", "x") end)
  try(function() RGW.increment() end)
  try(function() RGW.increment = 1 end)
  try(function() RGW.t = {} end)
  local keys = {}
  for key, value in pairs(RGW) do keys[#keys + 1] = type(key) .. tostring(key) .. tostring(value) end
  table.sort(keys)
  write(table.concat(keys, " "))
  for _, key in ipairs({ "number", "text", "float", "flag" }) do RGW[key] = nil end
  write(#RGW)
end

function probes.access()
  for _, what in ipairs({ "UserACL", "BucketACL", "ObjectACL" }) do
    local acl = Request[what]
    write(what, acl and name(acl))
    if acl then
      local owner, grants = acl.Owner, acl.Grants
      write(name(owner), owner.DisplayName, who(owner.User), name(grants), #grants)
      for key, grant in pairs(acl.Grants) do
        write(tostring(key), name(grant), grant.Type, who(grant.User), grant.Permission, grant.GroupType, grant.Referer)
      end
      write(type(acl.Grants.tester), acl.Grants.nobody)
    end
  end
  write(Request.Policy, #Request.UserPolicies, Request.UserPolicies[0], Request.CopyFrom, Request.SwiftAccountName)
  local quota = Request.Bucket.Quota
  write(quota.MaxSize, quota.MaxObjects, quota.Enabled, quota.Rounded)
  write(Request.Bucket.PlacementRule.Name, Request.Bucket.PlacementRule.StorageClass)
  for place in pairs(Request.UserPolicies) do write(place) end
end

function probes.log()
  write(type(rawget(Request, "Log")))
  try(RGWDebugLog)
  try(RGWDebugLog, {})
  try(RGWDebugLog, 1)
end

-- Each of these ends the script on 16, whatever pcall there is.
local LAST = {
  unknown = function() return Request.Nope end,
  unknown_below = function() return Request.bucket.Nope end,
  unknown_case = function() return Request.log end,
  unknown_number = function() return Request[1] end,
  written = function() Request.RGWOp = "x" end,
  written_below = function() Request.HTTP.Method = "x" end,
  written_response = function() Request.Response.Nope = "x" end,
  written_bucket = function() Request.Bucket.Name = "x" end,
  written_tag = function() Request.Tags.x = "x" end,
  walked = function() return pairs(Request) end,
  walked_below = function() return pairs(Request.HTTP) end,
  measured = function() return #Request end,
  in_coroutine = function() coroutine.wrap(function() return Request.Nope end)() end,
  in_callback = function() return (("x"):gsub("x", function() return Request.Nope end)) end,
}
for probe, body in pairs(LAST) do
  probes[probe] = function() try(body) end
end

function probes.arguments()
  try(function() return Request[nil] end)
  try(function() return Request[{}] end)
  try(function() return Request.Tags[true] end)
  write(Request.Tags[1], Request.Tags["k1\0x"], Request["RGWOp\0x"])
end

local probe = Request.Object and probes[Request.Object.Name]
if probe then
  out:write(Request.Object.Name, "\n")
  probe()
  out:write("  through\n")
end
out:close()
