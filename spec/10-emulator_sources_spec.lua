-- What the emulator has from Ceph's sources alone: 19.2, main, and the options of a gateway.
local emulator = require("rgw_nats.emulator")

-- Runs a script that comes to its end, and returns what it has logged, in one text.
local function logged(gateway, script, request, context)
  gateway.log = {}
  assert.same({ true }, { gateway:run(script, request, context) })
  return table.concat(gateway.log, " ")
end

local function fails(part, ...)
  local ok, problem = pcall(...)
  assert.is_false(ok)
  assert.matches(part, problem, 1, true)
end

describe("emulator.new()", function()
  it("says whether a release was compared with a real gateway", function()
    for _, release in ipairs({ "16.2", "18.2", "20.2" }) do assert.is_true(emulator.new(release).verified) end
    for _, release in ipairs({ "19.2", "main" }) do assert.is_false(emulator.new(release).verified) end
  end)

  it("refuses other releases, and options that a release lacks", function()
    fails("no release 17.2; there are 16.2, 18.2, 19.2, 20.2 and main", emulator.new, "17.2")
    fails("no option cache; there are bytecode_cache and multi_delete", emulator.new, "main", { cache = true })
    fails("19.2 has no bytecode_cache", emulator.new, "19.2", { bytecode_cache = true })
    fails("20.2 has no multi_delete", emulator.new, "20.2", { multi_delete = "keys" })
    fails("multi_delete cannot be all", emulator.new, "main", { multi_delete = "all" })
    fails("bytecode_cache cannot be 1", emulator.new, "20.2", { bytecode_cache = 1 })
  end)
end)

describe("19.2 and main", function()
  it("show a request as 20.2 does", function()
    for operation in ("put_obj copy_obj delete_obj get_obj post_obj create_bucket put_acls"):gmatch("%S+") do
      local given = { ObjectOwner = { User = "acme$eve" }, Bucket = { Account = "RGW1", Count = 1 } }
      local wanted = emulator.new("20.2"):request(operation, given)
      for _, release in ipairs({ "19.2", "main" }) do
        assert.same(wanted, emulator.new(release):request(operation, given))
      end
    end
  end)

  it("have no Count and Size of a bucket, and owners that are texts", function()
    for _, release in ipairs({ "19.2", "20.2", "main" }) do
      local gateway = emulator.new(release)
      local request = gateway:request("put_obj", { Bucket = { Account = "RGW1" }, ObjectOwner = { User = "acme$eve" } })
      assert.equal("false false RGW1 nil acme$eve", logged(gateway, [[
        RGWDebugLog(tostring(pcall(function() return Request.Bucket.Count end)))
        RGWDebugLog(tostring(pcall(function() return Request.Bucket.Size end)))
        RGWDebugLog(Request.Bucket.Account)
        RGWDebugLog(tostring(Request.Bucket.User))
        RGWDebugLog(Request.ObjectOwner.User)
      ]], request))
    end
  end)
end)

describe("Request.Bucket.Tags", function()
  local SHOW = [[
    local tags = Request.Bucket.Tags
    RGWDebugLog(tags and ("%d %s %s"):format(#tags, tags.team, tostring(tags.Team)) or "nil")
  ]]

  it("is of main alone", function()
    for _, release in ipairs({ "16.2", "18.2", "19.2", "20.2" }) do
      local gateway = emulator.new(release)
      local request = gateway:request("put_obj", { Bucket = { Tags = { team = "a" } } })
      assert.is_nil(request.Bucket.Tags)
      local ok, problem = gateway:run("return Request.Bucket.Tags", request)
      assert.is_false(ok)
      assert.matches("unknown field name: Tags provided to: ", problem, 1, true)
    end
  end)

  it("is a map that is looked up and counted, but not walked over", function()
    local gateway = emulator.new("main")
    local request = gateway:request("put_obj", { Bucket = { Tags = { team = "a", stage = "b" } } })
    assert.equal("2 a nil", logged(gateway, SHOW, request))
    assert.equal("2 a nil", logged(gateway, SHOW, request, "postAuth"))
    local script = "local _, problem = pcall(pairs, Request.Bucket.Tags) RGWDebugLog(problem)"
    assert.matches("trying to iterate over non%-iterable field$", logged(gateway, script, request))
    script = "local _, problem = pcall(function() Request.Bucket.Tags.a = '1' end) RGWDebugLog(problem)"
    assert.matches("trying to write to readonly field$", logged(gateway, script, request))
  end)

  it("is nil without tags, and where no bucket is loaded", function()
    local gateway = emulator.new("main")
    assert.equal("nil", logged(gateway, SHOW, gateway:request("put_obj")))
    assert.equal("nil", logged(gateway, SHOW, gateway:request("put_obj", { Bucket = { Tags = false } })))
    local request = gateway:request("put_obj", { Bucket = { Tags = { team = "a" } } })
    assert.equal("nil", logged(gateway, SHOW, request, "preRequest"))
  end)
end)

describe("bytecode_cache", function()
  local ABORT = "RGWDebugLog('ran') return RGW_ABORT_REQUEST"

  -- Runs a script on a request of its own, and says whether that was aborted.
  local function aborts(gateway, script, context)
    local request = gateway:request("put_obj")
    assert.same({ true }, { gateway:run(script, request, context or "preRequest") })
    assert.equal(gateway.aborted and 403 or 200, request.Response.HTTPStatusCode)
    return gateway.aborted
  end

  it("has the operation done, whatever a script returns that has run before", function()
    for _, release in ipairs({ "20.2", "main" }) do
      local gateway = emulator.new(release, { bytecode_cache = true })
      assert.is_true(aborts(gateway, ABORT))
      assert.is_false(aborts(gateway, ABORT))
      assert.is_false(aborts(gateway, ABORT))
      assert.equal(3, #gateway.log)
    end
  end)

  it("compiles each script of each context anew", function()
    local gateway = emulator.new("main", { bytecode_cache = true })
    assert.is_true(aborts(gateway, ABORT))
    assert.is_true(aborts(gateway, ABORT, "postAuth"))
    assert.is_false(aborts(gateway, ABORT, "postAuth"))
    assert.is_true(aborts(gateway, ABORT .. " "))
    assert.is_true(aborts(gateway, ABORT))
  end)

  it("is off unless it is asked for", function()
    for _, options in ipairs({ {}, { bytecode_cache = false } }) do
      local gateway = emulator.new("main", options)
      for _ = 1, 3 do assert.is_true(aborts(gateway, ABORT)) end
    end
  end)

  it("keeps the response that an ignored script has written", function()
    local gateway = emulator.new("main", { bytecode_cache = true })
    local script = "Request.Response.HTTPStatusCode = 503 return RGW_ABORT_REQUEST"
    gateway:run(script, gateway:request("put_obj"), "preRequest")
    local request = gateway:request("put_obj")
    gateway:run(script, request, "preRequest")
    assert.is_false(gateway.aborted)
    assert.equal(503, request.Response.HTTPStatusCode)
    assert.equal(11, request.Object.Size)
  end)
end)

describe("multi_delete", function()
  local GIVEN = { Objects = { { Name = "a", Size = 3 }, { Name = "b", Instance = "v" }, { Name = "none", Size = 0 } } }
  local OBJECT = [[
    local object = Request.Object
    RGWDebugLog(object and ("%s/%s/%s/%d"):format(object.Name, object.Instance, object.Id, object.Size) or "nil")
  ]]

  it("unless it is given, shows no key", function()
    local gateway = emulator.new("main")
    local request = gateway:request("multi_object_delete", GIVEN)
    assert.equal("nil", logged(gateway, OBJECT, request))
    local ok, problem = gateway:run("return Request.Objects", request)
    assert.is_false(ok)
    assert.matches("unknown field name: Objects provided to: Request", problem, 1, true)
    assert.is_nil(emulator.new("20.2"):request("multi_object_delete", GIVEN).Objects)
  end)

  it('"keys" runs a script for each key and none for the request, in all contexts', function()
    local gateway = emulator.new("main", { multi_delete = "keys" })
    local request = gateway:request("multi_object_delete", GIVEN)
    for _, context in ipairs({ "preRequest", "postAuth", "postRequest" }) do
      assert.equal("a//a/3 b/v/_:v_b/11 none//none/0", logged(gateway, OBJECT, request, context))
      local facts = logged(gateway, [[
        RGWDebugLog(Request.RGWOp .. Request.Response.HTTPStatusCode .. Request.Bucket.Name .. Request.User.Id)
        RGWDebugLog(tostring(Request.Id == Request.id) .. tostring(#Request.Environment > 0))
      ]], request, context)
      assert.equal(("multi_object_delete200photostester truetrue "):rep(3):sub(1, -2), facts)
    end
    assert.is_false(gateway:run("return Request.Objects", request))
  end)

  it('"keys" has each run begin in a state of its own, and one that fails keeps none from running', function()
    local gateway = emulator.new("main", { multi_delete = "keys" })
    local request = gateway:request("multi_object_delete", GIVEN)
    local ok, problem = gateway:run([[
      RGWDebugLog(tostring(seen))
      seen = true
      if Request.Object.Name == "a" then error("not a", 0) end
    ]], request)
    assert.same({ false, "not a", "nil nil nil" }, { ok, problem, table.concat(gateway.log, " ") })
  end)

  it('"keys" gives each run the same ids and the same response', function()
    local gateway = emulator.new("main", { multi_delete = "keys" })
    local request = gateway:request("multi_object_delete", GIVEN)
    local id = ("%s %s 200"):format(request.Id, request.TransactionId)
    local script = [[
      RGWDebugLog(("%s %s %d"):format(Request.Id, Request.TransactionId, Request.Response.HTTPStatusCode))
    ]]
    assert.equal(table.concat({ id, id, id }, " "), logged(gateway, script, request))
    logged(gateway, "Request.Response.HTTPStatusCode = 299", request, "preRequest")
    assert.equal(299, request.Response.HTTPStatusCode)
  end)

  it('"keys" skips the keys that an abort is returned for', function()
    local gateway = emulator.new("main", { multi_delete = "keys" })
    local request = gateway:request("multi_object_delete", GIVEN)
    local script = "if Request.Object.Name ~= 'b' then return RGW_ABORT_REQUEST end"
    assert.same({ true }, { gateway:run(script, request, "preRequest") })
    assert.is_true(gateway.aborted)
    assert.equal("b/v/_:v_b/11", logged(gateway, OBJECT, request))
    assert.is_false(gateway.aborted)
    assert.equal(200, request.Response.HTTPStatusCode)
  end)

  it('"keys" runs nothing for a request that fails as a whole', function()
    local gateway = emulator.new("main", { multi_delete = "keys" })
    local request = gateway:request("multi_object_delete", { Response = { HTTPStatusCode = 403 } })
    assert.equal("", logged(gateway, OBJECT, request))
  end)

  it('"keys" changes nothing for other operations', function()
    local gateway = emulator.new("main", { multi_delete = "keys" })
    assert.equal("2026/a.jpg//2026/a.jpg/11", logged(gateway, OBJECT, gateway:request("delete_obj")))
  end)

  it('"list" shows the keys once they are read', function()
    local gateway = emulator.new("main", { multi_delete = "list" })
    local request = gateway:request("multi_object_delete", GIVEN)
    local script = [[
      local objects = Request.Objects
      RGWDebugLog(objects and #objects or "nil")
      for place, object in pairs(objects or {}) do
        RGWDebugLog(("%d=%s/%s/%d"):format(place, object.Name, object.Instance, object.Size))
      end
      RGWDebugLog(tostring(Request.Object ~= nil))
    ]]
    assert.equal("nil false", logged(gateway, script, request, "preRequest"))
    for _, context in ipairs({ "postAuth", "postRequest" }) do
      assert.equal("3 0=a//3 1=b/v/11 2=none//0 false", logged(gateway, script, request, context))
    end
    assert.equal("nil true", logged(gateway, script, gateway:request("delete_obj")))
  end)

  it("has two keys if none are given, and refuses one without a name", function()
    local gateway = emulator.new("main", { multi_delete = "keys" })
    local text = logged(gateway, OBJECT, gateway:request("multi_object_delete"))
    assert.equal("2026/a.jpg//2026/a.jpg/11 2026/b.jpg//2026/b.jpg/11", text)
    local given = { Objects = { { Name = "a" }, { Size = 1 } } }
    fails("Request.Objects[1] has no Name", gateway.request, gateway, "multi_object_delete", given)
  end)
end)
