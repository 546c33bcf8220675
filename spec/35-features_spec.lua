-- Gateways as their Lua states show them, whatever their release: what notify() and admit() do on each. 19.2 and
-- main are the emulator's, from Ceph's sources; e2e/ has the others as they are.
local emulator = require("rgw_nats.emulator")
local helpers = require("helpers")
local json = require("dkjson")
local nats = require("rgw_nats")

local RELEASES = { "16.2", "18.2", "19.2", "20.2", "main" }
-- What the script below is given; a script of RGW has no upvalues, and a function of the emulator has.
local given, results, write

local function notify() results = table.pack(nats.notify(_G.Request, given)) end
local function admit() return nats.admit(_G.Request, given, { write_response = write }) end

describe("a gateway", function()
  local server, subscriber

  setup(function()
    server = helpers.server()
    subscriber = server:subscribe("s3.>")
    given = { url = server:url() }
  end)
  teardown(helpers.stop)

  -- What has been published by now, by event, key and version.
  local function published()
    local found = {}
    helpers.publish_end(assert(nats.connect(server:url(), { name = given.name })))
    for _, message in ipairs(subscriber:messages("end")) do
      if message.payload ~= "end" and message.headers then
        local record = json.decode(message.payload).Records[1]
        local object = record.s3.object
        found[#found + 1] = ("%s %s %s"):format(record.eventName, object.key, object.versionId)
      end
    end
    return found
  end

  local function run(gateway, script, request, context)
    assert.same({ true }, { gateway:run(script, request, context) })
  end

  for _, release in ipairs(RELEASES) do
    it("of " .. release .. " is notified of after the operation, and never in preRequest", function()
      local gateway = emulator.new(release)
      for _, operation in ipairs({ "put_obj", "copy_obj", "delete_obj", "complete_multipart" }) do
        local request = gateway:request(operation, { Object = { Name = "k" } })
        run(gateway, notify, request, "preRequest")
        helpers.fails("bad_request", table.unpack(results, 1, results.n))
        assert.matches("--context=postRequest", results[2], 1, true)
        assert.same({}, published())
        run(gateway, notify, request, "postRequest")
        assert.is_true(results[1])
        assert.equal(1, #published())
      end
    end)
  end

  it("of main is not notified of in postAuth where that shows", function()
    local gateway = emulator.new("main")
    for _, operation in ipairs({ "put_obj", "delete_obj" }) do
      run(gateway, notify, gateway:request(operation, { Object = { Name = "k" } }), "postAuth")
      helpers.fails("bad_request", table.unpack(results, 1, results.n))
    end
    assert.same({}, published())
    -- A put of nothing looks the same before and after.
    local empty = { Object = { Name = "k", Size = 0 }, ContentLength = 0 }
    run(gateway, notify, gateway:request("put_obj", empty), "postRequest")
    assert.is_true(results[1])
    assert.equal(1, #published())
  end)

  it("gives an event for each key of a multi-object delete, where it runs the script for each or lists them", function()
    local objects = { { Name = "a", Size = 1 }, { Name = "b", Instance = "v1" }, { Name = "b", Instance = "v2" } }
    for _, way in ipairs({ "keys", "list" }) do
      local gateway = emulator.new("main", { multi_delete = way })
      run(gateway, notify, gateway:request("multi_object_delete", { Objects = objects }))
      assert.is_true(results[1])
      local found = published()
      table.sort(found)
      assert.same({ "ObjectRemoved:Delete a ", "ObjectRemoved:Delete b v1", "ObjectRemoved:Delete b v2" }, found)
    end
    for _, release in ipairs(RELEASES) do
      local gateway, before = emulator.new(release), nats.status().multi_deletes
      run(gateway, notify, gateway:request("multi_object_delete", { Objects = objects }))
      assert.is_true(results[1])
      assert.same({}, published())
      assert.equal(before + 1, nats.status().multi_deletes)
    end
  end)

  it("keeps each key of a multi-object delete in a stream", function()
    local stream = helpers.stream("s3.>")
    local configuration = given
    finally(function() given = configuration end)
    given = { url = stream:url() }
    local gateway = emulator.new("main", { multi_delete = "keys" })
    local objects = { { Name = "a" }, { Name = "b" }, { Name = "b", Instance = "v" } }
    run(gateway, notify, gateway:request("multi_object_delete", { Objects = objects }))
    local connection = assert(nats.connect(stream:url()))
    local js = assert(connection:jetstream())
    helpers.wait_until(function()
      local info = js:stream_info(assert(js:stream_names())[1])
      return info and info.state.messages == 3
    end, "three messages in the stream")
  end)

  it("of main shows the tags of a bucket to rules; elsewhere such a rule fits every bucket", function()
    local configuration = given
    finally(function() given = configuration end)
    given = { url = server:url(), name = "tags", filter = { bucket_tags = { team = "a", stage = "raw" } } }
    for _, release in ipairs(RELEASES) do
      local gateway = emulator.new(release)
      for tags, count in pairs({ a = 1, b = 0 }) do
        local bucket = release == "main" and { Tags = { team = tags, stage = "raw", more = "x" } } or {}
        run(gateway, notify, gateway:request("put_obj", { Bucket = bucket }))
        assert.is_true(results[1])
        assert.equal(release == "main" and count or 1, #published(), release)
      end
    end
    local untagged = emulator.new("main")
    run(untagged, notify, untagged:request("put_obj"))
    assert.same({}, published())
  end)

  it("loses no event to a rule among hundreds that look at tags of buckets", function()
    local configuration = given
    finally(function() given = configuration end)
    given = { url = server:url(), name = "many-tags", notification = {} }
    for n = 1, 300 do
      given.notification[n] = { id = "r" .. n, subject = "s3.r" .. n, filter = { bucket_tags = { ["k" .. n] = "v" } } }
    end
    local gateway = emulator.new("main")
    local tags = { k1 = "v", k300 = "v", k150 = "another" }
    run(gateway, notify, gateway:request("put_obj", { Bucket = { Tags = tags } }))
    assert.is_true(results[1])
    local subjects = {}
    helpers.publish_end(assert(nats.connect(server:url(), { name = given.name })))
    for _, message in ipairs(subscriber:messages("end")) do subjects[message.subject] = true end
    assert.is_true(subjects["s3.r1"] and subjects["s3.r300"])
    assert.is_nil(subjects["s3.r150"])
  end)
end)

describe("admit()", function()
  -- A broker that is away, and no room.
  setup(function()
    given = { url = "nats://127.0.0.1:" .. helpers.port(), max_pending = 1, exit_timeout_ms = 0, name = "admit" }
    local gateway = emulator.new("20.2")
    assert.is_true(gateway:run(notify, gateway:request("put_obj")))
    assert.is_true(results[1])
  end)

  it("refuses where the gateway can abort, in each context before the operation", function()
    for release, contexts in pairs({ ["20.2"] = { "preRequest" }, main = { "preRequest", "postAuth" } }) do
      for _, context in ipairs(contexts) do
        local gateway = emulator.new(release)
        assert.is_true(gateway:run(admit, gateway:request("put_obj"), context))
        assert.is_true(gateway.aborted, release .. " " .. context)
      end
    end
  end)

  it("writes no response in postAuth, where nobody could tell what became of the request", function()
    local server = helpers.server()
    finally(function()
      write = nil
      helpers.stop()
    end)
    local subscriber = server:subscribe("s3.>")
    write = true
    for _, operation in ipairs({ "put_obj", "copy_obj", "complete_multipart" }) do
      local gateway = emulator.new("main")
      local request = gateway:request(operation, { Object = { Name = "k", Size = 0 }, ContentLength = 0 })
      assert.is_true(gateway:run(admit, request, "postAuth"))
      assert.is_true(gateway.aborted)
      assert.equal(403, request.Response.HTTPStatusCode)
      assert.is_true(gateway:run(function()
        results = table.pack(nats.notify(_G.Request, { url = server:url() }))
      end, request, "postRequest"))
      assert.is_true(results[1])
    end
    helpers.publish_end(assert(nats.connect(server:url())))
    assert.equal(1, #subscriber:messages("end"))
  end)

  it("refuses a key of a multi-object delete, and what no tag of its bucket keeps from a rule", function()
    local configuration = given
    finally(function() given = configuration end)
    local gateway = emulator.new("main", { multi_delete = "keys" })
    local verdicts = {}
    local function ask() verdicts[#verdicts + 1] = admit() end
    local objects = { { Name = "a" } }
    assert.is_true(gateway:run(ask, gateway:request("multi_object_delete", { Objects = objects }), "preRequest"))
    given = { name = "admit", filter = { bucket_tags = { team = "a" } } }
    for key, value in pairs(configuration) do given[key] = given[key] or value end
    for _, team in ipairs({ "a", "b" }) do
      assert.is_true(gateway:run(ask, gateway:request("put_obj", { Bucket = { Tags = { team = team } } }), "postAuth"))
    end
    assert.same({ -1, -1, true }, verdicts)
  end)

  it("lets every request pass where it cannot, and says so", function()
    for _, release in ipairs({ "16.2", "18.2", "19.2" }) do
      local gateway, verdict = emulator.new(release), nil
      local request = gateway:request("put_obj")
      assert.is_true(gateway:run(function() verdict = admit() end, request, "preRequest"))
      assert.is_true(verdict, release)
      assert.is_falsy(gateway.aborted)
      assert.equal(200, request.Response.HTTPStatusCode)
    end
    assert.matches("no RGW_ABORT_REQUEST", nats.status().admit.warning, 1, true)
  end)

  it("loses no event of a request that is executed all the same, whatever it wrote into the response", function()
    local server = helpers.server()
    finally(helpers.stop)
    local subscriber = server:subscribe("s3.>")
    local function delivered() results = table.pack(nats.notify(_G.Request, { url = server:url() })) end
    for _, written in ipairs({ false, true }) do
      write = written
      -- The first run of a script compiles it; from then on RGW ignores what it returns.
      local gateway = emulator.new("main", { bytecode_cache = true })
      assert.is_true(gateway:run(admit, gateway:request("put_obj"), "preRequest"))
      for _, operation in ipairs({ "put_obj", "delete_obj" }) do
        local before, request = nats.status().admit, gateway:request(operation, { Object = { Name = "k" } })
        assert.is_true(gateway:run(admit, request, "preRequest"))
        assert.is_falsy(gateway.aborted)
        assert.is_true(gateway:run(delivered, request, "postRequest"))
        assert.is_true(results[1])
        assert.matches('"key":"k"', subscriber:next().payload, 1, true)
        local after = nats.status().admit
        assert.same({ before.refused + 1, before.executed + 1 }, { after.refused, after.executed })
      end
      -- One that was aborted as it should be is no event, and no error.
      local heeding = emulator.new("20.2")
      local request = heeding:request("put_obj", { Object = { Name = "aborted" } })
      assert.is_true(heeding:run(admit, request, "preRequest"))
      assert.is_true(heeding.aborted)
      assert.is_true(heeding:run(delivered, request, "postRequest"))
      assert.is_true(results[1])
      helpers.publish_end(assert(nats.connect(server:url())))
      assert.equal(1, #subscriber:messages("end"))
    end
    write = nil
  end)
end)
