local helpers = require("helpers")
local nats = require("rgw_nats")
local json = require("dkjson")
local fails = helpers.fails

-- A request as a gateway shows it, in plain tables; `changes` replaces fields of its first level.
local function request(changes)
  local whole = {
    RGWOp = "put_obj",
    Id = "a164264a.4227.8864992342245288281",
    RGWId = "1083-default-default",
    Response = { HTTPStatusCode = 200 },
    ZoneGroup = { Name = "default" },
    Bucket = { Tenant = "acme", Name = "my.photos", Id = "a164264a.4229.1", User = { Id = "owner", Tenant = "acme" } },
    Object = { Name = "2026/a b.jpg", Instance = "version", Size = 11 },
    ObjectOwner = { User = { Id = "tester" } },
    HTTP = {
      Metadata = { ["x-amz-meta-a"] = "b", ["x-amz-date"] = "now", ["x-amz-security-token"] = "hunter2" },
      Parameters = {},
    },
    Tags = { k = "v" },
    Environment = { ["aws:EpochTime"] = "2026-11-22T07:18:54.450557123Z", ["aws:SourceIp"] = "192.0.2.1" },
  }
  for key, value in pairs(changes or {}) do whole[key] = value end
  return whole
end

describe("notify()", function()
  local server, subscriber

  -- Notifies, and returns the message that arrives, with its only record as `record`.
  local function notify(changes, options)
    options = options or {}
    options.url = server:url()
    assert.same({ true }, { nats.notify(request(changes), options) })
    local message = subscriber:next()
    local envelope = json.decode(message.payload)
    assert.equal(1, #envelope.Records)
    message.record = envelope.Records[1]
    return message
  end

  -- How many messages come of a request.
  local function messages(changes)
    assert.is_true(nats.notify(request(changes), { url = server:url() }))
    helpers.publish_end(assert(nats.connect(server:url())))
    return #subscriber:messages("end") - 1
  end

  setup(function()
    server = helpers.server()
    subscriber = server:subscribe("s3.>")
  end)
  teardown(helpers.stop)

  it("sends RGW's record of an operation, in RGW's order", function()
    local message = notify()
    assert.equal("s3.my%2Ephotos.ObjectCreated:Put", message.subject)
    assert.same({
      ["Content-Type"] = "application/json",
      ["Nats-Msg-Id"] = "a164264a.4227.8864992342245288281/ObjectCreated:Put/rgw_nats/a2989f2bb4528133",
      ["Rgw-Event"] = "ObjectCreated:Put", ["Rgw-Bucket"] = "my.photos", ["Rgw-Tenant"] = "acme",
      ["Rgw-Request-Id"] = "a164264a.4227.8864992342245288281",
    }, message.headers)
    local sequencer = message.record.s3.object.sequencer
    assert.matches("^" .. ("%x"):rep(16) .. "$", sequencer)
    assert.matches("^%d+%.%d%d%d%d%d%d%." .. sequencer .. "$", message.record.eventId)
    assert.equal(table.concat({
      '{"Records":[{"eventVersion":"2.2","eventSource":"ceph:s3","awsRegion":"",',
      '"eventTime":"2026-11-22T07:18:54.450557Z","eventName":"ObjectCreated:Put",',
      '"userIdentity":{"principalId":"tester"},"requestParameters":{"sourceIPAddress":"192.0.2.1"},',
      '"responseElements":{"x-amz-request-id":"a164264a.4227.8864992342245288281",',
      '"x-amz-id-2":"1083-default-default"},"s3":{"s3SchemaVersion":"1.0","configurationId":"rgw_nats",',
      '"bucket":{"name":"my.photos","ownerIdentity":{"principalId":"owner"},',
      '"arn":"arn:aws:s3::acme:my.photos","id":"a164264a.4229.1"},',
      '"object":{"key":"2026/a b.jpg","size":11,"eTag":"","versionId":"version","sequencer":"', sequencer, '",',
      '"metadata":[{"key":"x-amz-meta-a","val":"b"}],"tags":[{"key":"k","val":"v"}]}},',
      '"eventId":"', message.record.eventId, '","opaqueData":""}]}',
    }), message.payload)
  end)

  it("sends an event for each operation that changes an object", function()
    for operation, event in pairs({
      put_obj = "ObjectCreated:Put", post_obj = "ObjectCreated:Post", copy_obj = "ObjectCreated:Copy",
      complete_multipart = "ObjectCreated:CompleteMultipartUpload", delete_obj = "ObjectRemoved:Delete",
    }) do
      local message = notify({ RGWOp = operation })
      assert.equal(event, message.record.eventName)
      assert.equal("s3.my%2Ephotos." .. event, message.subject)
    end
  end)

  it("sends nothing for what failed, changed no object or is a part of an upload, and counts it", function()
    local before = nats.status().ignored
    for n, changes in ipairs({
      { Response = { HTTPStatusCode = 403 } }, { Response = { HTTPStatusCode = 301 } }, { Response = {} },
      { RGWOp = "get_obj" }, { RGWOp = "list_bucket" }, { RGWOp = "multi_object_delete", Object = false },
      { Object = {} }, { Object = false }, { HTTP = { Parameters = { uploadId = "u" } } },
    }) do
      assert.equal(0, messages(changes))
      assert.equal(before + n, nats.status().ignored)
    end
    assert.equal(1, messages())
    assert.equal(1, messages({ HTTP = { Parameters = { uploadId = "" } } }))
    assert.equal(before + 9, nats.status().ignored)
  end)

  it("sends an event for each key of a multi-object delete where the script runs for each", function()
    local ids = {}
    for _, key in ipairs({ "a", "b" }) do
      local message = notify({ RGWOp = "multi_object_delete", Object = { Name = key } })
      assert.equal("ObjectRemoved:Delete", message.record.eventName)
      assert.equal(key, message.record.s3.object.key)
      ids[#ids + 1] = message.headers["Nats-Msg-Id"]
    end
    assert.not_equal(ids[1], ids[2])
  end)

  it("is refused before the operation, where RGW's tables show that it is", function()
    local function native(table) return setmetatable(table, { __name = "RequestMeta" }) end
    local before = request({ Bucket = { Name = "my.photos" } })
    local text = fails("bad_request", nats.notify(native(before), { url = server:url() }))
    assert.matches("--context=postRequest", text, 1, true)
    assert.is_true(nats.notify(native(request()), { url = server:url() }))
    subscriber:next()
  end)

  it("asks for the tags of a bucket where a rule looks at them, and sends what may have them", function()
    local function sent(bucket, name)
      local configuration = { url = server:url(), filter = { bucket_tags = { team = "a" } }, name = name }
      assert.is_true(nats.notify(request({ Bucket = bucket }), configuration))
      helpers.publish_end(assert(nats.connect(server:url(), { name = name })))
      return #subscriber:messages("end") - 1
    end
    assert.equal(1, sent({ Name = "b", Tags = { team = "a", more = "x" } }, "tags-1"))
    assert.equal(0, sent({ Name = "b", Tags = { team = "b" } }, "tags-2"))
    assert.equal(1, sent({ Name = "b" }, "tags-3"))
    -- As 20.2 has it: a field that is not there raises.
    local asked
    local bucket = setmetatable({ Name = "b", Id = "1", Tenant = "", User = { Id = "u" } }, {
      __index = function(_, field)
        asked = field
        error("unknown field")
      end,
    })
    local native = setmetatable(request({ Bucket = bucket, ObjectOwner = { User = "u" } }), { __name = "Request" })
    assert.is_true(nats.notify(native, { url = server:url(), filter = { bucket_tags = { team = "a" } } }))
    assert.equal("Tags", asked)
    subscriber:next()
  end)

  it("leaves empty what the request does not tell", function()
    local message = notify({
      Id = false, RGWId = 7, ZoneGroup = false, Bucket = false, ObjectOwner = false, HTTP = false, Tags = false,
      Environment = false, Object = { Name = "k", Size = "large" },
    })
    local record = message.record
    assert.equal("", record.userIdentity.principalId)
    assert.equal("", record.s3.bucket.name)
    assert.equal(0, record.s3.object.size)
    assert.same({}, { table.unpack(record.s3.object.tags) })
    assert.equal("s3.-.ObjectCreated:Put", message.subject)
    local id = record.s3.object.sequencer .. "/ObjectCreated:Put/rgw_nats/dda91c1d194445be"
    assert.equal(id, message.headers["Nats-Msg-Id"])
    assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%d%d%d%dZ$", record.eventTime)
  end)

  it("gives each event a sequencer that is larger than all before it", function()
    local last = ""
    for _ = 1, 20 do
      local sequencer = notify().record.s3.object.sequencer
      assert.is_true(sequencer > last)
      last = sequencer
    end
  end)

  it("repairs what is no UTF-8 and keeps what is no text from breaking the JSON", function()
    local object = notify({ Object = { Name = "a\255\"\\\n\0b", Size = 1 } }).record.s3.object
    assert.equal("a\u{fffd}\"\\\n\0b", object.key)
  end)

  it("keeps a key that ends in NUL", function()
    assert.equal("a\0", notify({ Object = { Name = "a\0" } }).record.s3.object.key)
  end)

  it("reaches the server after an outage, each event once", function()
    local stream = helpers.stream("s3.>")
    for round = 1, 2 do
      stream:stop()
      for n = 1, 20 do
        assert.is_true(nats.notify(request({ Id = round .. "-" .. n }), { url = stream:url() }))
      end
      stream:start()
      assert.equal(round * 20, #stream:kept(round * 20))
    end
  end)

  describe("with the option", function()
    it("url: one server, several with commas, or a list", function()
      local away = "127.0.0.1:" .. helpers.port()
      for _, url in ipairs({ server:url(), away .. "," .. server:url(), { away, server:url() } }) do
        assert.is_true(nats.notify(request(), { url = url }))
        assert.is_truthy(subscriber:next())
      end
      assert.matches("url is missing", fails("bad_config", nats.notify(request(), {})))
      fails("bad_argument", nats.notify(request()))
      assert.matches("url must be a URL", fails("bad_config", nats.notify(request(), { url = 1 })))
    end)

    it("subject: a template, with every variable", function()
      for template, subject in pairs({
        ["s3.{zonegroup}"] = "s3.default", ["s3.{tenant}"] = "s3.acme", ["s3.{bucket}"] = "s3.my%2Ephotos",
        ["s3.{event}"] = "s3.ObjectCreated:Put", ["s3.{key}"] = "s3.2026.a%20b%2Ejpg", ["s3.{user}"] = "s3.tester",
        ["s3.{id}"] = "s3.rgw_nats", ["s3.x-{bucket}-y.{id}{event}"] = "s3.x-my%2Ephotos-y.rgw_natsObjectCreated:Put",
        ["s3.fixed"] = "s3.fixed",
      }) do
        assert.equal(subject, notify(nil, { subject = template }).subject)
      end
    end)

    it("subject: whatever a value is, it makes a legal token that can be read back", function()
      for value, token in pairs({
        [""] = "-", ["-"] = "%2D", ["*"] = "%2A", [">"] = "%3E", ["$SYS"] = "%24SYS", ["%"] = "%25", ["a b"] = "a%20b",
        ["\255"] = "%FF", ["größe"] = "größe", ["\r\0\n"] = "%0D%00%0A", ["a/b"] = "a%2Fb", ["."] = "%2E",
      }) do
        assert.equal("s3." .. token, notify({ Bucket = { Name = value } }, { subject = "s3.{bucket}" }).subject)
      end
      for key, tokens in pairs({ ["a/b/c"] = "a.b.c", ["/a//b/"] = "%2Fa%2F%2Fb%2F", ["a.b"] = "a%2Eb" }) do
        assert.equal("s3." .. tokens, notify({ Object = { Name = key } }, { subject = "s3.{key}" }).subject)
      end
    end)

    it("subject: a bad template is refused, whatever the request", function()
      for template, part in pairs({
        [""] = "empty token", ["a..b"] = "empty token", ["a b"] = "white space", ["a.*"] = "wildcard",
        ["{buckets}"] = "known are zonegroup, tenant, bucket, event, key, user, id", ["a.{bucket"] = "without }",
        [("x"):rep(1025)] = "longer than 1024", ["a\nb"] = "control character",
      }) do
        local message = fails("bad_config", nats.notify(request(), { url = server:url(), subject = template }))
        assert.matches(part, message, 1, true)
      end
    end)

    it("id: the record's configurationId and part of the message's id", function()
      local message = notify(nil, { id = "thumbnails", subject = "s3.{id}" })
      assert.equal("thumbnails", message.record.s3.configurationId)
      assert.equal("s3.thumbnails", message.subject)
      assert.matches("/ObjectCreated:Put/thumbnails/%x+$", message.headers["Nats-Msg-Id"])
    end)

    it("opaque_data: the record's opaqueData", function()
      assert.equal("größer \"x\"", notify(nil, { opaque_data = 'größer "x"' }).record.opaqueData)
    end)

    it("of connect(): it is the same option, and the same connection", function()
      local options = {
        name = helpers.name(), max_pending = 1, max_pending_bytes = 5000, connect_timeout_ms = 50, ack_timeout_ms = 60,
        idle_timeout_ms = 70000, exit_timeout_ms = 0,
      }
      local url = "nats://user:hunter2@127.0.0.1:" .. helpers.port()
      fails("bad_config", nats.notify(request(), { url = url }))
      options.allow_cleartext_secrets = true
      local connection = assert(nats.connect(url, options))
      options.url = url
      assert.is_true(nats.notify(request(), options))
      fails("queue_full", nats.notify(request(), options))
      assert.equal(1, connection:status().accepted)
      assert.equal(1, connection:status().rejected)
    end)
  end)

  it("tells all that is wrong at once, with the known key nearest to an unknown one", function()
    local message = fails("bad_config", nats.notify(request(), {
      ulr = "nats://h", id = 7, opaque_data = {}, subject = "a..b", max_pendig = 1, anything_else = 1,
      name = ("x"):rep(257),
    }))
    for _, part in ipairs({
      "url is missing", "unknown key ulr; did you mean url?", "unknown key max_pendig; did you mean max_pending?",
      "unknown key anything_else; known are", "id must be a string, got number",
      "opaque_data must be a string, got table", "a..b has an empty token", "name is longer than 256 bytes",
    }) do
      assert.matches(part, message, 1, true)
    end
  end)

  it("refuses what is no Request and no table of options with bad_argument", function()
    local options = { url = server:url() }
    for _, value in ipairs({ 1, "text", true, print, setmetatable({}, { __name = "BucketMeta" }) }) do
      fails("bad_argument", nats.notify(value, options))
      if type(value) ~= "table" and value ~= "text" then fails("bad_argument", nats.notify(request(), value)) end
    end
    fails("bad_argument", nats.notify())
  end)

  it("does not wait", function()
    local calls, start = 2000, os.clock()
    for _ = 1, calls do assert.is_true(nats.notify({ RGWOp = "list_bucket" }, { url = server:url() })) end
    assert.is_true((os.clock() - start) / calls < 0.001)
  end)
end)
