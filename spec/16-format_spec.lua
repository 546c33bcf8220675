-- What an event looks like to a consumer: formats, headers, the encoding of keys, traces, deletes.
local helpers = require("helpers")
local json = require("dkjson")
local nats = require("rgw_nats")

local PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

local function request(changes)
  local whole = {
    RGWOp = "put_obj", Id = "z.1.2", RGWId = "1083-a-b", Response = { HTTPStatusCode = 200 },
    ZoneGroup = { Name = "zg" }, Bucket = { Name = "photos" }, Object = { Name = "in/a b%.jpg", Size = 11 },
    HTTP = { Method = "PUT", Metadata = {} }, Environment = { ["aws:EpochTime"] = "2026-11-22T07:18:54.450557123Z" },
  }
  for key, value in pairs(changes or {}) do whole[key] = value end
  return whole
end

local function percent(bytes)
  return (bytes:gsub(".", function(byte) return ("%%%02X"):format(byte:byte()) end))
end

describe("an event", function()
  local server, subscriber
  setup(function()
    server = helpers.server()
    subscriber = server:subscribe("s3.>")
  end)
  teardown(helpers.stop)

  -- Notifies, and returns the message that arrives, with what its payload is as `event` and the record as `record`.
  local function sent(changes, configuration)
    configuration = configuration or {}
    configuration.url = server:url()
    assert.is_true(nats.notify(request(changes), configuration))
    local message = subscriber:next()
    message.event = json.decode(message.payload)
    message.record = (message.event.data or message.event).Records[1]
    return message
  end

  it("says in its headers what it is", function()
    assert.same({
      ["Nats-Msg-Id"] = "z.1.2/ObjectCreated:Put/rgw_nats/214176ca94f51411", ["Content-Type"] = "application/json",
      ["Rgw-Event"] = "ObjectCreated:Put", ["Rgw-Bucket"] = "photos", ["Rgw-Request-Id"] = "z.1.2",
    }, sent().headers)
    local headers = sent({ Bucket = { Name = "größe", Tenant = "acme" }, RGWOp = "copy_obj" }).headers
    assert.equal("acme", headers["Rgw-Tenant"])
    assert.equal("größe", headers["Rgw-Bucket"])
    assert.equal("ObjectCreated:Copy", headers["Rgw-Event"])
    local anonymous = sent({ Id = "" })
    assert.equal(anonymous.record.s3.object.sequencer, anonymous.headers["Rgw-Request-Id"])
  end)

  it("can't get a header of its own by what it is called", function()
    local headers = sent({ Bucket = { Name = "b\r\nEvil: yes", Tenant = "t\nEvil: yes" }, Id = "i\rEvil: yes" }).headers
    assert.is_nil(headers.Evil)
    assert.equal("b  Evil: yes", headers["Rgw-Bucket"])
    assert.equal("t Evil: yes", headers["Rgw-Tenant"])
  end)

  describe("in the format", function()
    local attributes = {
      specversion = "1.0", id = "z.1.2/ObjectCreated:Put/rgw_nats/214176ca94f51411", source = "ceph:s3..photos",
      type = "com.amazonaws.ObjectCreated:Put", subject = "in/a b%.jpg", time = "2026-11-22T07:18:54.450557Z",
      datacontenttype = "application/json",
    }

    -- What differs from one event to the next.
    local function without_numbers(payload)
      return (payload:gsub('"sequencer":"%x+"', ""):gsub('"eventId":"[^"]*"', ""))
    end

    it("cloudevents is the record with the attributes as headers, in printable ASCII", function()
      local message, plain = sent(nil, { format = "cloudevents" }), sent(nil, { format = "s3" })
      assert.equal(without_numbers(plain.payload), without_numbers(message.payload))
      local wanted = {}
      for name, value in pairs(plain.headers) do wanted[name] = value end
      for name, value in pairs(attributes) do wanted["ce-" .. name] = value end
      wanted["ce-subject"] = "in/a%20b%25.jpg"
      assert.same(wanted, message.headers)
      local letters = {}
      for byte = 0, 127 do letters[#letters + 1] = string.char(byte) end
      local key = table.concat(letters) .. "ü"
      local subject = sent({ Object = { Name = key } }, { format = "cloudevents" }).headers["ce-subject"]
      assert.equal((key:gsub('[^!#-$&-~]', percent)), subject)
    end)

    it("cloudevents-structured is a CloudEvent with the record in it", function()
      local message = sent(nil, { format = "cloudevents-structured" })
      assert.equal("application/cloudevents+json", message.headers["Content-Type"])
      local plain = sent(nil)
      local data = message.payload:match('"data":(.-),"datacontenttype"')
      assert.equal(without_numbers(plain.payload), without_numbers(data))
      message.event.data = nil
      assert.same(attributes, setmetatable(message.event, nil))
      plain.headers["Content-Type"] = message.headers["Content-Type"]
      assert.same(plain.headers, message.headers)
    end)

    it("of CloudEvents has the same id, whatever the attempt, and others for other requests", function()
      local id = sent({ Id = "z.7" }, { format = "cloudevents" }).headers["ce-id"]
      assert.equal(id, sent({ Id = "z.7" }, { format = "cloudevents" }).headers["ce-id"])
      assert.not_equal(id, sent({ Id = "z.8" }, { format = "cloudevents" }).headers["ce-id"])
    end)
  end)

  it("has its key as it is, or as AWS writes it", function()
    local letters = {}
    for byte = 1, 127 do letters[#letters + 1] = string.char(byte) end
    local key = table.concat(letters) .. "/größe/a+b c"
    local aws = key:gsub("[^%w/%-_.* ]", percent):gsub(" ", "+")
    for encoding, written in pairs({ raw = key, aws = aws }) do
      local given = { key_encoding = encoding, format = "cloudevents-structured" }
      local message = sent({ Object = { Name = key } }, given)
      assert.equal(written, message.record.s3.object.key)
      assert.equal(written, message.event.subject)
      assert.equal(encoding == "aws" and "aws" or nil, message.headers["Rgw-Key-Encoding"])
    end
    assert.equal("a%FF", sent({ Object = { Name = "a\255" } }, { key_encoding = "aws" }).record.s3.object.key)
    -- Filters and subjects are about the key itself.
    local given = { key_encoding = "aws", filter = { prefix = "a b" }, subject = "s3.{key}" }
    assert.equal("s3.a%20b", sent({ Object = { Name = "a b" } }, given).subject)
  end)

  describe("of a traced request", function()
    local function traced(parent, state)
      local metadata = { ["x-amz-meta-traceparent"] = parent, ["x-amz-meta-tracestate"] = state }
      local headers = sent({ HTTP = { Method = "PUT", Metadata = metadata } }).headers
      return { headers.traceparent or "none", headers.tracestate or "none" }
    end

    it("goes on with the trace", function()
      assert.same({ PARENT, "none" }, traced(PARENT))
      assert.same({ PARENT, "a=b,c@d=e f" }, traced(PARENT, "a=b,c@d=e f"))
      assert.same({ PARENT, ("a"):rep(512) }, traced(PARENT, ("a"):rep(512)))
    end)

    it("has no header of what is none", function()
      for _, parent in ipairs({
        "", "x", PARENT:upper(), PARENT .. "-00", PARENT:sub(1, -2), "01" .. PARENT:sub(3), "ff" .. PARENT:sub(3),
        PARENT:gsub("-", "_"), PARENT .. "\n", PARENT:gsub("a", "g"),
      }) do
        assert.same({ "none", "none" }, traced(parent, "a=b"))
      end
      for _, state in ipairs({ "a=b\nEvil: yes", "ü", ("a"):rep(513), "\0" }) do
        assert.same({ PARENT, "none" }, traced(PARENT, state))
      end
      assert.same({ "none", "none" }, traced(nil, "a=b"))
    end)

    it("has no header of a trace or span of zeros", function()
      for _, part in ipairs({ "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331" }) do
        assert.same({ "none", "none" }, traced((PARENT:gsub(part, ("0"):rep(#part)))))
      end
    end)
  end)

  describe("of a delete", function()
    local function event(versioned, changes, events)
      local whole = { RGWOp = "delete_obj", Response = { HTTPStatusCode = 204 } }
      for key, value in pairs(changes or {}) do whole[key] = value end
      local message = sent(whole, { versioned = versioned, events = events, subject = "s3.{event}" })
      assert.equal("s3." .. message.record.eventName, message.subject)
      assert.equal(message.record.eventName, message.headers["Rgw-Event"])
      assert.matches("/" .. message.record.eventName .. "/", message.headers["Nats-Msg-Id"], 1, true)
      return message.record.eventName
    end
    local DELETE, MARKER = "ObjectRemoved:Delete", "ObjectRemoved:DeleteMarkerCreated"

    it("is a delete marker where the bucket is versioned and no version is named", function()
      for _, versioned in ipairs({ "photos", "p*", "*", { "x", "photo?" }, "{a,photos}" }) do
        assert.equal(MARKER, event(versioned))
        assert.equal(DELETE, event(versioned, { Object = { Name = "k", Instance = "v1" } }))
        assert.equal(MARKER, event(versioned, { Object = { Name = "k", Instance = "" } }))
      end
      for _, versioned in ipairs({ "photo", "p", {}, { "x" }, "PHOTOS" }) do
        assert.equal(DELETE, event(versioned))
      end
      assert.equal(DELETE, event(nil))
    end)

    it("is asked for by name or kind, and in RGW's own events", function()
      for _, events in ipairs({ { "s3:ObjectRemoved:*" }, { "s3:" .. MARKER }, { MARKER, "ObjectCreated:*" }, {} }) do
        assert.equal(MARKER, event("photos", nil, events))
      end
      local ignored = nats.status().ignored
      local delete = request({ RGWOp = "delete_obj", Response = { HTTPStatusCode = 204 } })
      local given = { url = server:url(), versioned = "photos", events = { "s3:" .. DELETE } }
      assert.is_true(nats.notify(delete, given))
      given.events, given.versioned = { "s3:" .. MARKER }, "other"
      assert.is_true(nats.notify(delete, given))
      assert.equal(ignored + 2, nats.status().ignored)
    end)

    it("of many objects is counted, and said once", function()
      local run = helpers.run([[
        local nats = require("rgw_nats")
        local function delete(status, operation)
          assert(nats.notify({ RGWOp = operation or "multi_object_delete", Response = { HTTPStatusCode = status } },
            { url = arg[1], exit_timeout_ms = 0 }))
        end
        for _ = 1, 3 do delete(200) end
        delete(403)
        delete(204, "delete_obj")
        local status = nats.status()
        io.write(status.multi_deletes, " ", status.ignored, " ", #status.connections)
      ]], { server:url() })
      assert.equal("3 5 0", run.out)
      assert.equal(1, select(2, run.err:gsub("a multi%-object delete is not notified of", "")))
    end)
  end)
end)
