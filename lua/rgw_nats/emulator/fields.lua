-- What `Request` has in each release: the kinds of its tables, with their fields. Seen on 16.2.15, 18.2.7 and 20.2.4;
-- read in Ceph's sources for 19.2 (19) and main (21).

---@alias rgw_nats.emulator.Release 16|18|19|20|21

-- While a script runs, globals are what it makes of them.
local type = type
local FIRST, LAST = 16, 21

local function since(first, what) return { what, first, LAST } end
local function up_to(last, what) return { what, FIRST, last } end

-- A field is what it holds: text, time, integer or boolean; a kind, by its capital; an owner, which is a User before
-- 19 and a text from then on; or a map of texts: sorted ("map"), with keys that can repeat ("multimap"), in an order of
-- its own besides ("unordered"), one that scripts can change ("headers"), or one that they cannot walk over ("tags").
local KINDS = {
  Request = {
    RGWOp = "text", Dialect = "text", Id = "text", TransactionId = "text", RGWId = "text", Time = "time",
    DecodedURI = "text", ContentLength = "integer", SwiftAccountName = "text", HTTP = "HTTP", Response = "Response",
    Bucket = "Bucket", Object = "Object", CopyFrom = "CopyFrom", ObjectOwner = "Owner", ZoneGroup = "ZoneGroup",
    GenericAttributes = "map", Tags = "multimap", Environment = "unordered", UserACL = "ACL", BucketACL = "ACL",
    ObjectACL = "ACL", Policy = "Policy", UserPolicies = "Policies", User = since(18, "User"),
    Trace = since(18, "Trace"), Objects = since(21, "Objects"),
  },
  HTTP = {
    Parameters = "map", Resources = "map", Metadata = "headers", Host = "text", Method = "text", URI = "text",
    QueryString = "text", Domain = "text", StorageClass = since(18, "text"),
  },
  Response = { HTTPStatusCode = "integer", RGWCode = "integer", HTTPStatus = "text", Message = "text" },
  Bucket = {
    Tenant = "text", Name = "text", Marker = "text", Id = "text", ZoneGroupId = "text", CreationTime = "time",
    MTime = "time", Count = up_to(18, "integer"), Size = up_to(18, "integer"), Quota = "Quota",
    PlacementRule = "PlacementRule", User = "User", Account = since(19, "text"),
    Tags = since(21, "tags"),
  },
  Quota = { MaxSize = "integer", MaxObjects = "integer", Enabled = "boolean", Rounded = "boolean" },
  PlacementRule = { Name = "text", StorageClass = "text" },
  User = { Tenant = "text", Id = "text" },
  Object = { Name = "text", Instance = "text", Id = "text", Size = "integer", MTime = "time" },
  CopyFrom = { Tenant = "text", Bucket = "text", Object = "Object" },
  Owner = { DisplayName = "text", User = "owner" },
  ZoneGroup = { Name = "text", Endpoint = "text" },
  ACL = { Owner = "Owner", Grants = "Grants" },
  Grant = { Type = "integer", User = "owner", Permission = "integer", GroupType = "integer", Referer = "text" },
  Policy = { Text = "text", Id = "text", Statements = "Statements" },
  Trace = { Enable = "boolean", SetAttribute = "function", AddEvent = "function" },
}

local fields = {
  KINDS = KINDS,
  -- Lists, counted from 0.
  LISTS = { Policies = "Policy", Statements = "text", Objects = "Object" },
  -- Maps: what RGW calls their kind, and what they hold. One that is `optional` is nil instead of empty.
  MAPS = {
    map = { "StringMap", "text" }, multimap = { "StringMap", "text" }, unordered = { "StringMap", "text" },
    headers = { "StringMap", "text" }, Grants = { "Grants", "Grant" },
    tags = { "StringMap", "text", optional = true },
  },
}

--- What a field holds in a release; nil if the release lacks it.
---@param release rgw_nats.emulator.Release
---@param kind string
---@param name string
---@return string?
function fields.type(release, kind, name)
  local field = KINDS[kind][name]
  if type(field) ~= "table" then return field end
  return release >= field[2] and release <= field[3] and field[1] or nil
end

--- The fields of a kind that scripts can assign to; nil if it takes no assignment at all.
---@param release rgw_nats.emulator.Release
---@param kind string
---@param loaded boolean Whether a bucket is loaded.
---@return table<string, true>?
function fields.writable(release, kind, loaded)
  if kind == "Response" then return { HTTPStatusCode = true, RGWCode = true, HTTPStatus = true, Message = true } end
  if release == 16 then return nil end
  if kind == "Bucket" then return { Name = not loaded or nil } end
  return ({ HTTP = { StorageClass = true }, Trace = { Enable = true } })[kind]
end

local by_lower_case = {}
for kind, names in pairs(KINDS) do
  by_lower_case[kind] = {}
  for name in pairs(names) do by_lower_case[kind][name:lower()] = name end
end

--- The name of a field as RGW writes it, however a script does; nil if no release has it.
---@param kind string
---@param name string
---@return string?
function fields.name(kind, name)
  return by_lower_case[kind][name:lower()]
end

return fields
