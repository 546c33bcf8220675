local helpers = require("helpers")
local nats = require("rgw_nats")
local json = require("dkjson")
local fails, wait_until = helpers.fails, helpers.wait_until

-- The part of status() that is about the connection of this name.
local function listed(name)
  for _, connection in ipairs(nats.status().connections) do
    if connection.name == name then return connection end
  end
end

describe("status()", function()
  teardown(helpers.stop)

  it("tells of a process that has done nothing yet", function()
    local run = helpers.run([[
      local status = require("rgw_nats").status()
      for key, value in pairs(status) do print(key, type(value), key == "connections" and next(value) or value) end
    ]])
    assert.matches("version\tstring\t" .. nats._VERSION:match("%S+$"), run.out, 1, true)
    assert.matches("ignored\tnumber\t0", run.out, 1, true)
    assert.matches("connections\ttable\t", run.out, 1, true)
    assert.equal("", run.err)
  end)

  it("has each open connection, in the order of the URLs, as the connection tells it itself", function()
    local held = {}
    for _ = 1, 3 do
      local options = { name = helpers.name(), exit_timeout_ms = 0, max_pending = 1 }
      local connection = assert(nats.connect("127.0.0.1:" .. helpers.port(), options))
      assert.is_true(connection:publish("a", "payload"))
      fails("queue_full", connection:publish("a", "payload"))
      held[#held + 1] = connection
    end
    for _, connection in ipairs(held) do
      local own = connection:status()
      local status = listed(own.name)
      -- These change by themselves while a server is looked for.
      own.last_error, status.last_error = nil, nil
      assert.same(own, status)
    end
    local urls = {}
    for n, connection in ipairs(nats.status().connections) do urls[n] = connection.url end
    local sorted = { table.unpack(urls) }
    table.sort(sorted)
    assert.same(sorted, urls)
  end)

  it("is a copy", function()
    local connection = assert(nats.connect("127.0.0.1:" .. helpers.port()))
    connection:status().accepted = 7
    nats.status().connections[1] = nil
    assert.equal(0, connection:status().accepted)
    assert.is_truthy(nats.status().connections[1])
  end)

  it("takes no notice of arguments", function()
    assert.is_truthy(nats.status(1, {}, print).version)
  end)
end)

describe("connection:status()", function()
  local server
  setup(function() server = helpers.server() end)
  teardown(helpers.stop)

  it("follows a connection from its beginning, through an outage", function()
    server:stop()
    local options = { name = helpers.name(), max_pending = 2 }
    local connection = assert(nats.connect(server:url(), options))
    assert.is_true(connection:publish("a.b", "payload"))
    assert.is_true(connection:publish("a.b", ("x"):rep(2 << 20)))
    fails("queue_full", connection:publish("a.b", "payload"))
    -- Which of the two troubles is the last one is a matter of time: there are ever more attempts.
    wait_until(function() return not connection:status().last_error:match("queue_full") end, "an attempt that failed")
    local status = connection:status()
    assert.is_true(status.pending_bytes > 2 << 20)
    status.pending_bytes, status.last_error = nil, nil
    assert.same({
      url = server:url(), name = options.name, connected = false, connects = 0, server = "", pending = 2, accepted = 2,
      delivered = 0, redelivered = 0, rejected = 1, refused = 0, retried = 0, dropped = 0, login_expires_ms = 0,
      letters = 0, letters_lost = 0, warnings = {}, spool = {},
    }, status)

    server:start()
    wait_until(function() return connection:status().pending == 0 end, "an empty queue")
    status = connection:status()
    assert.matches("too_large", status.last_error)
    status.last_error = nil
    assert.same({
      url = server:url(), name = options.name, connected = true, connects = 1, server = server.name, pending = 0,
      pending_bytes = 0, accepted = 2, delivered = 1, redelivered = 0, rejected = 1, refused = 1, retried = 0,
      dropped = 0, login_expires_ms = 0, letters = 0, letters_lost = 0, warnings = {}, spool = {},
    }, status)

    server:stop()
    wait_until(function() return not connection:status().connected end, "the lost connection")
    assert.equal(1, connection:status().connects)
    server:start()
    wait_until(function() return connection:status().connected end, "the next connection")
    assert.equal(2, connection:status().connects)
  end)

  it("has whole numbers, which Lua prints without a fraction", function()
    for key, value in pairs(assert(nats.connect("127.0.0.1:" .. helpers.port())):status()) do
      if type(value) == "number" then assert.equal("integer", math.type(value), key) end
    end
  end)

  it("keeps the last trouble after it is over", function()
    local guarded = helpers.server("authorization { token: hunter2 }")
    local connection = assert(nats.connect(guarded:url()))
    assert.is_true(connection:publish("a.b", "payload"))
    wait_until(function() return connection:status().last_error ~= "" end, "the server's no")
    guarded:stop()
    guarded.configuration = ""
    guarded:start()
    wait_until(function() return connection:status().delivered == 1 end, "the delivery")
    assert.not_equal("", connection:status().last_error)
  end)

  it("names the server as soon as the connection is up", function()
    local connection = assert(nats.connect(server:url(), { name = helpers.name() }))
    wait_until(function() return connection:status().connected end, "the connection")
    assert.equal(server.name, connection:status().server)
  end)

  it("names the server that it is with after another was lost", function()
    local one, other = helpers.server(), helpers.server()
    local connection = assert(nats.connect({ one:url(), other:url() }, { name = helpers.name() }))
    assert.is_true(connection:publish("a", "b"))
    wait_until(function() return connection:status().delivered == 1 end, "the delivery")
    if connection:status().server == other.name then one, other = other, one end
    one:stop()
    wait_until(function() return connection:status().connects == 2 end, "the next connection")
    assert.equal(other.name, connection:status().server)
  end)
end)

describe("a secret", function()
  teardown(helpers.stop)

  it("is in no status, text, error or log", function()
    local guarded = helpers.server("authorization { user: alice, password: another }")
    local run = helpers.run([[
      local nats, json, socket = require("rgw_nats"), require("dkjson"), require("socket")
      local results = {}
      local function call(f, ...)
        local all = table.pack(f(...))
        for n = 1, all.n do results[#results + 1] = tostring(all[n]) end
      end
      for _, url in ipairs(arg) do
        local options = { allow_cleartext_secrets = true, max_pending = 1, exit_timeout_ms = 0 }
        call(nats.connect, url)
        call(nats.connect, url, { nothing = 1 })
        call(nats.connect, { url, "http://hunter2@h" }, options)
        call(nats.notify, { RGWOp = "put_obj" }, { url = url })
        local connection = nats.connect(url, options)
        if connection then
          for _ = 1, 2 do call(connection.publish, connection, "a", "b") end
          local limit = socket.gettime() + 5
          local function tried() return not connection:status().last_error:find("queue_full") end
          repeat socket.sleep(0.01) until tried() or socket.gettime() > limit
          call(json.encode, connection:status())
          call(connection.publish, connection, "a", "b")
          call(json.encode, connection:status())
        end
      end
      call(json.encode, nats.status())
      print(table.concat(results, "\n"))
      error(tostring(nats.connect(arg[1], { allow_cleartext_secrets = true })))
    ]], {
      guarded:url("alice:hunter2"), guarded:url("hunter2"), "nats://alice:hunter2@127.0.0.1:" .. helpers.port(),
      "tls://hunter2@127.0.0.1:" .. helpers.port(), "nats://a:hunter2@127.0.0.1:port", "http://a:hunter2@h",
      "nats://a b:hunter2@[::x", "alice:hunter2@127.0.0.1:" .. helpers.port(), "nats://a:hunter2@",
    })
    assert.matches("authorization violation", run.out)
    assert.matches("queue_full", run.out)
    assert.matches("allow_cleartext_secrets", run.out)
    assert.matches("malformed", run.out)
    assert.matches("127.0.0.1", run.err, 1, true)
    for _, text in ipairs({ run.out, run.err }) do
      assert.is_nil(text:find("hunter2", 1, true))
      assert.is_nil(text:find("alice", 1, true))
    end
    assert.is_nil(json.encode(nats.status()):find("hunter2", 1, true))
  end)
end)
