-- One exchange over each kind of server and login: a question, its answer, a published message, and a flush between.
local Authority = require("authority")
local Operator = require("operator")
local helpers = require("helpers")
local nats = require("rgw_nats")
local wait_until = helpers.wait_until

-- The lines of a server's configuration that make it do TLS.
local function tls(issued, more)
  return ("tls { cert_file: %q, key_file: %q %s }"):format(issued.certificate, issued.key, more or "")
end

local authority, issued, own

-- Each kind gives servers, options, and the server that shows the connection.
local kinds = {
  plain = function()
    local server = helpers.server()
    return server:url(), {}, server
  end,
  ["IPv6"] = function()
    local server = helpers.server('host: "::"')
    return "nats://[::1]:" .. server.port, {}, server
  end,
  TLS = function()
    local server = helpers.server(tls(issued))
    return "tls://127.0.0.1:" .. server.port, { tls = { ca_file = authority.certificate } }, server
  end,
  ["TLS first"] = function()
    local program = assert(helpers.nats_server(2, 10), "no nats-server of 2.10 or newer is here")
    local server = helpers.server(tls(issued, ", handshake_first: true"), program)
    return server:url(), { tls = { ca_file = authority.certificate, first = true } }, server
  end,
  ["TLS with a certificate of one's own"] = function()
    local server = helpers.server(tls(issued, (", ca_file: %q, verify: true"):format(authority.certificate)))
    local options = { ca_file = authority.certificate, cert_file = own.certificate, key_file = own.key }
    return server:url(), { tls = options }, server
  end,
  token = function()
    local server = helpers.server("authorization { token: hunter2 }")
    return server:url(), { auth = { token = "hunter2" }, allow_cleartext_secrets = true }, server
  end,
  user = function()
    local server = helpers.server("authorization { user: alice, password: hunter2 }")
    return server:url("alice:hunter2"), { allow_cleartext_secrets = true }, server
  end,
  nkey = function()
    local user = Operator.nkey()
    local server = helpers.server(("authorization { users: [ { nkey: %s } ] }"):format(user.public))
    return server:url(), { auth = { nkey_seed = user.seed } }, server
  end,
  JWT = function()
    local operator = Operator.new()
    local user = operator:user()
    local server = helpers.server(operator:configuration())
    return server:url(), { auth = { jwt = user.jwt, nkey_seed = user.seed } }, server
  end,
  credentials = function()
    local operator = Operator.new()
    local server = helpers.server(operator:configuration())
    local file = helpers.directory() .. "/user.creds"
    helpers.write(file, operator:user().credentials)
    return server:url(), { auth = { credentials_file = file } }, server
  end,
  ["web socket"] = function()
    local port = helpers.port()
    local server = helpers.server(('websocket { listen: "127.0.0.1:%d", no_tls: true }'):format(port))
    return "ws://127.0.0.1:" .. port, {}, server
  end,
  ["web socket with TLS"] = function()
    local port = helpers.port()
    local server = helpers.server(('websocket { listen: "127.0.0.1:%d", %s }'):format(port, tls(issued)))
    return "wss://127.0.0.1:" .. port, { tls = { ca_file = authority.certificate } }, server
  end,
}

-- A cluster of three that know each other.
local function cluster()
  local servers = helpers.cluster()
  wait_until(function()
    for _, server in ipairs(servers) do
      local known = {}
      for _, route in ipairs((server:monitor("routez") or {}).routes or {}) do known[route.remote_id] = true end
      local first = next(known)
      if not first or not next(known, first) then return false end
    end
    return true
  end, "a cluster of three")
  return servers
end

-- What everything is for: both ends over handles of their own.
local function exchange(asking, answering)
  local asked = assert(answering:subscribe("exchange.*", { queue = "workers" }))
  assert.is_true(answering:flush(10000))
  local future
  -- What one server of a cluster knows the others know a moment later.
  wait_until(function()
    future = assert(asking:request_async("exchange.ask", "question", { timeout_ms = 5000, headers = { A = "1" } }))
    local _, _, code = future:wait(200)
    return code ~= "no_responders"
  end, "a responder")
  local question = assert(asked:next(5000))
  assert.same({ "question", { A = "1" } }, { question.payload, question.headers })
  assert.is_true(question:respond("answer", { B = { "2", "3" } }))
  local answer = assert(future:wait())
  assert.same({ "answer", { B = { "2", "3" } } }, { answer.payload, answer.headers })
  assert.is_true(asking:publish("exchange.publish", "\0\255"))
  assert.is_true(asking:flush(10000))
  assert.equal("\0\255", assert(asked:next(5000)).payload)
  assert.is_true(asked:drain(5000))
  assert.is_number(asking:rtt(5000).milliseconds)
end

describe("an exchange", function()
  setup(function()
    authority = Authority.new()
    issued, own = authority:issue("IP:127.0.0.1"), authority:issue("DNS:client")
  end)
  teardown(helpers.stop)

  for kind, open in pairs(kinds) do
    it("over " .. kind .. ", and again once the server is back", function()
      local url, options, server = open()
      options.name, options.exit_timeout_ms, options.max_reconnect_wait_ms = helpers.name(), 0, 100
      local connection = assert(nats.connect(url, options))
      exchange(connection, connection)
      assert.equal(1, #server:connections(options.name))
      server:stop()
      server:start()
      wait_until(function() return connection:status().connects == 2 end, "another connection")
      exchange(connection, connection)
    end)
  end

  it("between the servers of a cluster, and over another one when one ends", function()
    local servers = cluster()
    local one = assert(nats.connect(servers[1]:url(), { name = "one", max_reconnect_wait_ms = 100 }))
    local two = assert(nats.connect(servers[2]:url(), { name = "two" }))
    exchange(one, two)
    local lasting = assert(one:subscribe("lasting"))
    assert.is_true(one:flush(5000))
    wait_until(function() return #assert(one:server_info()).connect_urls >= 3 end, "the neighbours")
    assert.equal("three", one:server_info().cluster)
    servers[1]:stop()
    wait_until(function() return one:status().connects == 2 end, "another server")
    exchange(one, two)
    assert.is_true(one:flush(5000))
    wait_until(function()
      assert.is_true(two:publish("lasting", "x"))
      return lasting:next(100)
    end, "a message of a subscription that has gone over")
  end)
end)
