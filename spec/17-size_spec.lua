-- What happens to what is too large: smaller forms of an event, cut subjects, bounds.
local attempt = require("attempt")
local helpers = require("helpers")
local json = require("dkjson")
local nats = require("rgw_nats")
local fails = helpers.fails

local MAX_PAYLOAD = 2048
local MAX_SUBJECT = 3900

-- FNV-1a of 64 bits, as subjects that are cut end in it.
local function fnv(bytes)
  local hash = math.tointeger(-3750763034362895579)
  for byte in bytes:gmatch(".") do hash = (hash ~ byte:byte()) * 0x100000001b3 end
  return ("%016X"):format(hash)
end

local function request(metadata, tags, changes)
  local whole = {
    RGWOp = "put_obj", Id = helpers.name(), Response = { HTTPStatusCode = 200 }, Bucket = { Name = "b" },
    Object = { Name = "k" }, Tags = { tag = tags and ("t"):rep(tags) },
    HTTP = { Method = "PUT", Metadata = { ["x-amz-meta-m"] = metadata and ("m"):rep(metadata) } },
  }
  for key, value in pairs(changes or {}) do whole[key] = value end
  return whole
end

-- What a server counts against max_payload.
local function size(message)
  local bytes = #"NATS/1.0\r\n\r\n" + #message.payload
  for name, value in pairs(message.headers) do bytes = bytes + #name + #": \r\n" + #value end
  return bytes
end

-- Which parts of a record are there.
local function parts(message)
  local envelope = json.decode(message.payload)
  local object = (envelope.data or envelope).Records[1].s3.object
  return { metadata = #object.metadata, tags = #object.tags, missing = message.headers["Rgw-Incomplete"] }
end

-- Requests by their metadata and tags, and what is left of them within MAX_PAYLOAD.
local CASES = {
  { 10, 10, { metadata = 1, tags = 1 } },
  { 10, 2000, { metadata = 1, tags = 0, missing = "tags" } },
  { 2000, 10, { metadata = 0, tags = 0, missing = "metadata,tags" } },
  { 2000, nil, { metadata = 0, tags = 0, missing = "metadata" } },
  { nil, 2000, { metadata = 0, tags = 0, missing = "tags" } },
  { 2000, 2000, { metadata = 0, tags = 0, missing = "metadata,tags" } },
}

describe("an event that is larger than the server takes", function()
  local server, subscriber
  setup(function()
    server = helpers.server("max_payload: " .. MAX_PAYLOAD)
    subscriber = server:subscribe("s3.>")
  end)
  teardown(helpers.stop)

  for when, is_up in pairs({ ["while the connection is up"] = true, ["before it is up"] = false }) do
    it("goes out without tags and then without metadata, and says so, accepted " .. when, function()
      for _, format in ipairs({ "s3", "cloudevents", "cloudevents-structured" }) do
        local options = { url = server:url(), format = format, name = helpers.name(), idle_timeout_ms = 100 }
        local held = assert(nats.connect(server:url(), { name = options.name, idle_timeout_ms = 100 }))
        attempt.succeeds(held)
        for _, case in ipairs(CASES) do
          -- The first event of an endpoint is accepted before there is a connection.
          if not is_up then options.name = helpers.name() end
          assert.is_true(nats.notify(request(case[1], case[2]), options))
          local message = subscriber:next()
          assert.same(case[3], parts(message))
          assert.is_true(size(message) <= MAX_PAYLOAD)
        end
        held:close()
      end
    end)
  end

  it("is as large as it can be: the bound is the server's, to the byte", function()
    local options = { url = server:url(), name = helpers.name() }
    attempt.succeeds(assert(nats.connect(server:url(), { name = options.name })))
    local first, last
    for tags = 700, 1500 do
      assert.is_true(nats.notify(request(nil, tags, { Id = "always the same" }), options))
      local message = subscriber:next()
      if message.headers["Rgw-Incomplete"] then
        first = first or tags
      else
        assert.is_nil(first)
        last = size(message)
      end
    end
    -- The one after the last whole one would have been a byte too large.
    assert.equal(MAX_PAYLOAD, last)
    assert.is_truthy(first)
  end)

  it("is refused, counted and told if nothing suffices; the others are not affected", function()
    local options = { url = server:url(), name = helpers.name() }
    local connection = assert(nats.connect(server:url(), { name = options.name }))
    attempt.succeeds(connection)
    local long = { Object = { Name = ("k"):rep(2048) } }
    for _, changes in ipairs({ {}, long, {} }) do assert.is_true(nats.notify(request(10, 10, changes), options)) end
    for _ = 1, 2 do assert.equal("k", json.decode(subscriber:next().payload).Records[1].s3.object.key) end
    local status = attempt.wait(connection, function(status) return status.pending == 0 end, "an empty queue")
    assert.same({ 3, 1 }, { status.delivered, status.refused })
    assert.matches("too_large: a message of %d+ bytes to s3.b.ObjectCreated:Put; the server takes 2048",
      status.last_error)
  end)

  it("costs no other message its life when the server takes less than before", function()
    local shrinking = helpers.server("max_payload: 8192")
    local heard = shrinking:subscribe("s3.>")
    local options = { url = shrinking:url(), name = helpers.name() }
    local connection = assert(nats.connect(shrinking:url(), { name = options.name }))
    attempt.succeeds(connection)
    shrinking:reload("max_payload: " .. MAX_PAYLOAD)
    local reloaded = "Reloaded server configuration"
    helpers.wait_until(function() return shrinking:log():find(reloaded, 1, true) end, reloaded)
    -- A connection is told of the bound when it begins. The server ends it for this, with an event on its way.
    local question = assert(connection:request_async("nobody", ("x"):rep(3000), { timeout_ms = 5000 }))
    assert.is_true(nats.notify(request(10, 10), options))
    assert.same({ metadata = 1, tags = 1 }, parts(heard:next()))
    fails("disconnected", question:wait(10000))
    -- The next one knows of the bound.
    assert.is_true(nats.notify(request(3000, 10), options))
    assert.same({ metadata = 0, tags = 0, missing = "metadata,tags" }, parts(heard:next()))
    local status = attempt.wait(connection, function(status) return status.pending == 0 end, "an empty queue")
    assert.same({ 3, 0 }, { status.delivered, status.refused })
  end)

  it("counts with its smaller forms as long as nobody knows what the server takes", function()
    local function pending(metadata, tags)
      local options = { url = "127.0.0.1:" .. helpers.port(), exit_timeout_ms = 0, name = helpers.name() }
      assert.is_true(nats.notify(request(metadata, tags), options))
      options.url = nil
      for _, connection in ipairs(nats.status().connections) do
        if connection.name == options.name then return connection.pending_bytes end
      end
    end
    local bare, one, both = pending(nil, nil), pending(1000, nil), pending(1000, 1000)
    assert.is_true(one > 2 * bare + 1000 and one < 2 * bare + 1200)
    assert.is_true(both > 3 * bare + 3000 and both < 3 * bare + 3400)
  end)

  it("is too_large at once if its cost alone is over max_pending_bytes", function()
    local options = { url = server:url(), max_pending_bytes = 4000, name = helpers.name() }
    assert.is_true(nats.notify(request(), options))
    assert.matches("max_pending_bytes is 4000", fails("too_large", nats.notify(request(8000), options)))
    local connection = assert(nats.connect(server:url(), { max_pending_bytes = 4000, name = options.name }))
    fails("too_large", connection:publish("a", ("x"):rep(4000)))
    assert.equal(2, connection:status().rejected)
    attempt.succeeds(connection)
  end)
end)

describe("a record", function()
  local server, subscriber
  setup(function()
    server = helpers.server()
    subscriber = server:subscribe("s3.>")
  end)
  teardown(helpers.stop)

  it("says when a request had more metadata or tags than are kept", function()
    local function many(count, prefix)
      local map = {}
      for n = 1, count do map[prefix .. n] = "v" end
      return map
    end
    for _, case in ipairs({
      { 256, 256, nil }, { 257, 256, "metadata" }, { 256, 257, "tags" }, { 300, 300, "metadata,tags" },
    }) do
      local changes = { Tags = many(case[2], "t"), HTTP = { Method = "PUT", Metadata = many(case[1], "x-amz-meta-") } }
      assert.is_true(nats.notify(request(nil, nil, changes), { url = server:url() }))
      assert.same({ metadata = math.min(case[1], 256), tags = math.min(case[2], 256), missing = case[3] },
        parts(subscriber:next()))
    end
    assert.is_true(nats.notify(request(65500, 70000), { url = server:url() }))
    assert.same({ metadata = 1, tags = 0, missing = "tags" }, parts(subscriber:next()))
  end)
end)

describe("a subject that would be too long", function()
  local server, subscriber
  setup(function()
    server = helpers.server()
    subscriber = server:subscribe("s3.>")
  end)
  teardown(helpers.stop)

  local function subject(template, changes, id)
    local configuration = { url = server:url(), subject = template, id = id }
    assert.is_true(nats.notify(request(nil, nil, changes), configuration))
    return subscriber:next().subject
  end

  -- What escaped bytes were.
  local function plain(token)
    return (token:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
  end

  it("has variables of 512 bytes at most, which end in the hash of the whole value", function()
    for _, letters in ipairs({ ("u"):rep(513), ("u"):rep(8000), ("."):rep(171), ("ü"):rep(300) }) do
      local token = subject("s3.{user}.x", { ObjectOwner = { User = { Id = letters } } }):match("^s3%.(.*)%.x$")
      local kept, hash = token:match("^(.*)%%~(%x+)$")
      assert.is_true(#token <= 512 and #token > 505, #token)
      assert.equal(fnv(letters), hash)
      assert.equal(plain(kept), letters:sub(1, #plain(kept)))
    end
    for _, letters in ipairs({ ("u"):rep(512), ("."):rep(170), ("ü"):rep(256) }) do
      local whole = subject("s3.{user}.x", { ObjectOwner = { User = { Id = letters } } })
      assert.equal("s3." .. letters:gsub("%.", "%%2E") .. ".x", whole)
    end
    local id = ("i."):rep(128)
    assert.equal("s3." .. id:gsub("%.", "%%2E"), subject("s3.{id}", nil, id))
  end)

  it("has as much of the key as the rest leaves, and its hash", function()
    local function cut(template, key)
      local found = subject(template, { Object = { Name = key }, ObjectOwner = { User = { Id = ("u"):rep(600) } } })
      assert.is_true(#found <= MAX_SUBJECT and #found > MAX_SUBJECT - 16, #found)
      return found
    end
    local key = ("a/"):rep(3000)
    local kept, hash = cut("s3.{key}", key):match("^s3%.(.*)%%~(%x+)$")
    assert.equal(fnv(key), hash)
    assert.equal(key:sub(1, #kept), (kept:gsub("%.", "/")))
    assert.matches("%%~" .. fnv(key) .. "%.u+%%~%x+$", cut("s3.{key}.{user}", key))
    -- Each of two keys has its half.
    local one, other = cut("s3.{key}.{key}", key):match("^s3%.(.*%%~%x+)%.(.*%%~%x+)$")
    assert.equal(one, other)
  end)

  it("differs from that of another value, however much they have in common", function()
    local seen = {}
    for n = 1, 50 do
      local found = subject("s3.{key}", { Object = { Name = ("k"):rep(5000) .. n } })
      assert.is_nil(seen[found])
      seen[found] = true
    end
  end)

  it("is what no key that S3 allows makes of the bucket, the event and the key", function()
    for _, letter in ipairs({ "\255", ".", "k" }) do
      local changes = { Bucket = { Name = ("."):rep(63) }, Object = { Name = letter:rep(1024) } }
      assert.is_nil(subject("s3.{bucket}.{event}.{key}", changes):find("%~", 1, true))
    end
  end)

  it("is refused as a template if 256 bytes could not be left to the key", function()
    for _, template in ipairs({ ("{key}"):rep(16), ("{user}"):rep(8), ("{user}"):rep(7) .. "{key}{key}" }) do
      local message = fails("bad_config", nats.notify(request(), { url = server:url(), subject = template }))
      assert.matches("can get longer than the 3900 bytes of a subject", message, 1, true)
    end
    for _, template in ipairs({ ("{key}"):rep(15), ("{user}"):rep(7) .. "{key}" }) do
      assert.is_true(nats.notify({ RGWOp = "list_bucket" }, { url = server:url(), subject = template }))
    end
  end)

  it("is not cut within an escape", function()
    for lead = 0, 12 do
      local key = ("x"):rep(lead) .. ("ü."):rep(1500)
      local kept = subject("s3.{key}", { Object = { Name = key } }):match("^s3%.(.*)%%~%x+$")
      assert.equal(key:sub(1, #plain(kept)), plain(kept))
    end
  end)
end)
