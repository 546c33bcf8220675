-- Laying what a test gives of a request over what the request has by itself.
local fields = require("rgw_nats.emulator.fields")

local TYPES = { text = "string", time = "string", integer = "integer", boolean = "boolean" }
-- The maps that have each key once.
local UNIQUE = { map = true, headers = true, tags = true }

local merge = {}

local function wrong(path, wanted, given)
  error(("%s must be %s, got %s"):format(path, wanted, math.type(given) or type(given)), 0)
end

-- Sorts pairs by their keys, those of one key in the order that they had.
local function sort(data)
  local places = {}
  for place, pair in ipairs(data) do places[pair] = place end
  table.sort(data, function(one, other)
    if one[1] == other[1] then return places[one] < places[other] end
    return one[1] < other[1]
  end)
end

-- Gives a key a value, in place of the one it has.
local function set(data, key, value)
  for _, pair in ipairs(data) do
    if pair[1] == key then
      pair[2] = value
      return
    end
  end
  table.insert(data, { key, value })
end

--- A map as pairs in RGW's order. A table of keys and values adds to what is there; a list of pairs takes its place,
--- and can have a key twice where RGW's map can; `false` is an empty one.
---@param release rgw_nats.emulator.Release
---@param what string
---@param default? [string, any][]
---@param given? table|false
---@param path string
---@return [string, any][]
function merge.map(release, what, default, given, path)
  local held = fields.MAPS[what][2]
  local data = {}
  if given == false then return data end
  local function add(key, value, over)
    if type(key) ~= "string" then wrong(path, "a table of strings or a list of pairs of them", key) end
    value = merge.value(release, held, nil, value, ("%s[%q]"):format(path, key))
    if over then set(data, key, value) else table.insert(data, { key, value }) end
  end
  local replaced = given and given[1] ~= nil
  if not replaced then
    for _, pair in ipairs(default or {}) do table.insert(data, { pair[1], pair[2] }) end
  end
  if replaced then
    for _, pair in ipairs(given) do
      if type(pair) ~= "table" then wrong(path, "a list of pairs", pair) end
      add(pair[1], pair[2], UNIQUE[what])
    end
  else
    for key, value in pairs(given or {}) do add(key, value, true) end
  end
  if what ~= "unordered" then sort(data) end
  return data
end

-- Who owns something: `tenant$id` or a table with both, as this release has it.
local function owner(release, default, given, path)
  if release >= 19 then
    if type(given) ~= "table" then return merge.value(release, "text", default, given, path) end
    local user = merge.value(release, "User", { Tenant = "", Id = "" }, given, path)
    return user.Tenant == "" and user.Id or user.Tenant .. "$" .. user.Id
  end
  if type(given) == "string" then
    local tenant, id = given:match("^(.-)%$(.*)$")
    given = { Tenant = tenant or "", Id = id or given }
  end
  return merge.value(release, "User", default or { Tenant = "", Id = "" }, given, path)
end

local function list(release, held, given, path)
  local data = {}
  for place, value in ipairs(given) do
    data[place] = merge.value(release, held, nil, value, ("%s[%d]"):format(path, place - 1))
  end
  return data
end

local function record(release, kind, default, given, path)
  local data = {}
  for name, value in pairs(default or {}) do data[name] = value end
  for name, value in pairs(given) do
    local known = fields.KINDS[kind][name]
    if not known then error(("%s has no field %s in any release"):format(path, tostring(name)), 0) end
    local what = fields.type(release, kind, name)
    if what then data[name] = merge.value(release, what, data[name], value, path .. "." .. name) end
  end
  return data
end

--- A value of a request. `false` is for what is not there; what only other releases have is left out.
---@param release rgw_nats.emulator.Release
---@param what string
---@param default any
---@param given any
---@param path string
---@return any
function merge.value(release, what, default, given, path)
  if given == nil then return default end
  local map = fields.MAPS[what]
  if given == false and map and not map.optional then return {} end
  if given == false and what ~= "boolean" then return nil end
  if what == "owner" then return owner(release, default, given, path) end
  local plain = TYPES[what]
  if plain then
    if (math.type(given) or type(given)) ~= plain then wrong(path, "of the type " .. plain, given) end
    return given
  end
  if type(given) ~= "table" then wrong(path, "a table", given) end
  if fields.KINDS[what] then return record(release, what, default, given, path) end
  if map then return merge.map(release, what, default, given, path) end
  if fields.LISTS[what] then return list(release, fields.LISTS[what], given, path) end
  error(path .. " can't be given", 0)
end

return merge
