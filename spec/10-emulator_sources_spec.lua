-- What the emulator has from Ceph's sources alone: 19.2 and main.
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

  it("refuses other releases", function()
    fails("no release 17.2; there are 16.2, 18.2, 19.2, 20.2 and main", emulator.new, "17.2")
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
