local helpers = require("helpers")
local nats = require("rgw_nats")
local socket = require("socket")
local fails, wait_until = helpers.fails, helpers.wait_until


-- Waits for the server's confirmation of so many messages.
local function delivered(connection, number)
  wait_until(function() return connection:status().delivered == number end, number .. " delivered messages", 5)
end

describe("connect()", function()
  local server
  setup(function() server = helpers.server() end)
  teardown(helpers.stop)

  it("does not wait for a server", function()
    local silent, port = helpers.listener()
    local start = socket.gettime()
    local connection = assert(nats.connect("127.0.0.1:" .. port, { exit_timeout_ms = 0 }))
    assert.is_true(connection:publish("a", "b"))
    assert.is_true(socket.gettime() - start < 0.5)
    assert.is_false(connection:status().connected)
    silent:close()
  end)

  it("takes a URL with or without a scheme", function()
    for _, url in ipairs({ server:url(), "127.0.0.1:" .. server.port }) do
      local connection = assert(nats.connect(url))
      assert.is_true(connection:publish("a", "b"))
      assert.equal("rgw_nats.connection: " .. server:url(), tostring(connection))
      assert.equal(server:url(), connection:status().url)
    end
  end)

  it("takes servers as text with commas and as a list, and finds the one that is there", function()
    local away = "nats://127.0.0.1:" .. helpers.port()
    for _, servers in ipairs({ away .. " , " .. server:url(), { away, server:url() } }) do
      local connection = assert(nats.connect(servers, { name = helpers.name() }))
      assert.equal(away .. "," .. server:url(), connection:status().url)
      assert.is_true(connection:publish("a", "b"))
      delivered(connection, 1)
      assert.equal(server.name, connection:status().server)
    end
  end)

  it("tries servers in their order", function()
    local other = helpers.server()
    for _, pair in ipairs({ { server, other }, { other, server }, { server, other }, { other, server } }) do
      local connection = assert(nats.connect({ pair[1]:url(), pair[2]:url() }, { name = helpers.name() }))
      wait_until(function() return connection:status().connected end, "the connection")
      assert.equal(pair[1].name, connection:status().server)
    end
  end)

  it("takes a list in its order, however the table was made", function()
    local list = { [2] = "127.0.0.2:1", [1] = "127.0.0.1:1" }
    local connection = nats.connect(list, { idle_timeout_ms = 1 })
    assert.equal("nats://127.0.0.1:1,nats://127.0.0.2:1", connection:status().url)
  end)

  it("goes on with another server when one is lost", function()
    local one, other = helpers.server(), helpers.server()
    local connection = assert(nats.connect({ one:url(), other:url() }, { name = helpers.name() }))
    assert.is_true(connection:publish("a", "b"))
    delivered(connection, 1)
    if connection:status().server == other.name then one, other = other, one end
    one:stop()
    other:wait_for_connections(connection:status().name, 1)
    assert.is_true(connection:publish("a", "b"))
    delivered(connection, 2)
    assert.equal(other.name, connection:status().server)
  end)

  it("goes through a web socket for ws://", function()
    local port = helpers.port()
    local web = helpers.server(('websocket { listen: "127.0.0.1:%d", no_tls: true }'):format(port))
    local subscriber = web:subscribe("a")
    local connection = assert(nats.connect("ws://127.0.0.1:" .. port))
    assert.is_true(connection:publish("a", "last"))
    subscriber:messages("last")
    web:wait_for_connections(connection:status().name, 1)
  end)

  it("uses TLS for tls:// and where a server wants it, and checks the server against the system's roots", function()
    local files = helpers.server().directory
    assert(os.execute(("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=x"
      .. " -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE"
      .. " -keyout %s/key -out %s/certificate 2> /dev/null"):format(files, files)))
    local secure = helpers.server(('tls { cert_file: "%s/certificate", key_file: "%s/key" }'):format(files, files))
    local script = 'require("rgw_nats").connect(arg[1], { exit_timeout_ms = tonumber(arg[2]) }):publish("a", "b")'
    -- With each message that arrives come a question to JetStream, and the message whose echo is the confirmation.
    for number, scheme in ipairs({ "tls", "nats" }) do
      local url = ("%s://127.0.0.1:%d"):format(scheme, secure.port)
      helpers.run(script, { url, 300 })
      assert.equal(3 * number - 3, secure:monitor("varz").in_msgs)
      helpers.run(script, { url, 10000 }, "export SSL_CERT_FILE=" .. files .. "/certificate")
      assert.equal(3 * number, secure:monitor("varz").in_msgs)
    end
  end)

  it("refuses what is no list of servers, by what is wrong", function()
    local many = {}
    for n = 1, 65 do many[n] = "h" .. n end
    for part, servers in pairs({
      ["got nil"] = "nothing", ["got number"] = 1, ["1 to 64 servers, not 0"] = { {} }, ["not 65"] = { many },
      ["1 to 2048 bytes"] = { { 1 } }, ["of 1 to 2048 bytes"] = ("x"):rep(2049), ["not http://"] = "http://h",
      ["malformed"] = "nats://h:port", ["has no host"] = "nats://", ["ws://"] = "ws://a,nats://b",
      ["behind host and port"] = "nats://h/path", ["? as %3F"] = "nats://h?token=x", ["# as %23"] = "nats://h#x",
      ["write / as %2F"] = "tls://user:12/3@h", ["write , as %2C"] = "tls://user:a,b@h", ["no UTF-8"] = "tls://%FF@h",
    }) do
      if servers == "nothing" then servers = nil elseif type(servers) == "table" then servers = servers[1] end
      assert.matches(part, fails("bad_config", nats.connect(servers)), 1, true)
    end
  end)

  it("refuses options that are no table", function()
    for _, options in ipairs({ "text", 1, true, print }) do
      fails("bad_argument", nats.connect(server:url(), options))
    end
  end)

  it("tells all that is wrong at once, with the known key nearest to an unknown one", function()
    local message = fails("bad_config", nats.connect("http://h", {
      nmae = "x", whatever_this_is = 1, max_pending = 0, name = 5, idle_timeout_ms = "1",
      allow_cleartext_secrets = "yes", connect_timeout_ms = 10.5, [1] = 2,
    }))
    for _, part in ipairs({
      "not http://", "unknown key nmae; did you mean name?", "unknown key whatever_this_is; known are",
      "max_pending must be a whole number from 1 to", "name must be a string, got number",
      "idle_timeout_ms must be a whole number, got string", "allow_cleartext_secrets must be true or false, got string",
      "connect_timeout_ms must be a whole number", "has a number as key",
    }) do
      assert.matches(part, message, 1, true)
    end
    local many = {}
    for n = 1, 100 do many["nothing" .. n] = n end
    local _, told = fails("bad_config", nats.connect(server:url(), many)):gsub("unknown key", "")
    assert.equal(20, told)
  end)

  it("gives equal options one connection, and other options one of their own", function()
    local name = helpers.name()
    local one = assert(nats.connect(server:url(), { name = name, max_pending = 5 }))
    local same = assert(nats.connect({ server:url() }, { max_pending = 5.0, name = name }))
    assert.is_true(one:publish("a", "b"))
    assert.is_true(same:publish("a", "b"))
    delivered(one, 2)
    server:wait_for_connections(name, 1)
    for number, option in ipairs({
      "max_pending", "max_pending_bytes", "connect_timeout_ms", "ack_timeout_ms", "idle_timeout_ms", "exit_timeout_ms",
      "reconnect_wait_ms", "max_reconnect_wait_ms", "ping_interval_ms",
    }) do
      assert(nats.connect(server:url(), { name = name, [option] = 2000 + number }))
      server:wait_for_connections(name, 1 + number)
    end
  end)
end)

describe("close()", function()
  local server
  setup(function() server = helpers.server() end)
  teardown(helpers.stop)

  it("ends the handle and nothing else", function()
    local subscriber = server:subscribe("a")
    local one, other = assert(nats.connect(server:url())), assert(nats.connect(server:url()))
    assert.is_true(one:publish("a", "before"))
    assert.is_true(one:close())
    fails("closed", one:publish("a", "never"))
    fails("closed", one:status())
    assert.is_true(one:close())
    assert.equal("rgw_nats.connection: " .. server:url(), tostring(one))
    assert.is_true(other:publish("a", "last"))
    assert.same({ "before", "last" }, subscriber:payloads("last"))
    assert.is_true(nats.connect(server:url()):publish("a", "again"))
  end)
end)

describe("a connection", function()
  it("shows scripts neither its insides nor its metatable", function()
    local connection = assert(nats.connect("127.0.0.1:" .. helpers.port()))
    assert.equal("rgw_nats.connection", getmetatable(connection))
    assert.is_nil(connection.secret)
    assert.is_false(pcall(function() connection.publish = print end))
  end)
end)
