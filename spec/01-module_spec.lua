local helpers = require("helpers")
local fails = helpers.fails

describe("require 'rgw_nats'", function()
  local nats = require("rgw_nats")

  it("gives the module of the installed rock, and no other one is in reach", function()
    local tree = assert(os.getenv("RGW_NATS_TREE"))
    local found = assert(package.searchpath("rgw_nats", package.cpath))
    assert.equal(tree, found:sub(1, #tree))
    assert.is_nil(package.searchpath("rgw_nats", package.path))
    for _, path in ipairs({ package.path, package.cpath }) do
      assert.is_nil((";" .. path):find(";%.?/?[^/;]*%?"), "the working directory is searched: " .. path)
    end
  end)

  it("has exactly these", function()
    local kinds = {}
    for name, value in pairs(nats) do kinds[name] = type(value) end
    assert.same({
      notify = "function", admit = "function", connect = "function", status = "function", _VERSION = "string",
      dead_letters = "function", replay = "function", purge = "function", poller = "function", sleep = "function",
      yielding = "function", encode = "function", decode = "function", array = "function", null = "userdata",
    }, kinds)
  end)

  it("names the version of its rock", function()
    local lua = _VERSION:match("%d%.%d")
    local rocks = io.popen(("ls %s/lib/luarocks/rocks-%s/rgw_nats"):format(os.getenv("RGW_NATS_TREE"), lua))
    local version = rocks:read("l"):match("^(.*)%-%d+$")
    rocks:close()
    assert.equal("rgw_nats " .. version, nats._VERSION)
    assert.equal(version, nats.status().version)
  end)

  it("gives the same connections however often it is loaded", function()
    local url = "nats://127.0.0.1:" .. helpers.port()
    local first = assert(nats.connect(url, { exit_timeout_ms = 0 }))
    package.loaded.rgw_nats = nil
    local again = require("rgw_nats")
    assert.not_equal(nats, again)
    assert.is_true(again.connect(url, { exit_timeout_ms = 0 }):publish("a", "b"))
    assert.equal(1, first:status().accepted)
  end)

  it("works in a coroutine", function()
    local thread = coroutine.create(function() return nats.connect("nats://127.0.0.1:" .. helpers.port()) end)
    local ok, connection = coroutine.resume(thread)
    assert.is_true(ok)
    assert.is_true(connection:close())
  end)

  it("leaves the script's end and its output alone", function()
    local run = helpers.run([[
      local nats = require("rgw_nats")
      local connection = assert(nats.connect(arg[1], { exit_timeout_ms = 0 }))
      assert(connection:publish("a", "b"))
      os.exit(7)
    ]], { "nats://127.0.0.1:" .. helpers.port() })
    assert.equal(7, run.status)
    assert.equal("", run.out)
    for line in run.err:gmatch("[^\n]+") do assert.matches("^rgw_nats: ", line) end
  end)
end)

describe("a wrong call", function()
  local nats = require("rgw_nats")
  local nowhere = "nats://127.0.0.1:" .. helpers.port()

  it("never raises: it returns true, an object, or nil with a message and its code", function()
    local options = { exit_timeout_ms = 0 }
    local handle, closed = nats.connect(nowhere, options), nats.connect(nowhere, options)
    closed:close()
    local cyclic, deep = {}, {}
    cyclic.self = cyclic
    for _ = 1, 100 do deep = { deep } end
    local function raise(value) return function() error(value) end end
    local function trap(value)
      local raises = raise(value)
      return setmetatable({}, { __index = raises, __pairs = raises, __len = raises, __tostring = raises, __name = 1 })
    end
    local values = {
      false, true, 0, -1, math.mininteger, 1.5, 0 / 0, 1 / 0, "", "127.0.0.1:1", "a..b", "\0", "\255", ("x"):rep(5000),
      {}, { 1 }, { url = 1 }, { url = nowhere }, cyclic, deep, trap("text"), trap({}), trap(nil), handle, closed, nats,
      print, coroutine.create(print), io.stdout,
    }
    local calls = 0
    local function try(name, f, ...)
      calls = calls + 1
      local results = table.pack(pcall(f, ...))
      assert(results[1], name .. " raised")
      if results[2] == nil then
        assert.has_no_error(function() fails(results[4], table.unpack(results, 2, results.n)) end, name)
      else
        local kind = type(results[2])
        assert(results.n == 2 and (results[2] == true or kind == "table" or kind == "userdata"), name .. ": " .. kind)
      end
    end
    -- `close` is left out, as the handle serves them all.
    local functions = { nats.notify, nats.connect, nats.status, handle.publish, handle.status }
    for place, f in ipairs(functions) do
      try("call " .. place .. " of nothing", f)
      for n, value in ipairs(values) do
        local name = ("function %d, value %d"):format(place, n)
        try(name, f, value)
        try(name, f, handle, value)
        try(name, f, {}, value)
        try(name, f, nowhere, value)
        try(name, f, handle, "a", value)
        try(name, f, handle, "a", "payload", value)
        try(name, f, value, value, value, value, value, value, value, value, value, value)
      end
    end
    assert(calls > 900)
  end)

  it("is bad_argument for a method without its connection", function()
    local connection = assert(nats.connect(nowhere))
    for _, method in ipairs({ connection.publish, connection.status, connection.close }) do
      fails("bad_argument", method())
      fails("bad_argument", method("a", "b"))
      assert.matches("colon", fails("bad_argument", method({})))
      fails("bad_argument", method(io.stdout))
    end
  end)

  it("is bad_argument for tables that are too deep or hold themselves", function()
    local connection = assert(nats.connect(nowhere))
    local cyclic = {}
    cyclic.self = cyclic
    fails("bad_argument", connection:publish("a", "b", cyclic))
    fails("bad_argument", nats.notify({}, cyclic))
    fails("bad_argument", nats.connect(cyclic))
  end)

  it("is too_large for more values or bytes than any use needs", function()
    local connection = assert(nats.connect(nowhere))
    local many = {}
    for n = 1, 20000 do many["h" .. n] = "x" end
    fails("too_large", connection:publish("a", "b", many))
    fails("too_large", nats.connect(nowhere, many))
    local long = ("x"):rep(35 << 20)
    fails("too_large", connection:publish("a", long, { a = long }))
  end)

  it("is bad_request for a Request that can't be read or has no operation", function()
    for _, value in ipairs({ "text", {} }) do
      local broken = setmetatable({}, { __index = function() error(value) end })
      fails("bad_request", nats.notify(broken, { url = nowhere }))
    end
    fails("bad_request", nats.notify({}, { url = nowhere }))
    fails("bad_request", nats.notify({ RGWOp = 1 }, { url = nowhere }))
  end)
end)

describe("a process", function()
  it("opens 64 endpoints and refuses the next with too_many_connections", function()
    local run = helpers.run([[
      local nats = require("rgw_nats")
      local options = { exit_timeout_ms = 0 }
      for n = 1, 64 do
        options.name = "name " .. n
        assert(nats.connect(arg[1], options))
      end
      assert(nats.connect(arg[1], options), "one that is open already")
      assert(#nats.status().connections == 64)
      options.name = "one more"
      io.write(select(3, nats.connect(arg[1], options)), " ")
      local Request = { RGWOp = "put_obj", Response = { HTTPStatusCode = 200 }, Object = { Name = "k" } }
      io.write(select(3, nats.notify(Request, { url = arg[1], name = "one more" })))
    ]], { "nats://127.0.0.1:" .. helpers.port() })
    assert.equal("too_many_connections too_many_connections", run.out)
    assert.equal(0, run.status)
  end)

  it("that has no descriptors left gets no_resources, and a connection once it has some", function()
    local run = helpers.run([[
      local nats = require("rgw_nats")
      local files = {}
      for n = 1, 100 do files[n] = io.open("/dev/null") end
      io.write(select(3, nats.connect("nats://127.0.0.1:1")), " ", #nats.status().connections, " ")
      for _, file in ipairs(files) do file:close() end
      io.write(tostring(nats.connect("nats://127.0.0.1:1")))
    ]], {}, "ulimit -n 32")
    assert.equal("no_resources 0 rgw_nats.connection: nats://127.0.0.1:1", run.out)
    assert.equal(0, run.status)
  end)
end)
