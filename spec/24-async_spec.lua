-- require("rgw_nats.async"): tasks that let one another go on where each would wait.
local async = require("rgw_nats.async")
local helpers = require("helpers")
local nats = require("rgw_nats")
local socket = require("socket")
local fails = helpers.fails

local function seconds(fn, ...)
  local start = socket.gettime()
  local results = table.pack(fn(...))
  return socket.gettime() - start, table.unpack(results, 1, results.n)
end

describe("run()", function()
  it("returns what its function returns, with what it was given", function()
    assert.same({ 3, nil, "x", n = 3 }, table.pack(async.run(function(a, b) return a + b, nil, "x" end, 1, 2)))
    assert.equal(0, select("#", async.run(function() end)))
    assert.equal(5, async.run({ timeout_ms = 1000 }, function(a) return a end, 5))
  end)

  it("goes on until all tasks have ended", function()
    local ended = 0
    async.run(function()
      for _ = 1, 3 do
        async.spawn(function()
          async.sleep(20)
          async.spawn(function() async.sleep(20) ended = ended + 1 end)
          ended = ended + 1
        end)
      end
    end)
    assert.equal(6, ended)
  end)

  it("makes of each error a result that is a string", function()
    assert.matches("raised: .*boom", fails("raised", async.run(function() error("boom") end)))
    for _, value in ipairs({ {}, true, print, setmetatable({}, { __tostring = function() error({}) end }) }) do
      local text = fails("raised", async.run(function() error(value) end))
      assert.matches("no string, but a " .. type(value), text)
    end
    fails("raised", async.run(function() error() end))
    assert.matches("raised: 7$", fails("raised", async.run(function() error(7) end)))
    assert.equal("after", async.run(function() return "after" end))
  end)

  it("tells of errors that no one waits for", function()
    local told = {}
    local function on_error(message) told[#told + 1] = message error({}) end
    async.run({ on_error = on_error }, function()
      async.spawn(function() error("unseen") end)
      local seen = async.spawn(function() error("seen") end)
      fails("raised", seen:wait())
    end)
    assert.equal(1, #told)
    assert.matches("unseen", told[1])
  end)

  it("ends when its time is over, whatever its tasks do", function()
    for _, stubborn in ipairs({
      function() async.sleep(60000) end,
      function() while true do async.sleep(60000) end end,
      function() while true do coroutine.yield() end end,
      function() async.spawn(function() while true do coroutine.yield(print) end end):wait() end,
      function() async.gather({ function() async.sleep(60000) end }) end,
    }) do
      local took = seconds(function() fails("timeout", async.run({ timeout_ms = 50 }, stubborn)) end)
      assert.is_true(took >= 0.045 and took < 2, took)
    end
    local late
    assert.equal("main", async.run({ timeout_ms = 30 }, function()
      async.spawn(function() late = table.pack(async.sleep(60000)) end)
      return "main"
    end))
    fails("cancelled", table.unpack(late, 1, late.n))
  end)

  it("has no task begin once its time is over", function()
    local spawned
    async.run({ timeout_ms = 10 }, function()
      async.sleep(1000)
      spawned = table.pack(async.spawn(print))
    end)
    fails("timeout", table.unpack(spawned, 1, spawned.n))
  end)

  it("ends tasks that wait for one another", function()
    local took = seconds(function()
      fails("cancelled", async.run(function()
        local one, other
        one = async.spawn(function() return other:wait() end)
        other = async.spawn(function() return one:wait() end)
        return one:wait()
      end))
    end)
    assert.is_true(took < 2)
    fails("bad_argument", async.run(function()
      local own
      own = async.spawn(function() return own:wait() end)
      return own:wait()
    end))
  end)

  it("refuses to be run within run, and wrong arguments", function()
    assert.matches("within run", fails("bad_argument", async.run(function() return async.run(print) end)))
    for _, wrong in ipairs({ false, 1, "x", {} }) do fails("bad_argument", async.run(wrong)) end
    fails("bad_argument", async.run())
    for _, options in ipairs({
      { timeout_ms = -1 }, { timeout_ms = "1" }, { timeout_ms = 0 / 0 }, { timeout_ms = 3600001 },
      { on_error = 1 }, { limit = 1 }, { [{}] = 1 },
    }) do
      fails("bad_config", async.run(options, print))
    end
  end)

  it("lets a yield of the script's own be the others' turn", function()
    local order = {}
    async.run(function()
      for task = 1, 2 do
        async.spawn(function()
          for turn = 1, 2 do
            order[#order + 1] = task .. "." .. turn
            coroutine.yield("anything", {})
          end
        end)
      end
    end)
    assert.same({ "1.1", "2.1", "1.2", "2.2" }, order)
  end)
end)

describe("a task", function()
  it("is waited for, for some time or until its end", function()
    async.run(function()
      local task = async.spawn(function(...) async.sleep(60) return ... end, "a", nil, "b")
      fails("timeout", task:wait(5))
      fails("timeout", task:result())
      fails("timeout", task:done())
      assert.same({ "a", nil, "b", n = 3 }, table.pack(task:wait()))
      assert.is_true(task:done())
      assert.same({ "a", nil, "b", n = 3 }, table.pack(task:wait(0)))
      assert.same({ "a", nil, "b", n = 3 }, table.pack(task:result()))
      assert.is_true(task:cancel())
      assert.same({ "a", nil, "b", n = 3 }, table.pack(task:result()))
    end)
  end)

  it("that is cancelled has its waiting calls fail, and ends", function()
    async.run(function()
      local calls = {}
      local task = async.spawn(function()
        for n = 1, 3 do calls[n] = table.pack(async.sleep(60000)) end
        return "cleaned up"
      end)
      async.sleep(10)
      assert.is_true(task:cancel())
      assert.is_true(task:cancel())
      assert.equal("cleaned up", task:wait())
      for n = 1, 3 do fails("cancelled", table.unpack(calls[n], 1, calls[n].n)) end
      local never = false
      local fresh = async.spawn(function() never = true end)
      assert.is_true(fresh:cancel())
      fails("cancelled", fresh:wait())
      assert.is_false(never)
      local waiting = async.spawn(function()
        return async.spawn(function() async.sleep(50) end):wait()
      end)
      async.sleep(5)
      waiting:cancel()
      fails("cancelled", waiting:wait())
      local deaf = async.spawn(function() while true do async.sleep(60000) end end)
      async.sleep(5)
      deaf:cancel()
      fails("cancelled", deaf:wait())
    end)
  end)

  it("does not hold up what waits for another thing", function()
    local took = seconds(async.run, function()
      local list = {}
      for n = 1, 200 do list[n] = async.spawn(async.sleep, 100) end
      for _, task in ipairs(list) do assert.is_true(task:wait()) end
    end)
    assert.is_true(took < 2, took)
  end)

  it("can be asked after run, but not waited for outside of it", function()
    local ended, other
    async.run(function() ended = async.spawn(function() return 7 end) end)
    assert.equal(7, ended:wait())
    async.run(function()
      local running = async.spawn(function() async.sleep(30) end)
      other = coroutine.wrap(function() return running:wait() end)
      fails("bad_argument", other())
    end)
    fails("bad_argument", async.spawn(print))
    fails("bad_argument", async.spawn(1))
    for _, method in ipairs({ "wait", "done", "cancel", "result" }) do
      fails("bad_argument", ended[method]())
      fails("bad_argument", ended[method]({}))
    end
    fails("bad_argument", ended:wait(-1))
  end)
end)

describe("gather()", function()
  it("returns the results of functions, tasks and futures in their order", function()
    async.run(function()
      local task = async.spawn(function() async.sleep(20) return "task" end)
      local future = assert(nats.connect("127.0.0.1:" .. helpers.port())):request_async("a", "", { timeout_ms = 10 })
      local results = async.gather({
        function() async.sleep(40) return 1, nil, 3 end, task, future, function() error("boom") end,
        function() return nil end, function() return nil, "closed: x", "closed" end, task,
      })
      assert.same({ 1, nil, 3, n = 3, ok = true }, results[1])
      assert.same({ "task", n = 1, ok = true }, results[2])
      assert.equal("disconnected", results[3].code)
      assert.is_false(results[4].ok)
      assert.equal("raised", results[4].code)
      assert.same({ n = 1, ok = true }, results[5])
      assert.same({ nil, "closed: x", "closed", n = 3, ok = false, message = "closed: x", code = "closed" }, results[6])
      assert.same(results[2], results[7])
      assert.same({}, async.gather({}))
    end)
  end)

  it("cancels what it has started when its time is over, and nothing else", function()
    async.run(function()
      local own, task = nil, async.spawn(function() async.sleep(100) return "went on" end)
      local took, results = seconds(async.gather, {
        function() own = table.pack(async.sleep(60000)) end, task, function() return "in time" end,
      }, 20)
      assert.is_true(took < 1)
      assert.equal("timeout", results[1].code)
      assert.equal("timeout", results[2].code)
      assert.equal("in time", results[3][1])
      assert.equal("went on", task:wait())
      fails("cancelled", table.unpack(own, 1, own.n))
      assert.equal("timeout", results[1].code)
    end)
  end)

  it("is cancelled with the task that called it, with what it has started", function()
    async.run(function()
      local inner
      local task = async.spawn(function()
        return async.gather({ function() inner = table.pack(async.sleep(60000)) end })
      end)
      async.sleep(10)
      task:cancel()
      fails("cancelled", task:wait())
      coroutine.yield()
      async.sleep(1)
      fails("cancelled", table.unpack(inner, 1, inner.n))
    end)
  end)

  it("runs by itself outside of run", function()
    local took, results = seconds(async.gather, { function() return async.sleep(50) end, function() return 2 end })
    assert.is_true(took < 1)
    assert.same({ { true, n = 1, ok = true }, { 2, n = 1, ok = true } }, results)
    results = async.gather({ function() return async.sleep(60000) end }, 20)
    assert.equal("timeout", results[1].code)
  end)

  it("refuses what it can't wait for", function()
    for _, wrong in ipairs({ 1, "x", { 1 }, { print, {} }, { io.stdout }, { false } }) do
      fails("bad_argument", async.gather(wrong))
    end
    fails("bad_argument", async.gather({}, -1))
    async.run(function() fails("bad_argument", async.gather(async.spawn(function() end))) end)
  end)
end)

describe("timeout()", function()
  it("cancels a function that takes too long, within run and outside of it", function()
    local function long() return async.sleep(60000) end
    local function try()
      fails("timeout", async.timeout(20, long))
      assert.same({ 1, 2 }, { async.timeout(1000, function(...) return ... end, 1, 2) })
      fails("raised", async.timeout(1000, error, "x"))
      fails("bad_argument", async.timeout(-1, long))
      fails("bad_argument", async.timeout(1, 1))
    end
    try()
    async.run(try)
  end)
end)

describe("a call that waits", function()
  local server
  setup(function() server = helpers.server() end)
  teardown(helpers.stop)

  it("lets the others go on: requests, subscriptions, flushes, futures", function()
    local connection = assert(nats.connect(server:url()))
    assert(connection:flush(5000))
    local took, answers = seconds(async.run, function()
      local asked = assert(connection:subscribe("ask.*"))
      async.spawn(function()
        for _ = 1, 100 do
          local message = assert(asked:next(5000))
          async.spawn(function()
            async.sleep(100)
            message:respond("answer to " .. message.payload)
          end)
        end
      end)
      local list = {}
      for n = 1, 100 do
        list[n] = function() return connection:request("ask." .. n, tostring(n), { timeout_ms = 5000 }) end
      end
      assert.is_true(connection:flush(5000))
      return async.gather(list)
    end)
    assert.is_true(took < 3, took)
    for n = 1, 100 do assert.equal("answer to " .. n, answers[n][1].payload) end
  end)

  it("of a task that is cancelled takes its request back", function()
    local connection = assert(nats.connect(server:url()))
    local silent = assert(connection:subscribe("silent"))
    async.run(function()
      local task = async.spawn(function() return connection:request("silent", "", { timeout_ms = 60000 }) end)
      assert(silent:next(5000))
      task:cancel()
      fails("cancelled", task:wait())
    end)
  end)

  it("waits as ever outside of tasks, in coroutines of the script's own, and where Lua can't yield", function()
    local connection = assert(nats.connect(server:url()))
    assert.is_number(connection:rtt(5000).milliseconds)
    local answer
    async.run(function()
      local own = coroutine.wrap(function() return connection:rtt(5000).milliseconds end)
      assert.is_number(own())
      table.sort({ 1, 2 }, function() answer = connection:rtt(5000).milliseconds return false end)
    end)
    assert.is_number(answer)
  end)
end)

describe("the library", function()
  it("takes no more memory than its page says, as Ceph 20.2 gives a script little", function()
    local server = helpers.server()
    local run = helpers.run([[
      local function used()
        collectgarbage()
        collectgarbage()
        return collectgarbage("count")
      end
      local before = used()
      local nats, async = require("rgw_nats"), require("rgw_nats.async")
      io.write(used() - before, "\n")
      local connection = assert(nats.connect(arg[1]))
      local held = assert(connection:subscribe("silent.*"))
      assert(connection:flush(5000))
      local start, tasks = used(), {}
      for n = 1, 15 do tasks[n] = function() return connection:request("silent." .. n, "", { timeout_ms = 300 }) end end
      tasks[16] = function()
        async.sleep(100)
        io.write((used() - start) / 16, held and "" or "x")
      end
      async.gather(tasks)
    ]], { server:url() })
    local library, task = run.out:match("^(%S+)\n(%S+)$")
    assert.is_true(tonumber(library) < 48, run.out .. run.err)
    assert.is_true(tonumber(task) < 3, run.out)
    helpers.stop()
  end)
end)

describe("on_ready() and poll()", function()
  it("call a function with what a future has come to", function()
    local connection = assert(nats.connect("127.0.0.1:" .. helpers.port()))
    local got = {}
    for n = 1, 3 do
      local future = assert(connection:request_async("a", "", { timeout_ms = 10 * n }))
      assert.is_true(async.on_ready(future, function(...) got[#got + 1] = { n, select(3, ...) } end))
    end
    assert.is_true(async.poll())
    while assert.is_boolean(async.poll(1000)) and async.poll() do end
    helpers.wait_until(function() async.poll(10) return #got == 3 end, "three futures")
    assert.same({ { 1, "disconnected" }, { 2, "disconnected" }, { 3, "disconnected" } }, got)
    assert.is_false(async.poll())
  end)

  it("tell of errors once all functions have had their turn", function()
    local connection = assert(nats.connect("127.0.0.1:" .. helpers.port()))
    local called = 0
    for _ = 1, 2 do
      local future = assert(connection:request_async("a", "", { timeout_ms = 0 }))
      fails("disconnected", future:wait())
      assert(async.on_ready(future, function() called = called + 1 error({}) end))
    end
    fails("raised", async.poll(1000))
    assert.equal(2, called)
    assert.is_false(async.poll())
    fails("bad_argument", async.on_ready(1, print))
    fails("bad_argument", async.poll(-1))
    local future = assert(connection:request_async("a", "", { timeout_ms = 0 }))
    fails("bad_argument", async.on_ready(future, 1))
  end)
end)
