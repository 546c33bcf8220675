-- The table auth: each kind of login, its secrets inline, in files and in the environment.
local Operator = require("operator")
local attempt = require("attempt")
local helpers = require("helpers")
local json = require("dkjson")
local nats = require("rgw_nats")
local fails = helpers.fails

local KINDS = { "user", "token", "nkey_seed", "jwt", "credentials" }

-- Connects in a Lua of its own, which has an environment that a spec can set.
local CONNECT = [[
  local nats, json, socket = require("rgw_nats"), require("dkjson"), require("socket")
  local options = { auth = json.decode(arg[2]), allow_cleartext_secrets = true }
  local connection = assert(nats.connect(arg[1], options))
  assert(connection:publish("spec", "payload"))
  local limit = socket.gettime() + 10
  local status
  repeat
    socket.sleep(0.01)
    status = connection:status()
  until status.delivered == 1 or status.last_error ~= "" or socket.gettime() > limit
  io.write(json.encode(status))
  os.exit(0, false)
]]

local function file(text)
  local path = helpers.directory() .. "/secret"
  helpers.write(path, text)
  return path
end

-- A new file in the place of the old one, so that no half of it can be read.
local function replace(path, text)
  helpers.write(path .. ".new", text)
  assert(os.rename(path .. ".new", path))
end

-- A login of some kind: `server` takes `right`, and not `wrong`; `other` is the configuration of one that takes `wrong`
-- alone. Both are secrets by their keys; `fixed` is no secret; `user` is who it is to the server.
local function login(kind)
  if kind == "user" then
    local lines = 'authorization { user: alice, password: "%s" }'
    return {
      server = helpers.server(lines:format("right-hunter2")), other = lines:format("wrong-hunter2"), user = "alice",
      fixed = { user = "alice" }, right = { password = "right-hunter2" }, wrong = { password = "wrong-hunter2" },
    }
  elseif kind == "token" then
    local lines = 'authorization { token: "%s" }'
    return {
      server = helpers.server(lines:format("right-hunter2")), other = lines:format("wrong-hunter2"),
      fixed = {}, right = { token = "right-hunter2" }, wrong = { token = "wrong-hunter2" },
    }
  elseif kind == "nkey_seed" then
    local lines = "authorization { users: [ { nkey: %s } ] }"
    local one, two = Operator.nkey(), Operator.nkey()
    return {
      server = helpers.server(lines:format(one.public)), other = lines:format(two.public), user = one.public,
      fixed = {}, right = { nkey_seed = one.seed }, wrong = { nkey_seed = two.seed },
    }
  end
  local one, two = Operator.new(), Operator.new()
  local right, wrong = one:user(), two:user()
  local function secrets(user)
    if kind == "jwt" then return { jwt = user.jwt, nkey_seed = user.seed } end
    return { credentials = user.credentials }
  end
  return {
    server = helpers.server(one:configuration()), other = two:configuration(), user = right.public, fixed = {},
    right = secrets(right), wrong = secrets(wrong),
  }
end

-- Options with the secrets in files; returns the paths by the secrets' names as well.
local function in_files(of, secrets)
  local auth, paths = {}, {}
  for name, value in pairs(of.fixed) do auth[name] = value end
  for name, text in pairs(secrets) do
    paths[name] = file(text .. "\n")
    auth[name .. "_file"] = paths[name]
  end
  return { auth = auth, name = helpers.name(), allow_cleartext_secrets = true, exit_timeout_ms = 0 }, paths
end

local function inline(of, secrets)
  local auth = {}
  for _, part in ipairs({ of.fixed, secrets }) do
    for name, value in pairs(part) do auth[name] = value end
  end
  return { auth = auth, name = helpers.name(), allow_cleartext_secrets = true, exit_timeout_ms = 0 }
end

-- Checks that no secret is in a text.
local function shows_none(of, text)
  for _, secrets in ipairs({ of.right, of.wrong }) do
    for name, secret in pairs(secrets) do
      for line in secret:gmatch("[^\n]+") do
        -- What all credentials have in common is no secret.
        if #line > 50 and not line:find("[ *]") or line:find("hunter2") then
          assert.is_nil(text:find(line, 1, true), name)
        end
      end
    end
  end
end

for _, kind in ipairs(KINDS) do
  describe("auth with " .. kind, function()
    local of
    setup(function() of = login(kind) end)
    teardown(helpers.stop)

    local function is_who_it_is(name)
      if of.user then assert.equal(of.user, of.server:connections(name)[1].authorized_user) end
    end

    it("has the secret in itself, in a file or in the environment", function()
      for _, options in ipairs({ inline(of, of.right), (in_files(of, of.right)) }) do
        local status = attempt.succeeds(assert(nats.connect(of.server:url(), options)))
        assert.equal("", status.last_error)
        is_who_it_is(options.name)
        shows_none(of, json.encode(status))
      end
      local auth, exports = {}, {}
      for name, value in pairs(of.fixed) do auth[name] = value end
      for name, text in pairs(of.right) do
        auth[name .. "_env"] = "SPEC_" .. name
        exports[#exports + 1] = ("export SPEC_%s=\"$(cat %s)\""):format(name, file(text))
      end
      local run = helpers.run(CONNECT, { of.server:url(), json.encode(auth) }, table.concat(exports, "\n"))
      assert.equal(1, json.decode(run.out).delivered, run.err)
    end)

    it("does not connect with a wrong one, tells so, and shows no secret", function()
      for _, options in ipairs({ inline(of, of.wrong), (in_files(of, of.wrong)) }) do
        local connection = assert(nats.connect(of.server:url(), options))
        local status = attempt.fails(connection, "authorization violation")
        assert.equal(0, #of.server:connections(options.name))
        shows_none(of, json.encode(status))
        shows_none(of, tostring(connection))
      end
    end)

    it("connects as soon as the file is mended", function()
      local options, paths = in_files(of, of.wrong)
      local connection = assert(nats.connect(of.server:url(), options))
      attempt.fails(connection, "authorization violation")
      for name, path in pairs(paths) do replace(path, of.right[name] .. "\n") end
      attempt.succeeds(connection)
      assert.equal(1, connection:status().connects)
    end)

    it("takes up a new one at the next connection, without a restart", function()
      local rotated = login(kind)
      local options, paths = in_files(rotated, rotated.right)
      local connection = assert(nats.connect(rotated.server:url(), options))
      attempt.succeeds(connection)
      for name, path in pairs(paths) do replace(path, rotated.wrong[name] .. "\n") end
      -- A server in operator mode does not change its operator while it runs.
      if kind == "jwt" or kind == "credentials" then
        rotated.server:stop()
        rotated.server.configuration = rotated.other
        rotated.server:start()
      else
        rotated.server:reload(rotated.other)
      end
      attempt.wait(connection, function(status) return status.connects == 2 end, "the next connection")
      attempt.succeeds(connection)
    end)
  end)
end

describe("auth", function()
  local of
  setup(function() of = login("token") end)
  teardown(helpers.stop)

  local function connect(auth)
    return nats.connect(of.server:url(), { auth = auth, allow_cleartext_secrets = true, exit_timeout_ms = 0 })
  end

  it("goes on with new credentials when a JWT has expired", function()
    local operator = Operator.new()
    local server = helpers.server(operator:configuration())
    local expires = os.time() + 4
    local path = file(operator:user(expires).credentials)
    local connection = assert(nats.connect(server:url(), { auth = { credentials_file = path } }))
    attempt.succeeds(connection)
    assert.equal(expires * 1000, connection:status().login_expires_ms)
    replace(path, operator:user().credentials)
    attempt.wait(connection, function(status) return status.last_error:find("Expired", 1, true) end, "the expiry")
    attempt.succeeds(connection)
    assert.equal(0, connection:status().login_expires_ms)
  end)

  it("is one kind of login, whole", function()
    local whole = { { "user", "password" }, { "token" }, { "nkey_seed" }, { "jwt", "nkey_seed" }, { "credentials" } }
    local names = { "user", "password", "token", "nkey_seed", "jwt", "credentials" }
    -- Each set of keys there is.
    for bits = 0, (1 << #names) - 1 do
      local auth, count, legal = {}, 0, false
      for place, name in ipairs(names) do
        if bits & (1 << (place - 1)) ~= 0 then auth[name], count = "x", count + 1 end
      end
      for _, kind in ipairs(whole) do
        local all = #kind == count
        for _, name in ipairs(kind) do all = all and auth[name] ~= nil end
        legal = legal or all
      end
      if legal then
        assert(connect(auth))
      else
        assert.matches("one kind of login, whole", fails("bad_config", connect(auth)))
      end
    end
    for _, auth in ipairs({ "hunter2", { token = "hunter2", token_file = "/f" }, { tokn = "hunter2" } }) do
      assert.is_nil(fails("bad_config", connect(auth)):find("hunter2", 1, true))
    end
  end)

  it("with another secret in itself is a further connection, and leaves the queue of the first alone", function()
    local name = helpers.name()
    local function options(token)
      return { name = name, auth = { token = token }, allow_cleartext_secrets = true, exit_timeout_ms = 0 }
    end
    local before = assert(nats.connect(of.server:url(), options(of.wrong.token)))
    assert.is_true(before:publish("spec", "payload"))
    attempt.fails(before, "authorization violation")
    attempt.succeeds(assert(nats.connect(of.server:url(), options(of.right.token))))
    assert.equal(1, before:status().pending)
    of.server:wait_for_connections(name, 1)
  end)

  it("and a login in a URL exclude each other", function()
    local url = { of.server:url(), of.server:url("hunter2") }
    local options = { auth = of.right, allow_cleartext_secrets = true }
    assert.matches("auth and a URL both say who connects", fails("bad_config", nats.connect(url, options)))
  end)
end)
