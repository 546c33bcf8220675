-- The effect of each option of connect(). What has an upper or lower bound is in 07-docs_spec.lua.
local Reference = require("reference")
local helpers = require("helpers")
local nats = require("rgw_nats")
local socket = require("socket")
local fails, wait_until = helpers.fails, helpers.wait_until


describe("the option", function()
  local server
  setup(function() server = helpers.server() end)
  teardown(helpers.stop)

  describe("name", function()
    it("is what the server's monitoring shows", function()
      local name = helpers.name() .. " größer"
      assert(nats.connect(server:url(), { name = name }))
      server:wait_for_connections(name, 1)
    end)

    it("is the module and its version by default", function()
      local connection = assert(nats.connect(server:url(), { ack_timeout_ms = 4000 }))
      local name = nats._VERSION:gsub(" ", "/")
      assert.equal(name, connection:status().name)
      server:wait_for_connections(name, 1)
    end)
  end)

  describe("max_pending", function()
    it("is how many messages may wait", function()
      local stream = helpers.stream("a.>")
      stream:stop()
      local connection = assert(nats.connect(stream:url(), { max_pending = 3 }))
      for n = 1, 3 do assert.is_true(connection:publish("a." .. n)) end
      assert.matches("max_pending = 3", fails("queue_full", connection:publish("a.4")), 1, true)
      assert.equal(1, connection:status().rejected)
      stream:start()
      local kept = stream:kept(3)
      assert.same({ "a.1", "a.2", "a.3" }, { kept[1].subject, kept[2].subject, kept[3].subject })
      wait_until(function() return connection:status().pending == 0 end, "an empty queue")
      assert.is_true(connection:publish("a.5"))
      assert.equal("a.5", stream:kept(4)[4].subject)
    end)
  end)

  describe("max_pending_bytes", function()
    it("is how many bytes of messages may wait", function()
      local options = { max_pending_bytes = 10000, exit_timeout_ms = 0 }
      local connection = assert(nats.connect("127.0.0.1:" .. helpers.port(), options))
      assert.is_true(connection:publish("a", ("x"):rep(8000)))
      local message = fails("queue_full", connection:publish("a", ("x"):rep(2000)))
      assert.matches("max_pending_bytes = 10000", message, 1, true)
      assert.is_true(connection:publish("a", ("x"):rep(1000)))
    end)

    it("reached: the call does not wait for whoever reads the log", function()
      local pipe = server.directory .. "/" .. helpers.name()
      local run = helpers.run([[
        local nats, socket = require("rgw_nats"), require("socket")
        io.stderr:write(("x"):rep(65536)) -- all that a pipe holds
        local connection = nats.connect(arg[1], { max_pending = 1, exit_timeout_ms = 0 })
        local stop = socket.gettime() + 1.5
        repeat connection:publish("a", "b") until socket.gettime() > stop
        io.write("done")
      ]], { "127.0.0.1:" .. helpers.port() }, ("mkfifo %s; sleep 4 < %s &"):format(pipe, pipe), pipe)
      assert.equal("done", run.out)
      assert.is_true(run.seconds < 3.5)
    end)
  end)

  describe("allow_cleartext_secrets", function()
    it("must be true for a user, password or token in a URL that is not encrypted", function()
      for _, secret in ipairs({ "user:hunter2@", "hunter2@", ":hunter2@" }) do
        for _, scheme in ipairs({ "", "nats://", "ws://" }) do
          local url = scheme .. secret .. "127.0.0.1:" .. helpers.port()
          for _, refused in ipairs({ {}, { allow_cleartext_secrets = false } }) do
            local message = fails("bad_config", nats.connect(url, refused))
            assert.matches("allow_cleartext_secrets", message)
            assert.is_nil(message:find("hunter2", 1, true))
          end
          local options = { allow_cleartext_secrets = true, idle_timeout_ms = 1 }
          assert.is_nil(tostring(assert(nats.connect(url, options))):find("hunter2", 1, true))
        end
        for _, scheme in ipairs({ "tls://", "wss://" }) do
          local url = scheme .. secret .. "127.0.0.1:" .. helpers.port()
          assert(nats.connect(url, { idle_timeout_ms = 1 }))
        end
      end
    end)

    for _, case in ipairs({
      { "token", 'token: "hunter2"', "hunter2" },
      { "user and a password", 'user: alice, password: "hunter2"', "alice:hunter2" },
      { "password with percent signs", 'user: alice, password: "p@ss w%"', "alice:p%40ss%20w%25" },
      { "password of any letters", 'user: alice, password: "a=b;c|ü"', "alice:a=b;c|ü" },
    }) do
      it("lets a server be reached with a " .. case[1], function()
        local guarded = helpers.server(("authorization { %s }"):format(case[2]))
        local options = { allow_cleartext_secrets = true, exit_timeout_ms = 0 }
        local connection = assert(nats.connect(guarded:url(case[3]), options))
        assert.is_true(connection:publish("a", "b"))
        wait_until(function() return connection:status().delivered == 1 end, "the delivery")
        assert.equal("", connection:status().last_error)
      end)
    end
  end)

  describe("connect_timeout_ms", function()
    it("is how long an attempt to connect may take", function()
      local function silent(milliseconds)
        local listener, port = helpers.listener()
        listener:settimeout(5)
        return listener, assert(nats.connect("127.0.0.1:" .. port, { connect_timeout_ms = milliseconds }))
      end
      local patient, patient_connection = silent(nil)
      local hasty = silent(50)
      -- Kept, as Lua closes what it collects.
      local accepted = assert(patient:accept())
      for _ = 1, 3 do assert(hasty:accept(), "no further attempt") end
      patient:settimeout(0)
      assert.is_nil((patient:accept()))
      assert.equal("", patient_connection:status().last_error)
      for _, each in ipairs({ accepted, hasty, patient }) do each:close() end
    end)
  end)

  describe("ack_timeout_ms", function()
    it("is after how long a missing confirmation is told; nothing is sent twice for it", function()
      local paused = helpers.server()
      local subscriber = paused:subscribe("a")
      local hasty = assert(nats.connect(paused:url(), { ack_timeout_ms = 50 }))
      local patient = assert(nats.connect(paused:url()))
      assert.is_true(patient:publish("b"))
      assert.is_true(hasty:publish("a", "first"))
      subscriber:messages("first")
      paused:pause()
      assert.is_true(patient:publish("b"))
      assert.is_true(hasty:publish("a", "second"))
      wait_until(function() return hasty:status().last_error:find("50 ms", 1, true) end, "the missing confirmation")
      assert.equal("", patient:status().last_error)
      assert.equal(1, hasty:status().pending)
      paused:resume()
      assert.is_true(hasty:publish("a", "last"))
      assert.same({ "second", "last" }, subscriber:payloads("last"))
      wait_until(function() return hasty:status().delivered == 3 end, "the confirmation")
      assert.equal(0, hasty:status().redelivered)
    end)
  end)

  describe("idle_timeout_ms", function()
    it("closes what no one holds and no one uses; a later use opens it again", function()
      local name = helpers.name()
      local options = { name = name, idle_timeout_ms = 100 }
      local held = { name = name .. " held", idle_timeout_ms = 100 }
      local never = { name = name .. " never", idle_timeout_ms = 0 }
      local connection = assert(nats.connect(server:url(), held))
      assert(nats.connect(server:url(), never))
      server:wait_for_connections(held.name, 1)
      server:wait_for_connections(never.name, 1)
      local request = { RGWOp = "put_obj", Response = { HTTPStatusCode = 200 }, Object = { Name = "k" } }
      for _ = 1, 2 do
        assert.is_true(nats.notify(request, { url = server:url(), name = name, idle_timeout_ms = 100 }))
        server:wait_for_connections(name, 1)
        collectgarbage()
        server:wait_for_connections(name, 0)
        assert(nats.connect(server:url(), options))
        server:wait_for_connections(name, 1)
        collectgarbage()
        server:wait_for_connections(name, 0)
      end
      server:wait_for_connections(held.name, 1)
      server:wait_for_connections(never.name, 1)
      assert.equal(1, connection:status().connects)
    end)

    it("closes what only closed handles are left of", function()
      local name = helpers.name()
      local connection = assert(nats.connect(server:url(), { name = name, idle_timeout_ms = 50 }))
      server:wait_for_connections(name, 1)
      assert.is_true(connection:close())
      server:wait_for_connections(name, 0, 1)
    end)
  end)

  describe("inbox_prefix", function()
    it("is where answers and confirmations come to", function()
      local limited = helpers.server([[authorization { users: [ { user: "gateway", password: "x", permissions: {
        publish: ["a", "OWN.in.>", "$JS.API.>"], subscribe: ["OWN.in.>"] } } ] }]])
      local function status(options)
        options.auth, options.allow_cleartext_secrets = { user = "gateway", password = "x" }, true
        local connection = assert(nats.connect(limited:url(), options))
        assert.is_true(connection:publish("a", "b"))
        wait_until(function() return connection:status().delivered == 1 end, "the delivery")
        return connection:status(), connection
      end
      assert.matches("Permissions Violation", status({ name = "usual" }).last_error)
      local own, connection = status({ inbox_prefix = "OWN.in" })
      assert.equal("", own.last_error)
      assert.is_true(connection:flush(5000))
      fails("no_responders", connection:request("a", "", { timeout_ms = 5000 }))
      for _, wrong in ipairs({ "", "a.", ".a", "a..b", "*", "a.>", "a b", "a\n" }) do
        fails("bad_config", nats.connect(limited:url(), { inbox_prefix = wrong }))
      end
    end)
  end)

  describe("reconnect_wait_ms", function()
    it("is how long attempts to connect are apart, up to max_reconnect_wait_ms", function()
      -- How many attempts a listener who says nothing gets within a second.
      local function attempts(options)
        local listener, port = helpers.listener()
        listener:settimeout(0.01)
        options.exit_timeout_ms = 0
        local connection = assert(nats.connect("127.0.0.1:" .. port, options))
        local count, stop = 0, socket.gettime() + 1
        repeat
          local client = listener:accept()
          if client then
            count = count + 1
            client:close()
          end
        until socket.gettime() > stop
        listener:close()
        connection:close()
        return count
      end
      assert.is_true(attempts({ reconnect_wait_ms = 1, max_reconnect_wait_ms = 20 }) > 20)
      assert.is_true(attempts({ reconnect_wait_ms = 400 }) <= 4)
      assert.is_true(attempts({ reconnect_wait_ms = 1, max_reconnect_wait_ms = 3600000 }) <= 12)
    end)
  end)

  describe("ping_interval_ms", function()
    it("is how soon a server that stands still is noticed", function()
      local paused = helpers.server()
      local connection = assert(nats.connect(paused:url(), { ping_interval_ms = 100, exit_timeout_ms = 0 }))
      local patient = assert(nats.connect(paused:url(), { ping_interval_ms = 60000, exit_timeout_ms = 0 }))
      wait_until(function() return connection:status().connected and patient:status().connected end, "connections")
      paused:pause()
      wait_until(function() return not connection:status().connected end, "the end of a connection", 3)
      assert.is_true(patient:status().connected)
      paused:resume()
      wait_until(function() return connection:status().connected end, "another connection")
      assert.equal(1, patient:status().connects)
    end)
  end)

  describe("no_echo", function()
    -- The servers that are here: of each release one.
    local programs = { "/usr/sbin/nats-server" }
    local listed = io.popen("ls -d /var/cache/rgw_nats/rootfs/*/usr/sbin/nats-server 2> /dev/null")
    for program in listed:lines() do programs[#programs + 1] = program end
    listed:close()

    for _, program in ipairs(programs) do
      it("keeps from the connection what it publishes, and all is confirmed: " .. program, function()
        local quiet = helpers.server("", program)
        local subscriber = quiet:subscribe("a.>")
        local connection = assert(nats.connect(quiet:url(), { no_echo = true }))
        local echoing = assert(nats.connect(quiet:url(), { name = "echoing" }))
        local own, others = assert(connection:subscribe("a.*")), assert(echoing:subscribe("a.*"))
        assert.is_true(connection:flush(5000) and echoing:flush(5000))
        for n = 1, 1000 do assert.is_true(connection:publish("a." .. n, tostring(n))) end
        assert.is_true(connection:flush(5000))
        local status = connection:status()
        assert.same({ 1000, 0, "" }, { status.delivered, status.pending, status.last_error })
        for n = 1, 1000 do
          assert.equal(tostring(n), subscriber:next().payload)
          assert.equal(tostring(n), others:next(5000).payload)
        end
        fails("timeout", own:next(0))
        assert.is_true(echoing:publish("a.x", "from another"))
        assert.equal("from another", own:next(5000).payload)
        assert.is_number(connection:rtt(5000).milliseconds)
        fails("no_responders", connection:request("nobody", "", { timeout_ms = 5000 }))
      end)
    end

    it("confirms nothing while the server stands still, and all where somebody hears everything", function()
      local quiet = helpers.server()
      local connection = assert(nats.connect(quiet:url(), { no_echo = true, ack_timeout_ms = 1000 }))
      assert.is_true(connection:flush(5000))
      quiet:pause()
      assert.is_true(connection:publish("a", "b"))
      fails("timeout", connection:flush(600))
      assert.equal(0, connection:status().delivered)
      quiet:resume()
      assert.is_true(connection:flush(5000))
      local modern = helpers.server("", (assert(helpers.nats_server(2, 10), "no nats-server 2.10 is here")))
      local overhearing = modern:subscribe(">")
      local overheard = assert(nats.connect(modern:url(), { no_echo = true }))
      for n = 1, 10 do
        assert.is_true(overheard:publish("a", tostring(n)))
        assert.is_true(overheard:flush(5000))
      end
      assert.equal(10, overheard:status().delivered)
      assert.equal("", overheard:status().last_error)
      overhearing:close()
    end)
  end)

  describe("exit_timeout_ms", function()
    local script = [[
      local nats = require("rgw_nats")
      local connection = assert(nats.connect(arg[1], { exit_timeout_ms = tonumber(arg[2]) }))
      for n = 1, 5000 do assert(connection:publish("exit", tostring(n))) end
    ]]

    it("is how long the end of a process waits for a server that is away", function()
      local nowhere = "127.0.0.1:" .. helpers.port()
      assert.is_true(helpers.run(script, { nowhere, 0 }).seconds < 2)
      local waited = helpers.run(script, { nowhere, 2000 })
      assert.is_true(waited.seconds >= 2 and waited.seconds < 10)
      assert.equal(0, waited.status)
      assert.matches("ends with 5000 messages for nats://" .. nowhere .. " undelivered", waited.err, 1, true)
    end)

    it("does not delay an end with nothing left to deliver, and lets go what is", function()
      local subscriber = server:subscribe("exit")
      local run = helpers.run(script, { server:url(), 60000 })
      assert.is_true(run.seconds < 30)
      assert.equal(5000, #subscriber:messages("5000"))
    end)
  end)
end)

describe("docs/configuration.md", function()
  it("has no option of a connection that no spec gives a value", function()
    local page, text = Reference.new("docs/configuration.md"), ""
    local listed = io.popen("ls spec/*_spec.lua")
    for path in listed:lines() do
      -- These two have all names in any case.
      if not path:find("/07") and not path:find("/11") then text = text .. helpers.read(path) end
    end
    listed:close()
    for _, place in ipairs({
      { "Endpoint", "option" }, { "auth", "key" }, { "tls", "key" }, { "ensure_stream", "key" }, { "spool", "key" },
    }) do
      for name in pairs(Reference.rows(page:section(place[1], "##"), place[2])) do
        if not name:find("…", 1, true) then
          assert.is_truthy(text:find("[{%s]" .. name .. "_?%l* = "), place[1] .. ": " .. name)
        end
      end
    end
  end)
end)
