-- What scripts hold on to: futures, pollers, subscriptions; their ends, coroutines, and what is left of them. And JSON.
local helpers = require("helpers")
local nats = require("rgw_nats")
local socket = require("socket")
local fails, wait_until = helpers.fails, helpers.wait_until

local server, connection
setup(function()
  server = helpers.server("max_subscriptions: 0")
  connection = assert(nats.connect(server:url(), { name = "handles" }))
  assert.is_true(connection:flush(5000))
end)
teardown(helpers.stop)

local function sleeping(ms)
  return coroutine.wrap(function()
    assert.is_true(nats.yielding(true))
    coroutine.yield(nats.sleep(ms))
  end)
end

describe("a future", function()
  it("tells whether it has ended, and what it has come to", function()
    local silent = assert(connection:subscribe("silent"))
    local future = assert(connection:request_async("silent", "", { timeout_ms = 200 }))
    fails("timeout", future:done())
    fails("timeout", future:result())
    fails("timeout", future:wait(20))
    fails("timeout", future:done())
    fails("timeout", future:wait())
    assert.is_true(future:done())
    fails("timeout", future:result())
    fails("timeout", future:wait(0))
    assert.is_true(future:cancel())
    silent:unsubscribe()
    for _, wrong in ipairs({ -1, "1", {}, 0 / 0, 3600001 }) do fails("bad_argument", future:wait(wrong)) end
  end)

  it("can be cancelled", function()
    local silent = assert(connection:subscribe("silent"))
    local future = assert(connection:request_async("silent", "", { timeout_ms = 60000 }))
    assert.is_true(future:cancel())
    assert.is_true(future:cancel())
    assert.is_true(future:done())
    for _ = 1, 2 do fails("cancelled", future:wait()) end
    fails("cancelled", future:result())
    silent:unsubscribe()
  end)

  it("is waited for as often as one likes", function()
    local answered = assert(connection:subscribe("often"))
    local future = assert(connection:request_async("often", "", { timeout_ms = 5000 }))
    assert.is_true(assert(answered:next(5000)):respond("once"))
    for _ = 1, 3 do assert.equal("once", assert(future:wait(5000)).payload) end
    answered:unsubscribe()
  end)

  it("that nobody holds on to ends by itself", function()
    for _ = 1, 1000 do assert(connection:request_async("nobody", "", { timeout_ms = 5000 })) end
    collectgarbage()
    collectgarbage()
    assert.is_true(connection:flush(5000))
  end)
end)

describe("poller()", function()
  it("tells of each future once, by its number, and does not wait for none", function()
    local poller = assert(nats.poller())
    local start = socket.gettime()
    assert.same({}, poller:wait(5000))
    assert.is_true(socket.gettime() - start < 1)
    local futures = {}
    for n = 1, 10 do
      futures[n] = assert(connection:request_async("nobody", "", { timeout_ms = 5000 }))
      assert.is_true(poller:add(futures[n], n))
    end
    local told = {}
    wait_until(function()
      for _, number in ipairs(assert(poller:wait(100))) do told[#told + 1] = number end
      return #told == 10
    end, "ten futures")
    table.sort(told)
    assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, told)
    assert.same({ watched = 0 }, poller:status())
    assert.is_true(poller:add(futures[1], -7))
    assert.same({ watched = 1 }, poller:status())
    assert.same({ -7 }, poller:wait(0))
  end)

  it("waits for no longer than it is told to", function()
    local silent = assert(connection:subscribe("silent"))
    local poller = assert(nats.poller())
    local future = assert(connection:request_async("silent", "", { timeout_ms = 60000 }))
    assert.is_true(poller:add(future, 1))
    local start = socket.gettime()
    assert.same({}, poller:wait(100))
    local took = socket.gettime() - start
    assert.is_true(took >= 0.1 and took < 0.6)
    assert.same({ watched = 1 }, poller:status())
    future:cancel()
    assert.same({ 1 }, poller:wait(5000))
    silent:unsubscribe()
    fails("bad_argument", poller:add(1, 1))
    fails("bad_argument", poller:add(future, "x"))
    fails("bad_argument", poller:add(future))
    fails("bad_argument", poller:wait(-1))
    fails("bad_argument", poller.status(future))
  end)
end)

describe("sleep() and yielding()", function()
  it("wait where nothing else is said", function()
    local start = socket.gettime()
    assert.is_true(nats.sleep(100))
    assert.is_true(nats.sleep(0.5))
    local took = socket.gettime() - start
    assert.is_true(took >= 0.1 and took < 0.6)
    for _, wrong in ipairs({ -1, "1", {}, 3600001, 0 / 0 }) do fails("bad_argument", nats.sleep(wrong)) end
  end)

  it("yield a future in a coroutine that has asked for it, which gets its result when it goes on", function()
    local own = coroutine.create(function()
      assert.is_true(nats.yielding(true))
      local slept = nats.sleep(50)
      assert.is_true(nats.yielding(false))
      return slept, nats.sleep(1)
    end)
    local ok, future = coroutine.resume(own)
    assert.is_true(ok)
    assert.equal("rgw_nats.future", getmetatable(future))
    fails("timeout", future:done())
    assert.is_true(future:wait())
    assert.same({ true, true, true }, { coroutine.resume(own, "what is given to it is of no matter") })
    assert.equal("dead", coroutine.status(own))
  end)

  it("go on waiting where they are resumed too early, or can't yield", function()
    local start = socket.gettime()
    local early = sleeping(100)
    early()
    assert.is_true(early())
    assert.is_true(socket.gettime() - start >= 0.1)
    assert.is_true(nats.yielding(true))
    assert.is_true(nats.sleep(1))
    nats.yielding(false)
    local inside = coroutine.wrap(function()
      nats.yielding(true)
      local slept
      table.sort({ 1, 2 }, function() slept = nats.sleep(1) return false end)
      return slept
    end)
    assert.is_true(inside())
  end)

  it("give a failure to the coroutine that goes on", function()
    -- One who keeps silent: that nobody is there could be told before there is anything to yield.
    local silent = assert(connection:subscribe("silent"))
    assert(connection:flush(5000))
    local own = coroutine.wrap(function()
      nats.yielding(true)
      return connection:request("silent", "", { timeout_ms = 100 })
    end)
    local future = own()
    fails("timeout", future:wait())
    fails("timeout", own())
    silent:unsubscribe()
  end)
end)

describe("a handle", function()
  it("can be used in other coroutines than its own", function()
    local own, future, poller
    coroutine.wrap(function()
      own = assert(connection:subscribe("across"))
      future = assert(connection:request_async("nobody", "", { timeout_ms = 5000 }))
      poller = assert(nats.poller())
    end)()
    collectgarbage()
    coroutine.wrap(function()
      fails("no_responders", future:wait())
      assert.is_true(poller:add(future, 1))
      assert.same({ 1 }, poller:wait(0))
      assert.is_true(connection:publish("across", "x"))
      assert.equal("x", assert(own:next(5000)).payload)
    end)()
    own:unsubscribe()
  end)

  it("of one class is none of another", function()
    local own = assert(connection:subscribe("class"))
    local handles = {
      connection = connection, subscription = own, poller = assert(nats.poller()),
      future = assert(connection:request_async("nobody", "")),
    }
    for class, handle in pairs(handles) do
      assert.equal("rgw_nats." .. class, getmetatable(handle))
      for name, method in pairs(debug.getmetatable(handle).__index) do
        for other, wrong in pairs(handles) do
          if other ~= class then fails("bad_argument", method(wrong)) end
        end
        fails("bad_argument", method())
        fails("bad_argument", method({}))
        assert.is_function(method, name)
      end
    end
    own:unsubscribe()
  end)

  it("may be left with work pending when its state ends", function()
    local run = helpers.run([[
      local nats = require("rgw_nats")
      local connection = assert(nats.connect(arg[1], { exit_timeout_ms = 2000 }))
      assert(connection:flush(5000))
      local own = assert(connection:subscribe("pending"))
      local poller = assert(nats.poller())
      for n = 1, 100 do
        assert(connection:publish("pending", tostring(n)))
        assert(poller:add(assert(connection:request_async("pending", "", { timeout_ms = 60000 })), n))
      end
      local async = require("rgw_nats.async")
      local kept = coroutine.create(function() nats.yielding(true) own:next(60000) end)
      coroutine.resume(kept)
      async.run({ timeout_ms = 20 }, function()
        async.spawn(function() connection:request("pending") end)
        own:next(1)
      end)
      io.write("done")
    ]], { server:url() })
    assert.same({ 0, "done" }, { run.status, run.out })
    assert.is_nil(run.err:find("[^\n]\n."), run.err)
    assert.is_true(run.seconds < 5)
  end)
end)

describe("a subscription that is dropped", function()
  local function subscriptions()
    return assert(server:monitor("subsz")).num_subscriptions
  end

  it("ends at the server", function()
    connection:request("nobody", "", { timeout_ms = 5000 })
    local before = subscriptions()
    local function open()
      local list = {}
      for n = 1, 100 do list[n] = assert(connection:subscribe("dropped." .. n)) end
      assert.is_true(connection:flush(5000))
      wait_until(function() return subscriptions() == before + 100 end, "100 subscriptions")
      return #list
    end
    assert.equal(100, open())
    collectgarbage()
    collectgarbage()
    wait_until(function() return subscriptions() == before end, "no subscriptions")
  end)

  it("takes no memory: 10,000 of them, again and again", function()
    local run = helpers.run([[
      local nats = require("rgw_nats")
      local connection = assert(nats.connect(arg[1]))
      local function memory() return tonumber(io.open("/proc/self/statm"):read("a"):match("%d+ (%d+)")) * 4 end
      assert(connection:flush(10000))
      local sizes = {}
      for round = 1, 20 do
        local list = {}
        for n = 1, 10000 do list[n] = assert(connection:subscribe("many." .. n)) end
        assert(connection:flush(60000))
        list = nil
        collectgarbage()
        collectgarbage()
        assert(connection:flush(60000))
        sizes[round] = memory()
      end
      io.write(table.concat(sizes, " "))
    ]], { server:url() })
    assert.equal(0, run.status, run.err)
    local sizes = {}
    for size in run.out:gmatch("%d+") do sizes[#sizes + 1] = tonumber(size) end
    -- In KiB. A leak grows in each round; on a busy machine the most that is in use at a time grows now and then.
    local growth = {}
    for round = 6, #sizes do growth[#growth + 1] = sizes[round] - sizes[round - 1] end
    table.sort(growth)
    assert.equal(15, #growth)
    assert.is_true(growth[8] < 256, run.out)
    wait_until(function() return subscriptions() < 100 end, "no subscriptions")
  end)
end)

describe("encode(), decode() and array()", function()
  it("take JSON to Lua and back", function()
    for _, text in ipairs({
      "null", "true", "false", "0", "-5", "9223372036854775807", "1.5", '""', '"größe\\n"', "[]", "[1,2]", "{}",
      '{"a":[]}', "[[],{}]", '[null,1]', '{"a":null}',
    }) do
      assert.equal(text, assert(nats.encode(nats.decode(text))))
    end
    assert.equal("integer", math.type(nats.decode("1")))
    assert.equal("float", math.type(nats.decode("1.0")))
    assert.equal(nats.null, nats.decode("null"))
    assert.same({ a = { 1, nats.null } }, nats.decode('{"a":[1,null]}'))
  end)

  it("tell an empty array from an empty object", function()
    assert.equal("{}", nats.encode({}))
    assert.equal("[]", nats.encode(nats.array({})))
    assert.equal("[]", nats.encode(nats.array()))
    assert.equal("[1]", nats.encode(nats.array({ 1 })))
    local list = assert(nats.array())
    list[1] = "x"
    assert.equal('["x"]', nats.encode(list))
    assert.equal('{"x":1}', nats.encode({ x = 1 }))
    assert.equal('["x",2]', nats.encode({ "x", 2 }))
  end)

  it("refuse what JSON has no form for", function()
    local cyclic = {}
    cyclic[1] = cyclic
    for _, wrong in ipairs({
      0 / 0, math.huge, print, connection, "\255", { [true] = 1 }, { 1, x = 2 }, { [3] = 1 }, { ["\255"] = 1 }, cyclic,
      coroutine.create(print), io.stdout,
    }) do
      fails("bad_argument", nats.encode(wrong))
    end
    for _, wrong in ipairs({ "", "{", "[1,]", "nul", "1 2", "\255", ("["):rep(100000) }) do
      fails("bad_argument", nats.decode(wrong))
    end
    for _, wrong in ipairs({ 1, true, {} }) do fails("bad_argument", nats.decode(wrong)) end
    fails("bad_argument", nats.decode())
    fails("too_large", nats.decode(("["):rep(50) .. ("]"):rep(50)))
    for _, wrong in ipairs({ 1, "x", { x = 1 }, print }) do fails("bad_argument", nats.array(wrong)) end
  end)
end)
