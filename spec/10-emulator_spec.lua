-- The emulator's requests against those of real gateways, and how a test asks for others.
local captures = require("captures")
local emulator = require("rgw_nats.emulator")

local RELEASES = { "16.2", "18.2", "20.2" }

for _, release in ipairs(RELEASES) do
  describe("the emulator, as " .. release .. ",", function()
    local requests = captures.read(release)

    it("has 35 captures to be held against", function() assert.equal(35, #requests) end)

    for number, captured in ipairs(requests) do
      it(("shows request %d, %s, as a gateway does"):format(number, captured.operation), function()
        local gateway = emulator.new(release)
        local lines, problem = captures.dump(gateway, gateway:request(captured.operation, captured.given))
        assert.is_nil(problem)
        assert.same(captured.lines, lines)
        assert.same({}, gateway.hazards)
      end)
    end
  end)
end

-- What is one request's own, in a line of a dump; the rest is what the operation has of itself.
local VARYING = { "Id", "TransactionId", "RGWId", "Time", "Marker", "ZoneGroupId", "CreationTime", "MTime" }
local VARYING_KEYS = {
  "x%-amz%-content%-sha256", "x%-amz%-date", "x%-amz%-checksum%-crc32", "aws:UserAgent", "aws:EpochTime",
  "aws:CurrentTime", "user%.rgw%.content_type",
}

local function masked(lines)
  local all, environment = {}, {}
  for _, line in ipairs(lines) do
    local object = line:find("^  Object%.Id") or line:find("^  CopyFrom%.Object%.Id")
    for _, name in ipairs(VARYING) do
      local held = line:match("^  [%w.]-%f[%w]" .. name .. "=(.*)$")
      local some = held and held:find("%d") and not held:find("1970-01-01", 1, true)
      if some and not object then line = line:gsub("=.*$", "=*") end
    end
    for _, key in ipairs(VARYING_KEYS) do
      if line:find("<" .. key .. ">") then line = line:gsub("=\".*$", "=*") end
    end
    -- This map has no order.
    table.insert(line:find("^    Environment%[") and environment or all, line)
  end
  table.sort(environment)
  return table.concat(all, "\n") .. "\n" .. table.concat(environment, "\n")
end

-- What a test would give to get the captured request: what the client sent and the result, without what follows of it.
local function told(captured)
  local given, http = captured.given, captured.given.HTTP
  local facts = {
    HTTP = { Method = http.Method, QueryString = http.QueryString, Parameters = http.Parameters, Metadata = {} },
    Bucket = { Name = http.URI:match("^/([^/]*)"), MTime = given.Bucket and given.Bucket.MTime or nil },
    ContentLength = given.ContentLength,
    Response = { HTTPStatus = given.Response.HTTPStatus }, ObjectOwner = { User = given.ObjectOwner.User },
    Tags = given.Tags, GenericAttributes = given.GenericAttributes,
  }
  for _, pair in ipairs(http.Metadata or {}) do
    local sent = pair[1]:find("^x%-amz%-meta%-") or pair[1] == "x-amz-tagging" or pair[1] == "x-amz-copy-source"
    if sent then facts.HTTP.Metadata[pair[1]] = pair[2] end
  end
  if given.Object then
    facts.Object = { Name = given.Object.Name, Instance = given.Object.Instance, Size = given.Object.Size }
  end
  if given.CopyFrom then
    local source = given.CopyFrom.Object
    facts.CopyFrom = { Bucket = given.CopyFrom.Bucket, Object = { Name = source.Name, Size = source.Size } }
  end
  return facts
end

describe("a request", function()
  for _, release in ipairs(RELEASES) do
    for number, captured in ipairs(captures.read(release)) do
      it(("has by itself what request %d, %s, of %s has"):format(number, captured.operation, release), function()
        local gateway = emulator.new(release)
        local lines, problem = captures.dump(gateway, gateway:request(captured.operation, told(captured)))
        assert.is_nil(problem)
        assert.equal(masked(captured.lines), masked(lines))
      end)
    end
  end
end)

describe("gateway:request()", function()
  local gateway = emulator.new("18.2")

  it("makes one of each operation, each with an id of its own", function()
    local ids = {}
    for _, operation in ipairs({
      "put_obj", "upload_part", "post_obj", "copy_obj", "init_multipart", "complete_multipart", "abort_multipart",
      "delete_obj", "put_obj_tags", "put_acls", "get_obj", "list_bucket", "list_buckets", "create_bucket",
      "set_bucket_versioning", "multi_object_delete",
    }) do
      local request = gateway:request(operation)
      assert.equal(operation == "upload_part" and "put_obj" or operation, request.RGWOp)
      assert.is_nil(ids[request.Id])
      ids[request.Id] = true
    end
  end)

  it("takes fields instead of its own, and what follows of them", function()
    local request = gateway:request("put_obj", {
      Bucket = { Name = "album", Tenant = "acme" }, Object = { Name = "a b/é.jpg", Size = 7, Instance = "v" },
      ObjectOwner = { User = "acme$eve" },
    })
    assert.equal("/album/a%20b/%C3%A9.jpg", request.HTTP.URI)
    assert.equal("/album/a b/é.jpg", request.DecodedURI)
    assert.equal("_:v_a b/é.jpg", request.Object.Id)
    assert.equal(7, request.ContentLength)
    assert.same({ Tenant = "acme", Id = "eve" }, request.User)
    assert.same({ Tenant = "acme", Id = "eve" }, request.ObjectOwner.User)
    assert.equal("acme", request.Bucket.Tenant)
    assert.equal("2026-11-22 07:09:52", request.Bucket.CreationTime)
  end)

  it("takes a map as a table, which adds to it, or as a list, which takes its place", function()
    local function map(what, given)
      local keys = {}
      local request = gateway:request("put_obj", given)
      for _, pair in ipairs(request[what]) do table.insert(keys, pair[1] .. "=" .. pair[2]) end
      return table.concat(keys, " ")
    end
    assert.equal("a=1 b=2", map("Tags", { Tags = { b = "2", a = "1" } }))
    assert.equal("a=2 a=1 b=3", map("Tags", { Tags = { { "b", "3" }, { "a", "2" }, { "a", "1" } } }))
    assert.equal("", map("Tags", { Tags = false }))
    local headers = gateway:request("put_obj", { HTTP = { Metadata = { ["x-amz-meta-a"] = "1" } } }).HTTP.Metadata
    assert.equal(5, #headers)
    headers = gateway:request("put_obj", { HTTP = { Metadata = { { "x-amz-meta-a", "1" }, { "x-amz-meta-a", "2" } } } })
    assert.same({ { "x-amz-meta-a", "2" } }, headers.HTTP.Metadata)
    assert.same({}, gateway:request("put_obj", { HTTP = { Metadata = false } }).HTTP.Metadata)
  end)

  it("sends tags along, as a client does, and has the headers in RGW's order", function()
    local request = gateway:request("put_obj", { Tags = { { "a b", "1" }, { "c", "=" } } })
    assert.same({ "x-amz-tagging", "a%20b=1&c=%3D" }, request.HTTP.Metadata[5])
    local last = ""
    for _, pair in ipairs(request.HTTP.Metadata) do
      assert.is_true(last < pair[1])
      last = pair[1]
    end
  end)

  it("has the size that the release shows", function()
    local sizes = {
      put_obj = { 11, 11, 11 }, upload_part = { 11, 11, 11 }, post_obj = { 11, 11, 11 }, copy_obj = { 0, 0, 0 },
      complete_multipart = { 0, 0, 0 }, delete_obj = { 0, 11, 11 }, put_obj_tags = { 11, 11, 11 },
    }
    for place, release in ipairs(RELEASES) do
      for operation, size in pairs(sizes) do
        assert.equal(size[place], emulator.new(release):request(operation).Object.Size)
      end
      local copy = emulator.new(release):request("copy_obj", { CopyFrom = { Object = { Name = "a b", Size = 7 } } })
      assert.equal(7, copy.CopyFrom.Object.Size)
      assert.equal("a b", copy.CopyFrom.Object.Id)
      assert.same({ "x-amz-copy-source", "photos/a%20b" }, copy.HTTP.Metadata[2])
    end
  end)

  it("fails by status", function()
    for status, wanted in pairs({
      [400] = "BadDigest -2005", [403] = "AccessDenied -13", [404] = "NoSuchBucket -2002",
    }) do
      local response = gateway:request("put_obj", { Response = { HTTPStatusCode = status } }).Response
      assert.equal(wanted, response.HTTPStatus .. " " .. response.RGWCode)
    end
    local missing = gateway:request("get_obj", { Response = { HTTPStatusCode = 404 } })
    assert.equal("NoSuchKey", missing.Response.HTTPStatus)
    local stranger = gateway:request("put_obj", { Response = { HTTPStatus = "SignatureDoesNotMatch" } })
    assert.equal(403, stranger.Response.HTTPStatusCode)
    assert.same({ Name = "photos" }, stranger.Bucket)
    assert.same({}, stranger.Environment)
    assert.equal("", stranger.User.Id)
    local given = { HTTPStatusCode = 503, HTTPStatus = "SlowDown", RGWCode = -1, Message = "m" }
    assert.same(given, gateway:request("put_obj", { Response = given }).Response)
  end)

  it("leaves out what only other releases have, and has owners in the form of its own", function()
    local given = {
      User = { Id = "eve" }, ObjectOwner = { User = { Tenant = "acme", Id = "eve" } },
      Bucket = { Account = "RGW1", Count = 1 }, HTTP = { StorageClass = "COLD" },
    }
    local pacific = emulator.new("16.2"):request("put_obj", given)
    assert.is_nil(pacific.User)
    assert.is_nil(pacific.HTTP.StorageClass)
    assert.is_nil(pacific.Bucket.Account)
    assert.equal(1, pacific.Bucket.Count)
    local tentacle = emulator.new("20.2"):request("put_obj", given)
    assert.equal("acme$eve", tentacle.ObjectOwner.User)
    assert.equal("RGW1", tentacle.Bucket.Account)
    assert.is_nil(tentacle.Bucket.User)
    assert.is_nil(tentacle.Bucket.Count)
  end)

  it("refuses what no request can be", function()
    for part, given in pairs({
      ["Request.Bucket has no field Nmae in any release"] = { Bucket = { Nmae = "x" } },
      ["Request has no field object in any release"] = { object = {} },
      ["Request.Object.Size must be of the type integer, got float"] = { Object = { Size = 1.5 } },
      ["Request.Object.Name must be of the type string, got integer"] = { Object = { Name = 1 } },
      ["Request.Tags[\"a\"] must be of the type string, got integer"] = { Tags = { a = 1 } },
      ["Request.Tags must be a list of pairs, got string"] = { Tags = { "a" } },
      ["Request.HTTP must be a table, got string"] = { HTTP = "PUT" },
    }) do
      local ok, problem = pcall(gateway.request, gateway, "put_obj", given)
      assert.is_false(ok)
      assert.matches(part, problem, 1, true)
    end
    assert.has_error(function() gateway:request("delete_bucket") end)
    assert.has_error(function() emulator.new("17.2") end)
  end)
end)
