-- Secrets: where they can be, what is told of one that is not there, and that none is ever shown.
local Operator = require("operator")
local attempt = require("attempt")
local helpers = require("helpers")
local json = require("dkjson")
local nats = require("rgw_nats")
local fails = helpers.fails

local TOKEN = "right-hunter2"

describe("a secret", function()
  local server, directory
  setup(function()
    server = helpers.server(('authorization { token: %q }'):format(TOKEN))
    directory = helpers.directory()
  end)
  teardown(helpers.stop)

  local function path(name) return directory .. "/" .. name end

  local function connect(auth)
    return nats.connect(server:url(), { auth = auth, allow_cleartext_secrets = true, exit_timeout_ms = 0 })
  end

  it("tells what is wrong with a file, a variable or a key, and connects once it is mended", function()
    for name, text in pairs({ empty = " \n", long = ("x"):rep((256 << 10) + 1), bytes = "\255", seed = "SUhunter2" }) do
      helpers.write(directory .. "/" .. name, text)
    end
    local user = Operator.new():user()
    for part, auth in pairs({
      [path("nothing") .. ": No such file"] = { token_file = path("nothing") },
      [path("empty") .. " is empty"] = { token_file = path("empty") },
      [path("long") .. " is longer than 262144 bytes"] = { token_file = path("long") },
      [path("bytes")] = { token_file = path("bytes") },
      [directory] = { token_file = directory },
      ["the environment variable SPEC_NOT_SET is not set"] = { token_env = "SPEC_NOT_SET" },
      ["begins with SU and has 58 letters"] = { nkey_seed_file = path("seed") },
      ["*** has no USER NKEY SEED"] = { credentials = user.credentials:match("^(.-)\n\n") },
      ["*** has no NATS USER JWT"] = { credentials = user.credentials:match("%-%-\n\n(.*)$") },
    }) do
      local status = attempt.fails(assert(connect(auth)), part)
      assert.matches("auth: ", status.last_error, 1, true)
      assert.is_nil(status.last_error:find("hunter2", 1, true))
      assert.is_nil(status.last_error:find(user.seed, 1, true))
    end
    local connection = assert(connect({ token_file = path("nothing") }))
    helpers.write(path("nothing"), TOKEN)
    attempt.succeeds(connection)
  end)

  it("sends a password or a token only to a server with TLS, unless it is allowed", function()
    local sent = { { user = "alice", password = "hunter2" }, { token_file = "/hunter2" } }
    local signed = { { nkey_seed = "hunter2" }, { jwt = "x", nkey_seed_env = "X" }, { credentials = "hunter2" } }
    local options = { exit_timeout_ms = 0, idle_timeout_ms = 1 }
    for scheme, clear in pairs({ [""] = true, ["nats://"] = true, ["ws://"] = true, ["tls://"] = false }) do
      local url = scheme .. "127.0.0.1:" .. helpers.port()
      for _, auth in ipairs(sent) do
        options.auth, options.tls, options.allow_cleartext_secrets = auth, nil, nil
        if clear then
          local message = fails("bad_config", nats.connect(url, options))
          assert.matches("clear text", message)
          assert.is_nil(message:find("hunter2", 1, true))
          options.allow_cleartext_secrets = true
        end
        assert(nats.connect(url, options)):close()
        options.allow_cleartext_secrets, options.tls = nil, {}
        if scheme ~= "ws://" then assert(nats.connect(url, options)):close() end
      end
      options.tls = nil
      for _, auth in ipairs(signed) do
        options.auth = auth
        assert(nats.connect(url, options)):close()
      end
    end
  end)

  it("is taken from the table auth of a file of notify() too; one that others can read is told of", function()
    local script = [[
      local nats, socket = require("rgw_nats"), require("socket")
      local Request = { RGWOp = "put_obj", Response = { HTTPStatusCode = 200 }, Object = { Name = "k" } }
      assert(nats.notify(Request, arg[1]))
      local limit = socket.gettime() + 10
      local connection
      repeat
        socket.sleep(0.01)
        connection = nats.status().connections[1]
      until (connection and connection.delivered == 1) or socket.gettime() > limit
      io.write(connection.delivered)
    ]]
    helpers.write(path("token"), TOKEN)
    local given, named = ("token = %q"):format(TOKEN), ("token_file = %q"):format(path("token"))
    for n, case in ipairs({
      { "600", given, false }, { "640", given, true }, { "604", given, true }, { "644", named, false },
    }) do
      local configuration = path("configuration" .. n)
      helpers.write(configuration, ("url = %q\nallow_cleartext_secrets = true\n[auth]\n%s\n"):format(
        server:url(), case[2]))
      assert(os.execute(("chmod %s %s"):format(case[1], configuration)))
      local run = helpers.run(script, { configuration })
      assert.equal("1", run.out, run.err)
      assert.equal(case[3], run.err:find(configuration .. " has a secret in it", 1, true) ~= nil, run.err)
    end
    -- In a volume of Kubernetes nobody else is there to read it, and chmod can't be had.
    local move = "cd %s && mkdir ..1 && mv configuration3 ..1 && ln -s ..1 ..data && ln -s ..data/configuration3 ."
    assert(os.execute(move:format(directory)))
    local run = helpers.run(script, { path("configuration3") })
    assert.equal("1", run.out, run.err)
    assert.is_nil(run.err:find("has a secret in it", 1, true), run.err)
  end)

  it("is in no status, text, error or log, wherever it is given", function()
    local operator = Operator.new()
    local user, other = operator:user(), Operator.new():user()
    local trusting = helpers.server(operator:configuration())
    local logins = {}
    for _, secrets in ipairs({
      { token = "hunter2-token" }, { user = "alice", password = "hunter2-password" }, { nkey_seed = other.seed },
      { jwt = other.jwt, nkey_seed = other.seed }, { credentials = other.credentials },
      { jwt = user.jwt, nkey_seed = user.seed }, { credentials = user.credentials },
    }) do
      local in_files = {}
      for name, text in pairs(secrets) do
        in_files[name ~= "user" and name .. "_file" or name] = text
        if name ~= "user" then
          in_files[name .. "_file"] = path(helpers.name())
          helpers.write(in_files[name .. "_file"], text)
        end
      end
      logins[#logins + 1], logins[#logins + 2] = secrets, in_files
    end
    local run = helpers.run([[
      local nats, json, socket = require("rgw_nats"), require("dkjson"), require("socket")
      local results = {}
      local function note(...)
        for n = 1, select("#", ...) do results[#results + 1] = tostring((select(n, ...))) end
      end
      local Request = { RGWOp = "put_obj", Response = { HTTPStatusCode = 200 }, Object = { Name = "k" } }
      local url = arg[1]
      for _, auth in ipairs(json.decode(arg[2])) do
        note(nats.connect(url, { auth = auth, nothing = 1 }))
        note(nats.connect(url:gsub("nats", "ws"), { auth = auth, tls = { first = "" } }))
        note(nats.notify(Request, { url = url, auth = auth, tsl = {} }))
        local connection = assert(nats.connect(url, { auth = auth, allow_cleartext_secrets = true, max_pending = 1,
          exit_timeout_ms = 0 }))
        note(connection)
        for _ = 1, 3 do note(connection:publish("a", "b")) end
        local limit = socket.gettime() + 10
        local status
        repeat
          socket.sleep(0.01)
          status = connection:status()
        until status.delivered > 0 or status.last_error:find("violation") or socket.gettime() > limit
        note(json.encode(status))
      end
      note(json.encode(nats.status()))
      print(table.concat(results, "\n"))
      error(results[#results])
    ]], { trusting:url(), json.encode(logins) })
    -- The right ones connect, the others are refused by the server.
    assert.matches('"delivered":1', run.out, 1, true)
    assert.matches("authorization violation", run.out, 1, true)
    assert.matches("authorization violation", run.err, 1, true)
    for _, text in ipairs({ run.out, run.err }) do
      for _, secret in ipairs({ "hunter2", user.seed, user.jwt, other.seed, other.jwt }) do
        assert.is_nil(text:find(secret, 1, true))
      end
    end
  end)

  it("may have white space at its ends, unless it is in a file", function()
    local guarded = helpers.server('authorization { user: alice, password: " hunter2 " }')
    local options = { allow_cleartext_secrets = true, exit_timeout_ms = 0, idle_timeout_ms = 1000 }
    options.auth = { user = "alice", password = " hunter2 " }
    local connection = assert(nats.connect(guarded:url(), options))
    attempt.wait(connection, function(status) return status.connected or status.last_error ~= "" end, "the verdict")
    assert.equal("", connection:status().last_error)
  end)

  it("that can't be read in time is told of", function()
    local fifo = path("fifo")
    assert(os.execute("mkfifo " .. fifo))
    local options = { auth = { token_file = fifo }, tls = {}, connect_timeout_ms = 10, exit_timeout_ms = 0 }
    local connection = assert(nats.connect(server:url(), options))
    local told = pcall(helpers.wait_until, function() return connection:status().last_error ~= "" end, "the trouble", 1)
    -- Lets the reader go, if there is one.
    local writer = assert(io.open(fifo, "r+"))
    writer:write("x")
    writer:close()
    assert.is_true(told)
  end)
end)
