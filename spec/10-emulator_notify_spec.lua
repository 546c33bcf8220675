-- notify() on the requests of real gateways, shown by the emulator: what is published of each, on each release.
local captures = require("captures")
local emulator = require("rgw_nats.emulator")
local helpers = require("helpers")
local json = require("dkjson")
local nats = require("rgw_nats")

-- What must come of the 35 captured requests, by their numbers: the event, key, bucket and size. A value for each
-- release where they differ: 16.2, 18.2, 20.2.
local PUBLISHED = {
  [4] = { "ObjectCreated:Put", "dir/a b+é%.txt", "bkt1", 11 },
  [5] = { "ObjectCreated:Put", "o", "ver1", 3 },
  [6] = { "ObjectCreated:Copy", "cp", "bkt1", { 0, 11, 11 } },
  [7] = { "ObjectCreated:Copy", "cp", "ver1", { 0, 3, 3 } },
  [11] = { "ObjectCreated:CompleteMultipartUpload", "mp", "bkt1", 0 },
  [15] = { "ObjectCreated:CompleteMultipartUpload", "mp", "ver1", 0 },
  [20] = { "ObjectRemoved:Delete", "cp", "bkt1", { 0, 11, 11 } },
  [21] = { "ObjectRemoved:Delete", "never", "bkt1", 0 },
  [22] = { "ObjectRemoved:Delete", "o", "ver1", { 0, 3, 3 } },
  [24] = { "ObjectRemoved:Delete", "o", "ver1", { 0, 3, 3 } },
  [25] = { "ObjectRemoved:Delete", "o", "ver1", 0 },
  [32] = { "ObjectCreated:Post", "posted/fn.bin", "ver1", 10 },
}
-- Whether there is a version, by release. What has none in any is not here.
local VERSIONED = {
  [5] = { true, true, true }, [7] = { false, true, true }, [15] = { false, true, true }, [24] = { true, true, true },
  [25] = { true, true, true },
}
-- What is published besides when all kinds of events are asked for.
local BEYOND = {
  [1] = "BucketCreated:Put", [2] = "BucketCreated:Put", [16] = "ObjectTagging:Put", [17] = "ObjectAcl:Put",
  [18] = "ObjectAccessed:Get",
}
local ALL = {
  "s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectTagging:*", "s3:ObjectAcl:*", "s3:ObjectAccessed:*",
  "s3:BucketCreated:*", "s3:BucketRemoved:*", "s3:ObjectMetadata:*",
}
local METADATA = {
  [4] = { { key = "x-amz-meta-foo", val = "bar" }, { key = "x-amz-meta-mixed-case", val = "x y" } },
}
local TAGS = { [4] = { { key = "k1", val = "v1" }, { key = "k2", val = "v2" } } }
-- What is never published: parts, reads, and from 28 to 31 puts that failed.
local NOT_PUBLISHED = {
  [3] = "set_bucket_versioning", [8] = "init_multipart", [9] = "put_obj", [10] = "put_obj", [12] = "init_multipart",
  [13] = "put_obj", [14] = "put_obj", [19] = "get_obj", [23] = "list_bucket", [26] = "multi_object_delete",
  [27] = "multi_object_delete", [28] = "put_obj", [29] = "put_obj", [30] = "put_obj", [31] = "put_obj",
  [33] = "list_buckets", [34] = "init_multipart", [35] = "abort_multipart",
}
-- RGW's own record of the same operation, by release: its place in native-records-*.json.
local RECORDS = {
  [4] = { 1, 1, 1 }, [5] = { 2, 2, 2 }, [6] = { 3, 3, 3 }, [7] = { 4, 4, 4 }, [15] = { 5, 5, 5 }, [20] = { 6, 6, 6 },
  [21] = { 7, 7 }, [22] = { 8, 8, 7 }, [24] = { 9, 9, 8 }, [25] = { 10, 10, 9 }, [32] = { nil, 13, 12 },
}
-- And in what ours differs from it, besides what differs in all: what Lua is not shown. The posts had other keys.
local DIFFERENCES = {
  [6] = { "metadata size tags", "metadata tags", "metadata tags" }, [7] = { "size", "", "" },
  [15] = { "size", "metadata size", "metadata size tags" },
  [20] = { "metadata size tags", "metadata tags", "metadata tags" },
  [22] = { "eventName size", "eventName versionId", "eventName versionId" }, [24] = { "size", "", "" },
  [32] = { "", "key metadata", "key metadata" },
}

local server, subscriber

-- Notifies of a request in the emulator, and returns the messages that come of it.
local function published(gateway, request, options)
  options = options or {}
  options.url = server:url()
  local results
  -- Within a run, this is what the gateway shows.
  local function script() results = table.pack(nats.notify(_G.Request, options)) end
  assert.same({ true, n = 1 }, table.pack(gateway:run(script, request)))
  assert.same({ true, n = 1 }, results)
  helpers.publish_end(assert(nats.connect(server:url())))
  local messages = subscriber:messages("end")
  table.remove(messages)
  for _, message in ipairs(messages) do
    local records = json.decode(message.payload).Records
    assert.equal(1, #records)
    message.record = records[1]
  end
  return messages
end

-- What of a record does not depend on when it was made and where, as texts by name. Only users' metadata count: 16 has
-- all headers that begin with x-amz- there.
local function facts(record)
  local s3, bucket, object = record.s3, record.s3.bucket, record.s3.object
  local names = { nbk = "bkt1", nver = "ver1" }
  local function joined(pairs_of, prefix)
    local texts = {}
    for _, pair in ipairs(pairs_of) do
      if pair.key:find(prefix, 1, true) == 1 then table.insert(texts, pair.key .. "=" .. pair.val) end
    end
    return table.concat(texts, "&")
  end
  local name = names[bucket.name] or bucket.name
  return {
    eventVersion = record.eventVersion, eventSource = record.eventSource, eventName = record.eventName,
    awsRegion = record.awsRegion, principalId = record.userIdentity.principalId, schema = s3.s3SchemaVersion,
    bucket = name, arn = bucket.arn:gsub("[^:]*$", name), owner = bucket.ownerIdentity.principalId, key = object.key,
    size = tostring(object.size), versionId = tostring(object.versionId ~= ""), tags = joined(object.tags, ""),
    metadata = joined(object.metadata, "x-amz-meta-"),
  }
end

-- The names of the facts in which two records differ.
local function differing(one, other)
  local names = {}
  for name, value in pairs(one) do
    if value ~= other[name] then table.insert(names, name) end
  end
  table.sort(names)
  return table.concat(names, " ")
end

setup(function()
  server = helpers.server()
  subscriber = server:subscribe("s3.>")
end)
teardown(helpers.stop)

for place, release in ipairs({ "16.2", "18.2", "20.2" }) do
  local function of(value)
    if type(value) == "table" then return value[place] end
    return value
  end

  describe("notify() in the emulator, as " .. release .. ",", function()
    local requests = captures.read(release)
    local gateway = emulator.new(release)

    for number, captured in ipairs(requests) do
      local wanted = PUBLISHED[number]
      local name = ("request %d, %s"):format(number, captured.operation)
      it(("publishes %s of %s"):format(wanted and wanted[1] or "nothing", name), function()
        local messages = published(gateway, gateway:request(captured.operation, captured.given))
        assert.same({}, gateway.hazards)
        if not wanted then
          assert.equal(BEYOND[number] and captured.operation or NOT_PUBLISHED[number], captured.operation)
          assert.same({}, messages)
          return
        end
        assert.equal(1, #messages)
        local message, record, given = messages[1], messages[1].record, captured.given
        local event, key, bucket = wanted[1], wanted[2], wanted[3]
        assert.equal(("s3.%s.%s"):format(bucket, event), message.subject)
        assert.equal(1, message.headers["Nats-Msg-Id"]:find(given.Id .. "/" .. event .. "/", 1, true))
        assert.equal(event, record.eventName)
        assert.equal(release == "16.2" and "" or "default", record.awsRegion)
        local time = given.Environment[#given.Environment - 1]
        assert.equal("aws:EpochTime", time[1])
        assert.equal(time[2]:sub(1, 26) .. "Z", record.eventTime)
        assert.same({ principalId = "tester" }, record.userIdentity)
        assert.same({ sourceIPAddress = "127.0.0.1" }, record.requestParameters)
        assert.same({ ["x-amz-request-id"] = given.Id, ["x-amz-id-2"] = given.RGWId }, record.responseElements)
        assert.same({
          name = bucket, ownerIdentity = { principalId = "tester" }, id = given.Bucket.Id,
          arn = ("arn:aws:s3:%s::%s"):format(record.awsRegion, bucket),
        }, record.s3.bucket)
        local object = record.s3.object
        assert.equal(key, object.key)
        assert.equal(of(wanted[4]), object.size)
        local versioned = VERSIONED[number] and of(VERSIONED[number])
        assert.equal(versioned or false, object.versionId ~= "")
        assert.equal(given.Object.Instance, object.versionId)
        assert.same(METADATA[number] or {}, { table.unpack(object.metadata) })
        assert.same(TAGS[number] or {}, { table.unpack(object.tags) })
      end)

      local event = BEYOND[number] or wanted and wanted[1]
      it(("publishes %s of %s, if all is asked for"):format(event or "nothing", name), function()
        local request = gateway:request(captured.operation, captured.given)
        local messages = published(gateway, request, { events = ALL, subject = "s3.all" })
        assert.equal(event and 1 or 0, #messages)
        if event then assert.equal(event, messages[1].record.eventName) end
      end)

      local place_of_record = RECORDS[number] and RECORDS[number][place]
      if place_of_record then
        it(("differs from RGW's own record of %s in what it is not shown"):format(name), function()
          local theirs = json.decode(captures.records(release)[place_of_record]).Records[1]
          local ours = published(gateway, gateway:request(captured.operation, captured.given))[1].record
          local differences = differing(facts(ours), facts(theirs))
          assert.equal(DIFFERENCES[number] and DIFFERENCES[number][place] or "", differences)
        end)
      end
    end
  end)
end

for _, release in ipairs({ "16.2", "18.2", "19.2", "20.2", "main" }) do
  describe("notify() minds the ways of " .. release .. ":", function()
    local gateway = emulator.new(release)
    after_each(function()
      assert.is_nil(gateway.crashed)
      assert.same({}, gateway.hazards)
    end)

    local function pairs_of(list)
      local texts = {}
      for _, pair in ipairs(list) do table.insert(texts, pair.key .. "=" .. pair.val) end
      return table.concat(texts, " ")
    end

    for what, tags in pairs({
      ["a tag that is there twice"] = { { "a", "1" }, { "a", "2" }, { "b", "3" } },
      ["a tag with a NUL in its key"] = { { "a", "1" }, { "b\0c", "2" }, { "d", "3" } },
    }) do
      it(what, function()
        local message = published(gateway, gateway:request("put_obj", { Tags = tags }))[1]
        local wanted = {}
        for _, tag in ipairs(tags) do table.insert(wanted, { key = tag[1], val = tag[2] }) end
        assert.equal(pairs_of(wanted), pairs_of(message.record.s3.object.tags))
      end)
    end

    it("a script that has walked over the maps itself, or calls twice", function()
      local metadata = { ["x-amz-meta-m"] = "3" }
      local request = gateway:request("put_obj", { Tags = { a = "1", b = "2" }, HTTP = { Metadata = metadata } })
      local script = ([[
        local nats = require("rgw_nats")
        for key, value in pairs(Request.Tags) do RGWDebugLog(tostring(key) .. value) end
        for n = 1, 2 do assert(nats.notify(Request, { url = %q, id = "rule" .. n })) end
      ]]):format(server:url())
      assert.same({ true }, { gateway:run(script, request) })
      assert.same({ "a1", "b2" }, gateway.log)
      helpers.publish_end(assert(nats.connect(server:url())))
      local messages = subscriber:messages("end")
      assert.equal(3, #messages)
      for n = 1, 2 do
        local object = json.decode(messages[n].payload).Records[1].s3.object
        assert.equal("a=1 b=2", pairs_of(object.tags))
        assert.equal("x-amz-meta-m=3", pairs_of(object.metadata))
      end
    end)

    it("what is no Request", function()
      local results
      local function script()
        results = {}
        for _, place in ipairs({ "HTTP", "Bucket", "Tags" }) do
          table.insert(results, table.pack(nats.notify(_G.Request[place], { url = server:url() })))
        end
      end
      assert.same({ true }, { gateway:run(script, gateway:request("put_obj")) })
      assert.equal(3, #results)
      for _, result in ipairs(results) do helpers.fails("bad_argument", table.unpack(result, 1, result.n)) end
    end)
  end)
end
