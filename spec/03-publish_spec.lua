local socket = require("socket")
local helpers = require("helpers")
local nats = require("rgw_nats")
local fails, wait_until = helpers.fails, helpers.wait_until


local MAX_PAYLOAD = 1 << 20 -- what a server takes if not told otherwise

describe("publish()", function()
  local server, subscriber, connection

  setup(function()
    server = helpers.server()
    subscriber = server:subscribe("a.>")
    connection = assert(nats.connect(server:url()))
  end)
  teardown(helpers.stop)

  it("sends subject and payload as they are", function()
    assert.same({ true }, { connection:publish("a.b", "payload") })
    assert.same({ subject = "a.b", headers = {}, payload = "payload" }, subscriber:next())
  end)

  it("sends an empty payload, given or not", function()
    assert.is_true(connection:publish("a.b", ""))
    assert.is_true(connection:publish("a.b"))
    assert.is_true(connection:publish("a.b", nil, { n = "1" }))
    assert.same({ subject = "a.b", headers = {}, payload = "" }, subscriber:next())
    assert.same({ subject = "a.b", headers = {}, payload = "" }, subscriber:next())
    assert.same({ subject = "a.b", headers = { n = "1" }, payload = "" }, subscriber:next())
  end)

  it("sends all bytes there are", function()
    local bytes = {}
    for byte = 0, 255 do bytes[#bytes + 1] = string.char(byte) end
    local payload = table.concat(bytes) .. "\r\nPUB a.b 1\r\nx\r\n\0"
    assert.is_true(connection:publish("a.b", payload))
    assert.is_true(connection:publish("a.b", payload, { n = "1" }))
    assert.equal(payload, subscriber:next().payload)
    assert.equal(payload, subscriber:next().payload)
  end)

  it("sends headers", function()
    local headers = {
      ["Nats-Msg-Id"] = "1", lower = "a: b", ["!#$%&'*+-.^_`|~09"] = "größe\t", empty = "", long = ("x"):rep(10000),
    }
    assert.is_true(connection:publish("a.b", "payload", headers))
    assert.same({ subject = "a.b", headers = headers, payload = "payload" }, subscriber:next())
    assert.is_true(connection:publish("a.b", "payload", {}))
    assert.same({ subject = "a.b", headers = {}, payload = "payload" }, subscriber:next())
  end)

  it("refuses headers that could not arrive as they are", function()
    for _, headers in ipairs({
      "text", 1, true, { "value" }, { [""] = "x" }, { ["a b"] = "x" }, { ["a:b"] = "x" }, { ["a\r\nb"] = "x" },
      { ["ä"] = "x" }, { a = 1 }, { a = true }, { a = {} }, { a = "b\nc" }, { a = "b\rc" }, { a = "b\0c" },
      { a = "\255" }, { a = { 1 } }, { a = { "x", "b\nc" } }, { a = { "x", {} } }, { a = { x = "y" } },
    }) do
      fails("bad_argument", connection:publish("a.b", "payload", headers))
    end
  end)

  it("takes any subject that NATS has", function()
    local subjects = { "a.$x", "a.größe", "a.%20:-_/", "a." .. ("x"):rep(3898) }
    for _, subject in ipairs(subjects) do
      assert.is_true(connection:publish(subject, "payload"))
      assert.equal(subject, subscriber:next().subject)
    end
  end)

  it("refuses other subjects with bad_subject", function()
    for _, subject in ipairs({
      "", ".", "a.", ".a", "a..b", "a b", "a\tb", "a\r\nb", "a\0b", "a\u{2028}b", "*", "a.*", ">", "a.>", "a*", "a>b",
      "a." .. ("x"):rep(3899),
    }) do
      fails("bad_subject", connection:publish(subject, "payload"))
    end
  end)

  it("refuses what is no text as subject or payload with bad_argument", function()
    for _, value in ipairs({ 1, true, {}, print, connection, "\255" }) do
      fails("bad_argument", connection:publish(value, "payload"))
      if value ~= "\255" then fails("bad_argument", connection:publish("a.b", value)) end
    end
    fails("bad_argument", connection:publish())
    assert.matches("the payload must be a string, got number", fails("bad_argument", connection:publish("a.b", 1)))
  end)

  it("keeps the order", function()
    local sent = {}
    for n = 1, 3000 do
      sent[n] = tostring(n)
      assert.is_true(connection:publish("a.b", sent[n], n % 3 == 0 and { n = sent[n] } or nil))
    end
    assert.same(sent, subscriber:payloads("3000"))
  end)

  it("delivers what was accepted after its handle is gone", function()
    assert(nats.connect(server:url(), { name = helpers.name(), idle_timeout_ms = 1 })):publish("a.b", "last")
    collectgarbage()
    assert.same({ "last" }, subscriber:payloads("last"))
  end)

  it("delivers to a user who may not have an inbox, and so gets no confirmation", function()
    local guarded = helpers.server([[
      no_auth_user: gateway
      authorization { users: [
        { user: gateway, password: a, permissions: { publish: "a.>", subscribe: "a.>" } }, { user: spec, password: b }
      ] }
    ]])
    local listener = guarded:subscribe("a.b", "spec", "b")
    local bounded = assert(nats.connect(guarded:url()))
    for n = 1, 3 do
      assert.is_true(bounded:publish("a.b", tostring(n)))
      listener:messages(tostring(n))
    end
    wait_until(function() return bounded:status().delivered == 3 end, "three delivered messages")
    assert.matches("_INBOX", bounded:status().last_error)
  end)

  it("loses, counts and tells what the server denies, and nothing else", function()
    local guarded = helpers.server([[
      no_auth_user: gateway
      authorization { users: [ { user: gateway, password: a, permissions: { publish: { deny: "a.b" } } } ] }
    ]])
    local denied = assert(nats.connect(guarded:url()))
    for _, subject in ipairs({ "a.b", "a.c", "a.b" }) do assert.is_true(denied:publish(subject, "payload")) end
    wait_until(function() return denied:status().pending == 0 end, "an empty queue")
    local status = denied:status()
    assert.same({ 1, 2, 1 }, { status.delivered, status.refused, status.connects })
    assert.matches("denied: .*a%.b", status.last_error)
  end)

  it("tells what is denied from what is not while batches follow one another", function()
    local guarded = helpers.server([[
      authorization { users: [
        { user: gateway, password: a, permissions: { publish: { deny: "denied.>" } } }, { user: spec, password: b }
      ] }
      no_auth_user: gateway
    ]])
    local listener = guarded:subscribe("allowed", "spec", "b")
    local busy = assert(nats.connect(guarded:url()))
    for n = 1, 30000 do
      -- As fast as the queue takes them, which is bounded.
      while not busy:publish(n % 1000 == 0 and "denied." .. n or "allowed", tostring(n)) do socket.sleep(0.001) end
    end
    wait_until(function() return busy:status().pending == 0 end, "an empty queue")
    local status = busy:status()
    assert.same({ 29970, 30, 1 }, { status.delivered, status.refused, status.connects })
    for n = 1, 30000 do
      if n % 1000 ~= 0 and listener:next().payload ~= tostring(n) then error(n .. " is missing") end
    end
  end)

  it("finds the one that the server does not take among thousands", function()
    local narrow = helpers.server("max_control_line: 512")
    for _, place in ipairs({ 1, 3000, 10000 }) do
      narrow:stop()
      local options = { name = helpers.name(), reconnect_wait_ms = 10, max_reconnect_wait_ms = 50 }
      local busy = assert(nats.connect(narrow:url(), options))
      -- All wait, so that batches are as large as they can be.
      for n = 1, 10000 do
        assert.is_true(busy:publish(n == place and ("long."):rep(120) .. "subject" or "a.b", tostring(n)))
      end
      narrow:start()
      wait_until(function() return busy:status().pending == 0 end, "an empty queue", 60)
      local status = busy:status()
      assert.same({ 9999, 1 }, { status.delivered, status.refused })
      assert.is_true(narrow:monitor("varz").in_msgs >= 9999)
    end
  end)

  describe("of a large payload", function()
    it("delivers what the server takes", function()
      local large = helpers.server("max_payload: 8MB")
      local listener = large:subscribe("a.b")
      local wide = assert(nats.connect(large:url()))
      for _, size in ipairs({ MAX_PAYLOAD, 7 * MAX_PAYLOAD }) do
        local payload = ("x"):rep(size - 4) .. "last"
        assert.is_true(wide:publish("a.b", payload, { size = tostring(size) }))
        local message = listener:next()
        assert.is_true(message.payload == payload)
        assert.same({ size = tostring(size) }, message.headers)
      end
    end)

    it("loses, counts and tells what the server does not take, and nothing else", function()
      local own = assert(nats.connect(server:url(), { name = helpers.name() }))
      assert.is_true(own:publish("a.b", "before"))
      assert.is_true(own:publish("a.b", ("x"):rep(MAX_PAYLOAD + 1)))
      assert.is_true(own:publish("a.b", ("x"):rep(MAX_PAYLOAD - 10), { name = "value" }))
      assert.is_true(own:publish("a.b", "last"))
      assert.same({ "before", "last" }, subscriber:payloads("last"))
      wait_until(function() return own:status().pending == 0 end, "an empty queue")
      local status = own:status()
      assert.same({ 4, 2, 2, 0, 1 },
        { status.accepted, status.delivered, status.refused, status.rejected, status.connects })
      assert.matches("too_large: a message of %d+ bytes to a.b; the server takes 1048576", status.last_error)
    end)

    it("delivers max_payload bytes", function()
      local own = assert(nats.connect(server:url(), { name = helpers.name() }))
      assert.is_true(own:publish("a.b", ("x"):rep(MAX_PAYLOAD)))
      assert.is_true(own:publish("a.b", "last"))
      assert.equal(2, #subscriber:messages("last"))
    end)

    it("is too_large when no server takes it", function()
      fails("too_large", connection:publish("a.b", ("x"):rep((64 << 20) + 1)))
    end)
  end)
end)

describe("a message", function()
  teardown(helpers.stop)

  local function publish(connection, from, to)
    for n = from, to do
      assert.is_true(connection:publish("a." .. n, tostring(n), { ["Nats-Msg-Id"] = tostring(n) }))
    end
  end

  local function each_once_and_in_order(stream, number)
    local kept = stream:kept(number)
    assert.equal(number, #kept)
    for n, message in ipairs(kept) do
      assert.same({ subject = "a." .. n, payload = tostring(n), headers = { ["Nats-Msg-Id"] = tostring(n) } }, message)
    end
  end

  it("that is published before there is a server arrives when there is one", function()
    local stream = helpers.stream("a.>")
    stream:stop()
    local connection = assert(nats.connect(stream:url()))
    publish(connection, 1, 50)
    assert.is_false(connection:status().connected)
    stream:start()
    each_once_and_in_order(stream, 50)
    wait_until(function() return connection:status().delivered == 50 end, "50 delivered messages")
  end)

  it("that is published while the server is restarted arrives afterwards", function()
    local stream = helpers.stream("a.>")
    local connection = assert(nats.connect(stream:url()))
    publish(connection, 1, 10)
    stream:kept(10)
    for round = 1, 2 do
      stream:stop()
      publish(connection, round * 10 + 1, round * 10 + 10)
      stream:start()
      stream:kept(round * 10 + 10)
    end
    each_once_and_in_order(stream, 30)
    assert.equal(3, connection:status().connects)
  end)

  it("that was sent and not confirmed is sent again with the same id", function()
    local stream = helpers.stream("a.>")
    local connection = assert(nats.connect(stream:url()))
    publish(connection, 1, 1)
    stream:kept(1)
    stream:pause()
    publish(connection, 2, 600)
    stream:stop()
    stream:start()
    each_once_and_in_order(stream, 600)
    local status = connection:status()
    assert.is_true(status.redelivered > 0)
    assert.equal(2, status.connects)
  end)
end)
