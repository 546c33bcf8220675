-- The requests of real gateways in spec/captures, as what the emulator takes to make the same.
local helpers = require("helpers")

local captures = {}

local VERSIONS = { ["16.2"] = 16, ["18.2"] = 18, ["20.2"] = 20 }
local MAPS = {
  GenericAttributes = { "GenericAttributes" }, Metadata = { "HTTP", "Metadata" }, Parameters = { "HTTP", "Parameters" },
  Resources = { "HTTP", "Resources" }, Tags = { "Tags" }, Environment = { "Environment" },
}

-- A value as the script wrote it; `false` for nil. Times of 20 lose the NUL that the emulator adds.
local function value_of(text)
  if text == "nil" then return false end
  local number = text:match("^number:(.*)$")
  if number then return math.tointeger(tonumber(number)) end
  return (assert(load("return " .. text))():gsub("\0$", ""))
end

-- Two values with something between them.
local function two(text, between)
  local first, second = text:match('^(".-")' .. between .. '(".*")$')
  return value_of(first), value_of(second)
end

local function set(given, path, value)
  for place = 1, #path - 1 do
    given[path[place]] = given[path[place]] or {}
    given = given[path[place]]
  end
  given[path[#path]] = value
end

local function user(text)
  if not text:find("/", 1, true) then return value_of(text) end
  local tenant, id = two(text, "/")
  return { Tenant = tenant, Id = id }
end

-- Takes one line of a capture over into the request.
local function read(given, line)
  local map, key, value = line:match("^    (%w+)%[.-<(.*)>%]=(.*)$")
  if map then
    local list = given
    for _, name in ipairs(MAPS[map]) do list = list[name] end
    table.insert(list, { key, value_of(value) })
    return
  end
  local name, text = line:match("^  (#?[%w.]+)=(.*)$")
  if name:sub(1, 1) == "#" then
    set(given, MAPS[name:sub(2)], text ~= "0" and {})
  elseif name == "Bucket.Count" then
    given.Bucket.Count, given.Bucket.Size = text:match("number:(%d+) Size=number:(%d+)")
    given.Bucket.Count = math.tointeger(tonumber(given.Bucket.Count))
    given.Bucket.Size = math.tointeger(tonumber(given.Bucket.Size))
  elseif name == "ZoneGroup" then
    given.ZoneGroup = {}
    given.ZoneGroup.Name, given.ZoneGroup.Endpoint = two(text, " ")
  elseif name == "CopyFrom" then
    given.CopyFrom = {}
    given.CopyFrom.Tenant, given.CopyFrom.Bucket = two(text, " ")
  elseif name:find("User$") then
    local path = {}
    for part in name:gmatch("[^.]+") do table.insert(path, part) end
    set(given, path, user(text))
  else
    local path = {}
    for part in name:gmatch("[^.]+") do table.insert(path, part) end
    set(given, path, value_of(text))
  end
end

---All requests of a release, in their order: `lines`, as the script wrote them, `operation`, and `given`, all fields.
function captures.read(release)
  local path = ("spec/captures/request-fields-%d.txt"):format(VERSIONS[release])
  local requests = {}
  for line in assert(helpers.read(path), path):gmatch("[^\n]+") do
    local op, method, uri, query = line:match('^=== op=(".-") method=(".-") uri=(".-") qs=(".*")$')
    if op then
      local given = { HTTP = { Method = value_of(method), URI = value_of(uri), QueryString = value_of(query) } }
      table.insert(requests, { operation = value_of(op), given = given, lines = { line } })
    elseif not line:find("^  path=") then
      -- Where radosgw looks for modules is not the request's.
      local request = requests[#requests]
      table.insert(request.lines, line)
      read(request.given, line)
    end
  end
  for _, request in ipairs(requests) do
    -- One that is not loaded has a name besides, from the URL.
    local bucket = request.given.Bucket
    if bucket and not bucket.Id then request.given.Bucket = false end
  end
  return requests
end

---The records of RGW's own notifications of a release, as text each.
function captures.records(release)
  local path = ("spec/captures/native-records-%d.json"):format(VERSIONS[release])
  local records = {}
  for line in assert(helpers.read(path), path):gmatch("[^\n]+") do table.insert(records, line) end
  return records
end

---The lines that the script of the captures writes of a request in a gateway of the emulator.
function captures.dump(gateway, request)
  local path = os.tmpname()
  local script = assert(helpers.read("spec/captures/dump-request.lua.in"), "run the specs with scripts/run-specs.sh")
  script = script:gsub("@VER@", VERSIONS[gateway.release]):gsub("@OUT@", path)
  local ok, problem = gateway:run(script, request)
  local lines = {}
  for line in helpers.read(path):gmatch("[^\n]+") do
    if not line:find("^  path=") then table.insert(lines, line) end
  end
  os.remove(path)
  return lines, not ok and problem or nil
end

return captures
