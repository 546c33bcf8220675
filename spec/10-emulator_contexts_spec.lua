-- The contexts of scripts in the emulator: what each shows, what becomes of the response, and what aborts a request.
-- e2e/test_emulator.py asks the real gateways for what is of 16.2, 18.2 and 20.2.
local captures = require("captures")
local emulator = require("rgw_nats.emulator")

local RELEASES = { "16.2", "18.2", "19.2", "20.2", "main" }
local WRITE = [[
  local response = Request.Response
  response.HTTPStatusCode, response.RGWCode, response.HTTPStatus, response.Message = 503, -7, "Own", "own"
]]

-- Runs a script that comes to its end, and returns what it has logged, in one text.
local function logged(gateway, script, request, context)
  gateway.log = {}
  assert.same({ true }, { gateway:run(script, request, context) })
  return table.concat(gateway.log, " ")
end

local SHOW = [[
  local bucket, object, owner = Request.Bucket, Request.Object, Request.ObjectOwner.User
  local function show(value) RGWDebugLog(tostring(value)) end
  show(Request.Response.HTTPStatusCode)
  show(bucket and (bucket.Id and "loaded" or bucket.Name))
  show(object and object.Name .. object.Instance .. object.Size)
  show("'" .. (type(owner) == "table" and owner.Id or owner) .. "'")
  show(#Request.Tags)
  show(#Request.Environment > 0)
]]

-- What a script shows of a response.
local RESPONSE = [[
  local response = Request.Response
  RGWDebugLog(("%d %d %s %s"):format(response.HTTPStatusCode, response.RGWCode, response.HTTPStatus, response.Message))
]]

describe("a preRequest script", function()
  it("sees no result, no bucket, no environment, and before 20.2 nobody", function()
    local wanted = {
      ["16.2"] = "200 nil 2026/a.jpg0 '' 0 false", ["18.2"] = "200 photos 2026/a.jpg0 '' 0 false",
      ["19.2"] = "200 photos 2026/a.jpg0 '' 0 false", ["20.2"] = "200 photos 2026/a.jpg0 'tester' 0 false",
      main = "200 photos 2026/a.jpg0 'tester' 0 false",
    }
    for _, release in ipairs(RELEASES) do
      local gateway = emulator.new(release)
      local request = gateway:request("put_obj", {
        Response = { HTTPStatusCode = 403 }, Tags = { a = "1" }, Object = { Instance = "made" },
      })
      assert.equal(wanted[release], logged(gateway, SHOW, request, "preRequest"))
      assert.equal(403, request.Response.HTTPStatusCode)
    end
  end)

  it("sees the version that a client asks for", function()
    local gateway = emulator.new("20.2")
    local request = gateway:request("delete_obj", { Object = { Name = "a", Instance = "v1" } })
    assert.equal("200 photos av10 'tester' 0 false", logged(gateway, SHOW, request, "preRequest"))
  end)

  it("sees no key of a form, nor who signed it", function()
    for _, release in ipairs({ "20.2", "main" }) do
      local gateway = emulator.new(release)
      local form = gateway:request("post_obj")
      assert.equal("200 photos nil 'anonymous' 0 false", logged(gateway, SHOW, form, "preRequest"))
    end
  end)

  it("sees where a copy comes from on 20.2 and main alone, without its size", function()
    local script = [[
      local from = RGW and Request.CopyFrom
      RGWDebugLog(from and from.Object.Name .. from.Object.Size or "nil")
    ]]
    for _, release in ipairs(RELEASES) do
      local gateway = emulator.new(release)
      local known = release == "20.2" or release == "main"
      local request = gateway:request("copy_obj")
      assert.equal(known and "2026/source.jpg0" or "nil", logged(gateway, script, request, "preRequest"))
      if release ~= "16.2" then assert.equal("2026/source.jpg11", logged(gateway, script, request)) end
    end
  end)

  it("changes what later scripts see of the request", function()
    local gateway = emulator.new("18.2")
    local request = gateway:request("put_obj")
    logged(gateway, [[
      Request.HTTP.StorageClass = "COLD"
      Request.HTTP.Metadata["x-amz-meta-a"] = "1"
    ]], request, "preRequest")
    assert.equal("COLD 1", logged(gateway, [[
      RGWDebugLog(Request.HTTP.StorageClass)
      RGWDebugLog(Request.HTTP.Metadata["x-amz-meta-a"])
    ]], request))
  end)

  it("has its context named as RGW does, in any case", function()
    local gateway = emulator.new("20.2")
    assert.equal("200 photos 2026/a.jpg0 'tester' 0 false",
      logged(gateway, SHOW, gateway:request("put_obj"), "prerequest"))
  end)
end)

describe("Request.Environment", function()
  for _, release in ipairs({ "16.2", "18.2", "20.2" }) do
    it("is empty before and filled after each captured operation that succeeds, on " .. release, function()
      local count = 0
      for _, captured in ipairs(captures.read(release)) do
        local gateway = emulator.new(release)
        local request = gateway:request(captured.operation, captured.given)
        if request.Response.HTTPStatusCode < 300 then
          count = count + 1
          local script = "RGWDebugLog(tostring(#Request.Environment > 0))"
          assert.equal("false", logged(gateway, script, request, "preRequest"))
          assert.equal("true", logged(gateway, script, request))
        end
      end
      assert.equal(30, count)
    end)
  end
end)

describe("a postAuth script", function()
  it("sees the bucket and who asks, and no result", function()
    local gateway = emulator.new("main")
    for operation, wanted in pairs({
      put_obj = "200 loaded 2026/a.jpg0 'tester' 0 true", get_obj = "200 loaded 2026/a.jpg0 'tester' 0 true",
      delete_obj = "200 loaded 2026/a.jpg0 'tester' 0 true", post_obj = "200 loaded nil 'anonymous' 0 true",
      put_acls = "200 loaded 2026/a.jpg11 'tester' 0 true", list_bucket = "200 loaded nil 'tester' 0 true",
      create_bucket = "200 photos nil 'tester' 0 true",
    }) do
      local request = gateway:request(operation, { Tags = { a = "1" } })
      assert.equal(wanted, logged(gateway, SHOW, request, "postAuth"), operation)
    end
  end)

  it("is there on main alone", function()
    for _, release in ipairs(RELEASES) do
      local gateway = emulator.new(release)
      local ok = pcall(gateway.run, gateway, "", gateway:request("put_obj"), "postauth")
      assert.equal(release == "main", ok)
    end
  end)
end)

describe("a request that fails before its operation", function()
  it("gets to preRequest on all releases before 20.2, and as far as it gets on those after", function()
    local function far(release, status, context)
      local gateway = emulator.new(release)
      local operation = status == "NoSuchKey" and "get_obj" or "put_obj"
      local request = gateway:request(operation, { Response = { HTTPStatus = status } })
      local ok, problem = gateway:run("RGWDebugLog('ran')", request, context)
      assert.equal(ok and 1 or 0, #gateway.log)
      if not ok then
        local why = "no script ran: a request that ends in %s does not get to %s"
        assert.equal(why:format(status, context), problem)
      end
      return ok
    end
    for _, status in ipairs({ "SignatureDoesNotMatch", "AccessDenied", "NoSuchBucket", "NoSuchKey", "BadDigest" }) do
      for _, release in ipairs({ "16.2", "18.2", "19.2" }) do assert.is_true(far(release, status, "preRequest")) end
      for _, release in ipairs({ "20.2", "main" }) do
        assert.equal(status ~= "SignatureDoesNotMatch", far(release, status, "preRequest"))
      end
      assert.equal(status == "BadDigest", far("main", status, "postAuth"))
    end
  end)
end)

describe("a response that is written before the operation", function()
  -- An operation, how it ends, and the response after it before 20.2 and from then on. A put leaves it as it is, a
  -- delete and a get set their own.
  local CASES = {
    { "put_obj", {}, "503 -7 Own own", "503 -7 Own own" },
    { "copy_obj", {}, "503 -7 Own own", "503 -7 Own own" },
    { "multi_object_delete", {}, "503 -7 Own own", "503 -7 Own own" },
    { "delete_obj", {}, "204 -1902 NoContent own", "503 -1902 Own own" },
    { "post_obj", {}, "204 -1902 NoContent ", "503 -1902 Own " },
    { "get_obj", {}, "200 0  own", "503 0 Own own" },
    { "put_obj", { HTTPStatusCode = 403 }, "503 -7 Own own", "503 -7 Own own" },
    { "put_obj", { HTTPStatusCode = 404 }, "503 -7 Own own", "503 -7 Own own" },
    { "put_obj", { HTTPStatusCode = 400 }, "400 -2005 BadDigest own", "503 -2005 Own own" },
  }

  for _, release in ipairs(RELEASES) do
    it("is what postRequest sees unless the operation sets its own, on " .. release, function()
      for _, case in ipairs(CASES) do
        local gateway = emulator.new(release)
        local request = gateway:request(case[1], { Response = next(case[2]) and case[2] or nil })
        assert.same({ true }, { gateway:run(WRITE, request, "preRequest") })
        local late = release == "20.2" or release == "main"
        assert.equal(case[late and 4 or 3], logged(gateway, RESPONSE, request), case[1])
      end
    end)

    it("hides no failure if its status is the default one, on " .. release, function()
      local gateway = emulator.new(release)
      local request = gateway:request("put_obj", { Response = { HTTPStatusCode = 403 } })
      gateway:run("Request.Response.Message = 'own'", request, "preRequest")
      assert.equal("403 -13 AccessDenied own", logged(gateway, RESPONSE, request))
      request = gateway:request("put_obj")
      gateway:run("Request.Response.Message = 'own'", request, "preRequest")
      assert.equal("200 0  own", logged(gateway, RESPONSE, request))
    end)

    it("leaves alone what nobody has written, on " .. release, function()
      local gateway = emulator.new(release)
      local given = { HTTPStatusCode = 206, RGWCode = -1906, HTTPStatus = "", Message = "" }
      local request = gateway:request("get_obj", { Response = given })
      gateway:run("return", request, "preRequest")
      assert.same(given, request.Response)
    end)
  end

  it("is what later scripts before the operation see", function()
    local gateway = emulator.new("main")
    local request = gateway:request("put_obj")
    gateway:run(WRITE, request, "preRequest")
    assert.equal("503 -7 Own own", logged(gateway, RESPONSE, request, "postAuth"))
    gateway:run("Request.Response.HTTPStatusCode = 200", request, "postAuth")
    assert.equal("200 -7 Own own", logged(gateway, RESPONSE, request))
  end)

  it("stays though its script fails", function()
    local gateway = emulator.new("18.2")
    local request = gateway:request("put_obj")
    assert.is_false(gateway:run(WRITE .. "error('x')", request, "preRequest"))
    assert.equal("503 -7 Own own", logged(gateway, RESPONSE, request))
  end)
end)

describe("an abort", function()
  local STATE = RESPONSE .. [[
    RGWDebugLog(tostring(Request.Bucket and Request.Bucket.Id ~= nil))
    RGWDebugLog(Request.Object.Size)
  ]]

  it("is of 20.2 and main, has RGW's response or the one that is written, and leaves the request as it was", function()
    for _, release in ipairs(RELEASES) do
      local can = release == "20.2" or release == "main"
      for _, case in ipairs({
        { "", "403 -1 AccessDenied  false 0", "200 0   true 11" },
        { WRITE, "503 -7 Own own false 0", "503 -7 Own own true 11" },
      }) do
        local gateway = emulator.new(release)
        local request = gateway:request("put_obj")
        assert.same({ true }, { gateway:run(case[1] .. "return RGW_ABORT_REQUEST or -1", request, "preRequest") })
        assert.equal(can, gateway.aborted)
        assert.equal(can and case[2] or case[3], logged(gateway, STATE, request))
      end
    end
  end)

  it("is what the last integer that a script returns says, in contexts before the operation", function()
    local gateway = emulator.new("20.2")
    gateway:run("return -1", gateway:request("put_obj"))
    assert.is_false(gateway.aborted)
    for _, last in ipairs({ "return 0", "return -1.0", "return '-1'", "return -1, 0", "" }) do
      gateway:run(last, gateway:request("put_obj"), "preRequest")
      assert.is_false(gateway.aborted)
    end
  end)

  it("in postAuth leaves the bucket loaded", function()
    local gateway = emulator.new("main")
    local request = gateway:request("put_obj")
    gateway:run("return RGW_ABORT_REQUEST", request, "postAuth")
    assert.is_true(gateway.aborted)
    assert.equal("403 -1 AccessDenied  true 0", logged(gateway, STATE, request))
  end)

  it("is over when preRequest begins the request anew, and so is a response that was written", function()
    local gateway = emulator.new("main")
    local request = gateway:request("put_obj")
    local wanted = gateway:request("put_obj", { Bucket = { Name = "photos" } })
    gateway:run(WRITE .. "return RGW_ABORT_REQUEST", request, "preRequest")
    assert.equal("200 0  ", logged(gateway, RESPONSE, request, "preRequest"))
    assert.is_false(gateway.aborted)
    wanted.Id, wanted.TransactionId = request.Id, request.TransactionId
    assert.same(wanted, request)
  end)

  it("lets no further context come but postRequest", function()
    local gateway = emulator.new("main")
    local request = gateway:request("put_obj")
    gateway:run("return RGW_ABORT_REQUEST", request, "preRequest")
    assert.same({ false, "no script ran: the request was aborted" }, { gateway:run("", request, "postAuth") })
  end)
end)
