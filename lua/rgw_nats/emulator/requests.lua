-- The request of each operation, as captures of real ones show it after the operation is through.
local merge = require("rgw_nats.emulator.merge")

local EPOCH = "1970-01-01 00:00:00"
-- When everything happens. Now is SECONDS after the epoch; clients sign CLOCK.
local CREATED, NOW = "2026-11-22 07:09:52", "2026-11-22 07:09:54"
local SECONDS, CLOCK, MOMENT = 1795331394, "20261122T070954Z", "2026-11-22T07:09:54.450557123Z"
local ZONE, ZONE_GROUP = "a164264a-7680-4efe-9372-8c53f1f5dbca", "07d7e514-b9d2-4c97-8bdb-5aea18e95229"
local UPLOAD = "2~9uoGRNVS4IqGa79OyYb9xOKh-C8VkYJ"
local OWNER, SIZE = "tester", 11

-- `key` says whether there is an object, `body` whether boto3 sends a checksum along, `length` what ContentLength is
-- where it is not the size, and `shown` which size Object has: that of the "body", that of the object as it is
-- ("stored", with its MTime; not on 16 if it is "removed"), or 0.
local OPERATIONS = {
  put_obj = { method = "PUT", key = true, body = true, shown = "body" },
  upload_part = {
    RGWOp = "put_obj", method = "PUT", key = true, body = true, shown = "body",
    parameters = { { "uploadId", UPLOAD }, { "partNumber", "1" } },
  },
  post_obj = { method = "POST", key = true, shown = "body", status = "NoContent", length = 1016 },
  copy_obj = { method = "PUT", key = true, length = 0 },
  init_multipart = { method = "POST", key = true, length = 0, parameters = { { "uploads", "" } } },
  complete_multipart = { method = "POST", key = true, length = 271, parameters = { { "uploadId", UPLOAD } } },
  abort_multipart = {
    method = "DELETE", key = true, status = "NoContent", length = 0, parameters = { { "uploadId", UPLOAD } },
  },
  delete_obj = { method = "DELETE", key = true, shown = "removed", status = "NoContent", length = 0 },
  put_obj_tags = {
    method = "PUT", key = true, body = true, shown = "stored", length = 124, parameters = { { "tagging", "" } },
  },
  put_acls = {
    method = "PUT", key = true, body = true, shown = "stored", length = 0, parameters = { { "acl", "" } },
  },
  get_obj = { method = "GET", key = true, shown = "body", length = 0 },
  list_bucket = { method = "GET", length = 0 },
  list_buckets = { method = "GET", length = 0, service = true },
  create_bucket = { method = "PUT", length = 0 },
  set_bucket_versioning = { method = "PUT", body = true, length = 123, parameters = { { "versioning", "" } } },
  multi_object_delete = { method = "POST", body = true, length = 128, parameters = { { "delete", "" } } },
}

-- HTTPStatus with its HTTPStatusCode and RGWCode.
local STATUSES = {
  [""] = { 200, 0 }, NoContent = { 204, -1902 }, BadDigest = { 400, -2005 }, AccessDenied = { 403, -13 },
  SignatureDoesNotMatch = { 403, -2027 }, NoSuchBucket = { 404, -2002 }, NoSuchKey = { 404, -2 },
}
local BY_CODE = { [200] = "", [204] = "NoContent", [400] = "BadDigest", [403] = "AccessDenied" }

-- Which of the parameters are resources too.
local RESOURCES = {}
for name in ("acl delete partNumber tagging uploadId uploads versionId versioning versions"):gmatch("%a+") do
  RESOURCES[name] = true
end

local requests = {}

local function encoded(text)
  return (text:gsub("[^%w%-_.~/]", function(byte) return ("%%%02X"):format(byte:byte()) end))
end

-- Pairs as in a URL or in x-amz-tagging.
local function joined(data)
  local texts = {}
  for place, pair in ipairs(data) do
    local key, value = encoded(pair[1]), encoded(pair[2])
    texts[place] = value == "" and key or key .. "=" .. value
  end
  return table.concat(texts, "&")
end

--- The value of the first pair with a key.
---@param data [string, any][]
---@param key string
---@return any
function requests.value_of(data, key)
  for _, pair in ipairs(data) do
    if pair[1] == key then return pair[2] end
  end
end

local value_of = requests.value_of

-- The captures' users are called as they are, with a capital.
local function display_name(user)
  if user == "anonymous" then return "" end
  return (user:gsub("^%l", string.upper))
end

--- An object as scripts see it.
---@param name string
---@param version string
---@param size? integer
---@param time? string
---@return table
function requests.object(name, version, size, time)
  local id = version == "" and name or ("_:%s_%s"):format(version, name)
  return { Name = name, Instance = version, Id = id, Size = size or 0, MTime = time or EPOCH }
end
local object = requests.object

-- What is known of a request before its tables are made: what is given, and what follows from it.
local function facts(release, operation, given)
  local kind = OPERATIONS[operation]
  local function of(name, field)
    local value = given[name]
    if not field then return value end
    return type(value) == "table" and value[field] or nil
  end
  local fact = { release = release, operation = operation, kind = kind, of = of }
  local http = given.HTTP or {}
  fact.method = of("HTTP", "Method") or kind.method
  fact.parameters = merge.map(release, "map", kind.parameters, http.Parameters, "Request.HTTP.Parameters")
  fact.tags = merge.map(release, "multimap", nil, of("Tags"), "Request.Tags")
  local code = of("Response", "HTTPStatusCode")
  local missing = operation == "get_obj" and "NoSuchKey" or "NoSuchBucket"
  local by_code = code and (code == 404 and missing or BY_CODE[code] or "")
  fact.status = of("Response", "HTTPStatus") or by_code or kind.status or ""
  fact.code = code or (STATUSES[fact.status] or STATUSES[""])[1]
  fact.known = fact.status ~= "SignatureDoesNotMatch"
  fact.found = fact.known and fact.status ~= "NoSuchBucket"
  -- From 19 on there is a bucket, without anything in it, where there is none of that name.
  local loaded = fact.known and not kind.service and (fact.found or release >= 19)
  fact.loaded = given.Bucket ~= false and (loaded or of("Bucket", "Id") ~= nil)
  fact.in_bucket = fact.found and fact.loaded and operation ~= "create_bucket"
  local path = of("HTTP", "URI")
  fact.bucket = of("Bucket", "Name") or path and path:match("^/([^/]*)") or (kind.service and "" or "photos")
  fact.key = kind.key and (of("Object", "Name") or "2026/a.jpg")
  fact.version = of("Object", "Instance") or value_of(fact.parameters, "versionId") or ""
  if operation == "delete_obj" and fact.version ~= "" and http.Parameters == nil then
    fact.parameters = { { "versionId", fact.version } }
  end
  fact.size = of("Object", "Size") or of("ContentLength") or SIZE
  local owner = of("ObjectOwner", "User") or of("User") or OWNER
  fact.owner = merge.value(18, "owner", nil, owner, "Request.ObjectOwner.User")
  if not fact.known then fact.owner = { Tenant = "", Id = "" } end
  return fact
end

local function object_of(fact)
  if not fact.key then return nil end
  local shown, failed = fact.kind.shown, fact.code >= 400
  local size, time = 0, EPOCH
  if failed then
    -- The size is there as soon as the body was read.
    if fact.status == "BadDigest" then size = fact.size end
  elseif shown == "body" then
    size = fact.size
  elseif shown == "stored" or (shown == "removed" and fact.release > 16 and fact.size > 0) then
    size, time = fact.size, NOW
  end
  return object(fact.key, fact.version, size, time)
end

local function bucket_of(fact)
  local release, empty = fact.release, not fact.found
  -- Otherwise there is the name in the URL.
  if not fact.loaded then return release > 16 and { Name = fact.bucket } or nil end
  local id = empty and "" or ("%s.%d.1"):format(ZONE, release >= 19 and 4113 or 4112)
  local account = fact.of("Bucket", "Account")
  return {
    Tenant = "", Name = fact.bucket, Marker = id, Id = id, ZoneGroupId = empty and "" or ZONE_GROUP,
    CreationTime = empty and EPOCH or CREATED,
    MTime = (empty or fact.operation == "create_bucket") and EPOCH or NOW,
    Count = release < 19 and 0 or nil, Size = release < 19 and 0 or nil,
    Quota = { MaxSize = -1, MaxObjects = -1, Enabled = false, Rounded = true },
    PlacementRule = { Name = empty and "" or "default-placement", StorageClass = "" },
    User = not account and { Tenant = "", Id = empty and "" or OWNER } or nil,
  }
end

--- An access control list that gives its owner everything; one of nobody is empty.
---@param release rgw_nats.emulator.Release
---@param owner string
---@param name string
---@return table
function requests.acl(release, owner, name)
  local shown = merge.value(release, "owner", nil, owner, "Request.ACL.Owner.User")
  local grant = { Type = 0, User = shown, Permission = 15 }
  if release < 19 then grant.GroupType, grant.Referer = 0, "" end
  return { Owner = { DisplayName = name, User = shown }, Grants = owner ~= "" and { { owner, grant } } or {} }
end

local function add_acls(request, fact)
  local release, shown = fact.release, fact.kind.shown
  local function nobodys() return requests.acl(release, "", "") end
  local function owned() return requests.acl(release, OWNER, display_name(OWNER)) end
  -- What was not loaded is nil before 19.
  if release >= 19 then request.UserACL, request.BucketACL, request.ObjectACL = nobodys(), nobodys(), nobodys() end
  if not fact.known or fact.operation == "create_bucket" then return end
  request.BucketACL = fact.in_bucket and owned() or nobodys()
  if fact.found and (shown == "stored" or fact.operation == "get_obj") then
    request.ObjectACL = fact.status ~= "NoSuchKey" and owned() or nobodys()
  end
end

local function headers_of(fact)
  -- Neither a form nor an unsigned request has any.
  if fact.operation == "post_obj" or fact.owner.Id == "anonymous" then return {} end
  local headers = { { "x-amz-content-sha256", ("0"):rep(64) }, { "x-amz-date", CLOCK } }
  local function add(name, value) table.insert(headers, { name, value }) end
  if fact.kind.body then
    add("x-amz-checksum-crc32", "AAAAAA==")
    add("x-amz-sdk-checksum-algorithm", "CRC32")
  end
  if fact.operation == "put_acls" then add("x-amz-acl", "private") end
  if fact.operation == "get_obj" and fact.method == "GET" then add("x-amz-checksum-mode", "ENABLED") end
  if fact.source then add("x-amz-copy-source", fact.source) end
  if #fact.tags > 0 and (fact.operation == "put_obj" or fact.operation == "init_multipart") then
    add("x-amz-tagging", joined(fact.tags))
  end
  return headers
end

local function environment_of(fact)
  if not fact.found then return {} end
  local environment = {}
  local function add(name, value) table.insert(environment, { name, value }) end
  local rgw_op = fact.kind.RGWOp or fact.operation
  if rgw_op == "put_acls" then
    add("s3:x-amz-acl", "private")
    for _, pair in ipairs(fact.tags) do
      add("s3:ResourceTag/" .. pair[1], pair[2])
      add("s3:ExistingObjectTag/" .. pair[1], pair[2])
    end
  end
  if rgw_op == "list_bucket" then
    add("s3:max-keys", "1000")
    add("s3:prefix", value_of(fact.parameters, "prefix") or "")
  end
  if fact.release >= 19 then
    if rgw_op == "put_obj" then
      add("s3:x-amz-acl", "")
      for _, pair in ipairs(fact.tags) do add("s3:RequestObjectTag/" .. pair[1], pair[2]) end
    end
    if fact.source then add("s3:x-amz-copy-source", fact.source) end
    if fact.status == "NoSuchKey" then add("s3:prefix", fact.key) end
    add("rgw:subuser", "")
  end
  add("sts:authentication", "false")
  add("aws:username", fact.operation == "post_obj" and "anonymous" or fact.owner.Id)
  add("aws:UserAgent", "Boto3/1.43.11")
  add("aws:SourceIp", "127.0.0.1")
  add("aws:PrincipalType", "User")
  add("aws:EpochTime", MOMENT)
  add("aws:CurrentTime", tostring(SECONDS))
  return environment
end

local function http_of(fact)
  local path = "/" .. fact.bucket
  if fact.key and fact.operation ~= "post_obj" then path = path .. "/" .. fact.key end
  local resources = {}
  for _, pair in ipairs(fact.parameters) do
    if RESOURCES[pair[1]] then table.insert(resources, { pair[1], pair[2] }) end
  end
  return {
    Host = "127.0.0.1", Domain = "", Method = fact.method, URI = encoded(path), QueryString = joined(fact.parameters),
    Parameters = fact.parameters, Resources = resources,
    Metadata = merge.map(fact.release, "headers", headers_of(fact), nil, "Request.HTTP.Metadata"),
    StorageClass = fact.release > 16 and "" or nil,
  }, path
end

--- The operations that there are.
---@return string[]
function requests.operations()
  local names = {}
  for name in pairs(OPERATIONS) do table.insert(names, name) end
  table.sort(names)
  return names
end

--- Makes a request. `number` tells it from the others of its gateway.
---@param release rgw_nats.emulator.Release
---@param number integer
---@param operation string
---@param given table
---@return table
function requests.make(release, number, operation, given)
  if not OPERATIONS[operation] then
    local known = table.concat(requests.operations(), ", ")
    error(("no operation %s; there are %s"):format(tostring(operation), known), 0)
  end
  local fact = facts(release, operation, given)
  local instance = release >= 19 and "4113" or "100e"
  local request = {
    RGWOp = fact.kind.RGWOp or operation, Dialect = "s3", Time = NOW, RGWId = instance .. "-default-default",
    Id = ("%s.%d.%d"):format(ZONE, release >= 19 and 4113 or 4110, number),
    TransactionId = ("tx%021x-%010x-%s-default"):format(number, SECONDS, instance),
    ContentLength = fact.kind.length or fact.size, GenericAttributes = {}, Tags = fact.tags, UserPolicies = {},
    Object = object_of(fact), Bucket = bucket_of(fact),
    ZoneGroup = { Name = fact.in_bucket and "default" or "", Endpoint = "" },
    ObjectOwner = { DisplayName = display_name(fact.owner.Id) },
  }
  request.ObjectOwner.User = merge.value(release, "owner", nil, fact.owner, "Request.ObjectOwner.User")
  if release > 16 then
    request.User, request.Trace = fact.owner, { Enable = false }
  end
  if operation == "copy_obj" then
    local source = merge.value(release, "CopyFrom", {
      Tenant = "", Bucket = fact.bucket, Object = object("2026/source.jpg", "", SIZE, NOW),
    }, given.CopyFrom, "Request.CopyFrom")
    source.Object.Id = object(source.Object.Name, source.Object.Instance).Id
    request.CopyFrom, fact.source = source, source.Bucket .. "/" .. encoded(source.Object.Name)
  end
  if operation == "post_obj" then
    request.GenericAttributes = { { "user.rgw.content_type", "multipart/form-data; boundary=b" } }
  end
  request.HTTP, request.DecodedURI = http_of(fact)
  request.Environment = environment_of(fact)
  local status = STATUSES[fact.status] or { fact.code, 0 }
  request.Response = { HTTPStatusCode = fact.code, RGWCode = status[2], HTTPStatus = fact.status, Message = "" }
  add_acls(request, fact)
  local over = {}
  for name, value in pairs(given) do over[name] = value end
  if not fact.loaded then over.Bucket = nil end
  if operation == "multi_object_delete" and over.Objects == nil then
    over.Objects = { { Name = "2026/a.jpg" }, { Name = "2026/b.jpg" } }
  end
  request = merge.value(release, "Request", request, over, "Request")
  for place, one in ipairs(request.Objects or {}) do
    if not one.Name then error(("Request.Objects[%d] has no Name"):format(place - 1), 0) end
    local size = one.Size or SIZE
    request.Objects[place] = object(one.Name, one.Instance or "", size, one.MTime or size > 0 and NOW or EPOCH)
  end
  return request
end

return requests
