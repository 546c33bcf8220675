-- The table tls, and TLS by URL: whose certificates are taken, and that nothing goes to a server without TLS.
local Authority = require("authority")
local attempt = require("attempt")
local helpers = require("helpers")
local nats = require("rgw_nats")

-- The lines of a server's configuration.
local function tls(issued, more)
  return ("tls { cert_file: %q, key_file: %q %s }"):format(issued.certificate, issued.key, more or "")
end

-- A new file in the place of the old one, so that no half of it can be read.
local function replace(path, text)
  helpers.write(path .. ".new", text)
  assert(os.rename(path .. ".new", path))
end

describe("tls", function()
  local authority, stranger, server, name

  setup(function()
    authority, stranger = Authority.new(), Authority.new()
    server = helpers.server(tls(authority:issue("IP:127.0.0.1")))
  end)
  teardown(helpers.stop)

  local function connect(to, given, more)
    name = helpers.name()
    local options = { name = name, tls = given, exit_timeout_ms = 0 }
    for key, value in pairs(more or {}) do options[key] = value end
    return assert(nats.connect(type(to) == "string" and to or to:url(), options))
  end

  it("takes the certificates of a CA of one's own, from a file, inline, from a directory, and together", function()
    local pem = helpers.read(authority.certificate)
    local both = helpers.read(stranger.certificate) .. pem
    local directory = helpers.directory()
    helpers.write(directory .. "/one.pem", helpers.read(stranger.certificate))
    helpers.write(directory .. "/two.crt", pem)
    helpers.write(directory .. "/README", "no certificate")
    for _, given in ipairs({
      { ca_file = authority.certificate }, { ca = pem }, { ca = both }, { ca_dir = directory },
      { ca = pem, ca_dir = directory }, { ca_file = stranger.certificate, ca_dir = directory },
    }) do
      assert.equal("", attempt.succeeds(connect(server, given)).last_error)
      assert.matches("^1%.[23]$", server:connections(name)[1].tls_version)
    end
  end)

  it("takes them from the environment, and the system's where none are given", function()
    local script = [[
      local nats, json, socket = require("rgw_nats"), require("dkjson"), require("socket")
      local connection = assert(nats.connect(arg[1], { tls = json.decode(arg[2]) }))
      assert(connection:publish("spec", "payload"))
      local limit = socket.gettime() + 10
      local status
      repeat
        socket.sleep(0.01)
        status = connection:status()
      until status.delivered == 1 or status.last_error ~= "" or socket.gettime() > limit
      io.write(status.delivered, " ", status.last_error)
      os.exit(0, false)
    ]]
    local inline = ("export SPEC_CA=\"$(cat %s)\""):format(authority.certificate)
    local system = "export SSL_CERT_FILE=%s; unset SSL_CERT_DIR"
    assert.equal("1 ", helpers.run(script, { server:url(), '{"ca_env":"SPEC_CA"}' }, inline).out)
    assert.equal("1 ", helpers.run(script, { server:url(), "{}" }, system:format(authority.certificate)).out)
    local wrong = helpers.run(script, { server:url(), "{}" }, system:format(stranger.certificate))
    assert.matches("^0 .*UnknownIssuer", wrong.out)
  end)

  it("does not connect to a server whose certificate is another CA's, has expired, or is for another name", function()
    attempt.fails(connect(server, { ca_file = stranger.certificate }), "UnknownIssuer")
    local expired = helpers.server(tls(authority:issue("IP:127.0.0.1", true)))
    attempt.fails(connect(expired, { ca_file = authority.certificate }), "expired")
    local renamed = helpers.server(tls(authority:issue("DNS:broker.example")))
    attempt.fails(connect(renamed, { ca_file = authority.certificate }), "not valid for name")
    for _, refused in ipairs({ server, expired, renamed }) do
      assert.same({}, refused:connections(name))
    end
  end)

  it("checks the certificate for server_name instead of the URL's host", function()
    local renamed = helpers.server(tls(authority:issue("DNS:broker.example, DNS:*.cluster.example")))
    for _, right in ipairs({ "broker.example", "one.cluster.example" }) do
      attempt.succeeds(connect(renamed, { ca_file = authority.certificate, server_name = right }))
    end
    for _, wrong in ipairs({ "other.example", "127.0.0.1" }) do
      attempt.fails(connect(renamed, { ca_file = authority.certificate, server_name = wrong }), "not valid for name")
    end
    attempt.fails(connect(server, { ca_file = authority.certificate, server_name = "a b" }), "a b is no name of a host")
    attempt.fails(connect(server, { ca_file = stranger.certificate, server_name = "127.0.0.1" }), "UnknownIssuer")
  end)

  it("is a must where there is the table: a server without TLS gets nothing", function()
    local listener, port = helpers.listener()
    listener:settimeout(10)
    local auth, given = { token = "hunter2" }, { ca_file = authority.certificate }
    local connection = connect("nats://127.0.0.1:" .. port, given, { auth = auth, connect_timeout_ms = 500 })
    local client = assert(listener:accept())
    client:send('INFO {"server_id":"x","version":"2.9.0","max_payload":1048576,"proto":1}\r\n')
    client:settimeout(10)
    -- The beginning of a handshake: a record of type 22.
    assert.equal("\22", client:receive(1))
    client:send("PONG\r\n")
    local rest, _, partial = client:receive("*a")
    assert.is_nil((rest or partial):find("hunter2", 1, true))
    assert.is_nil((rest or partial):find("CONNECT", 1, true))
    client:close()
    listener:close()
    attempt.fails(connection, "nats://127.0.0.1")
    local plain = helpers.server("authorization { token: hunter2 }")
    for _, url in ipairs({ plain:url(), (plain:url():gsub("nats", "tls")) }) do
      attempt.fails(connect(url, given, { auth = auth }), "IO error")
    end
  end)

  it("presents a certificate of one's own where a server asks for one", function()
    local verify = (", ca_file: %q, verify: true"):format(authority.certificate)
    local demanding = helpers.server(tls(authority:issue("IP:127.0.0.1"), verify))
    local one, other, foreign = authority:issue("DNS:one"), authority:issue("DNS:two"), stranger:issue("DNS:one")
    local ca = authority.certificate
    attempt.succeeds(connect(demanding, { ca_file = ca, cert_file = one.certificate, key_file = one.key }))
    attempt.succeeds(connect(demanding, {
      ca_file = ca, cert = helpers.read(one.certificate), key = helpers.read(one.key),
    }))
    attempt.fails(connect(demanding, { ca_file = ca }), "received fatal alert")
    attempt.fails(connect(demanding, {
      ca_file = ca, cert_file = foreign.certificate, key_file = foreign.key,
    }), "received fatal alert")
    attempt.fails(connect(demanding, {
      ca_file = ca, cert_file = one.certificate, key_file = other.key,
    }), one.certificate .. " and " .. other.key)
  end)

  it("takes up certificates that are mended or changed at the next connection, without a restart", function()
    local directory = helpers.directory()
    local ca, cert, key = directory .. "/ca.pem", directory .. "/cert.pem", directory .. "/key.pem"
    local paths = { ca_file = ca, cert_file = cert, key_file = key }
    local one = authority:issue("DNS:one")
    local verify = ", ca_file: %q, verify: true"
    local demanding = helpers.server(tls(authority:issue("IP:127.0.0.1"), verify:format(authority.certificate)))
    local connection = connect(demanding, paths)
    local function step(part, path, text)
      attempt.fails(connection, part)
      replace(path, text)
    end
    step(ca .. ": No such file", ca, "no certificate")
    step(ca .. " has no certificate", ca, helpers.read(stranger.certificate))
    -- Ours is read before the server's is looked at.
    step(cert .. ": No such file", cert, helpers.read(one.certificate))
    step(key .. ": No such file", key, "no key")
    step(key .. " has no private key", key, helpers.read(one.key))
    step("UnknownIssuer", ca, helpers.read(authority.certificate))
    attempt.succeeds(connection)
    -- All of it is new.
    local two = stranger:issue("DNS:two")
    replace(ca, helpers.read(stranger.certificate))
    replace(cert, helpers.read(two.certificate))
    replace(key, helpers.read(two.key))
    demanding:stop()
    demanding.configuration = tls(stranger:issue("IP:127.0.0.1"), verify:format(stranger.certificate))
    demanding:start()
    attempt.wait(connection, function(status) return status.connects == 2 end, "the next connection")
    attempt.succeeds(connection)
  end)

  it("tells of a directory that is not there or has no certificate in a file of that name", function()
    local directory = helpers.directory()
    attempt.fails(connect(server, { ca_dir = directory .. "/nothing" }), directory .. "/nothing: No such file")
    attempt.fails(connect(server, { ca_dir = directory }), "there is no certificate to check the server's with")
    helpers.write(directory .. "/broken.pem", "no certificate")
    attempt.fails(connect(server, { ca_dir = directory }), directory .. "/broken.pem has no certificate")
  end)

  it("is for web sockets with wss:// as well", function()
    local port = helpers.port()
    helpers.server(('websocket { listen: "127.0.0.1:%d", %s }'):format(port, tls(authority:issue("IP:127.0.0.1"))))
    local url = "wss://127.0.0.1:" .. port
    attempt.succeeds(connect(url, { ca_file = authority.certificate }))
    attempt.fails(connect(url, { ca_file = stranger.certificate }), "UnknownIssuer")
    attempt.fails(connect(url, { ca_file = authority.certificate, server_name = "x.example" }), "not valid for name")
    attempt.succeeds(connect(url, { insecure_skip_verify = true }))
  end)

  it("takes any certificate with insecure_skip_verify, and says so in the log and in last_error", function()
    local expired = helpers.server(tls(stranger:issue("DNS:elsewhere.example", true)))
    local status = attempt.succeeds(connect(expired, { insecure_skip_verify = true }))
    assert.matches("anyone can pose as this server", status.last_error)
    attempt.fails(connect(expired, { insecure_skip_verify = false }), "invalid peer certificate")
    local run = helpers.run([[
      local connection = require("rgw_nats").connect(arg[1], { tls = { insecure_skip_verify = true } })
      assert(connection:publish("a", "b"))
    ]], { expired:url() })
    assert.matches("anyone can pose as this server: tls.insecure_skip_verify is set", run.err, 1, true)
  end)

  describe("with first", function()
    -- Debian 12's nats-server is older than that.
    local program = helpers.nats_server(2, 10)

    it("begins with TLS, before the server's first word", function()
      if not program then return pending("there is no nats-server 2.10 or newer; e2e/setup.sh 18.2 gets one") end
      local silent = helpers.server(tls(authority:issue("IP:127.0.0.1"), ", handshake_first: true"), program)
      attempt.succeeds(connect(silent, { ca_file = authority.certificate, first = true }))
      attempt.fails(connect(silent, { ca_file = stranger.certificate, first = true }), "UnknownIssuer")
      attempt.fails(connect(silent, { ca_file = authority.certificate }, { connect_timeout_ms = 300 }), "timed out")
    end)

    it("does not connect to a server that speaks first", function()
      attempt.fails(connect(server, { ca_file = authority.certificate, first = true }), "IO error")
    end)
  end)

  local reason = "async-nats reads the system's as well, and gives up if they are broken"
  helpers.known_defect(it, "with a CA of one's own needs none of the system's", reason, function()
    local run = helpers.run([[
      local nats = require("rgw_nats")
      local options = { tls = { ca_file = arg[2] }, exit_timeout_ms = 1000 }
      assert(nats.connect(arg[1], options):publish("a", "b"))
    ]], { server:url(), authority.certificate }, "export SSL_CERT_FILE=/nothing/there")
    assert.is_nil(run.err:find("undelivered", 1, true))
  end)
end)
