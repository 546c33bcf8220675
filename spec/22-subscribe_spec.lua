-- subscribe() and what it returns: wildcards, queue groups, bounds, ends, reconnects.
local helpers = require("helpers")
local nats = require("rgw_nats")
local socket = require("socket")
local fails, wait_until = helpers.fails, helpers.wait_until

local server, connection
setup(function()
  server = helpers.server()
  connection = assert(nats.connect(server:url()))
end)
teardown(helpers.stop)

local function subscribe(...)
  local subscription = assert(connection:subscribe(...))
  assert.is_true(connection:flush(5000))
  return subscription
end

local function publish(...)
  for _, subject in ipairs({ ... }) do assert.is_true(connection:publish(subject, subject)) end
  assert.is_true(connection:flush(5000))
end

-- The payloads that lie in a subscription.
local function payloads(subscription)
  local found = {}
  while true do
    local message = subscription:next(0)
    if not message then return found end
    found[#found + 1] = message.payload
  end
end

local function pending(subscription, number)
  wait_until(function() return subscription:status().pending == number end, number .. " messages")
end

describe("subscribe()", function()
  it("takes wildcards", function()
    local all, one, exact, last = subscribe("w.>"), subscribe("w.*.c"), subscribe("w.b"), subscribe("*.b")
    publish("w.b", "w.b.c", "w.b.c.d", "w.x.c", "x.b")
    pending(all, 4)
    pending(last, 2)
    assert.same({ "w.b", "w.b.c", "w.b.c.d", "w.x.c" }, payloads(all))
    assert.same({ "w.b.c", "w.x.c" }, payloads(one))
    assert.same({ "w.b" }, payloads(exact))
    assert.same({ "w.b", "x.b" }, payloads(last))
  end)

  it("refuses what is no subject, and wrong options", function()
    for _, wrong in ipairs({ "", ".", "a..b", "a b", "a.>.b", "a\n", "\255" }) do
      local code = wrong == "\255" and "bad_argument" or "bad_subject"
      fails(code, connection:subscribe(wrong))
    end
    for _, wrong in ipairs({ 1, {}, true }) do fails("bad_argument", connection:subscribe(wrong)) end
    fails("bad_argument", connection:subscribe("a", 1))
    for _, wrong in ipairs({
      { queue = "" }, { queue = "a b" }, { queue = 1 }, { capacity = 0 }, { capacity_bytes = 1 },
      { slow_consumer = "x" }, { other = 1 },
    }) do
      fails("bad_config", connection:subscribe("a", wrong))
    end
    -- The server would end the connection for it, each time.
    fails("bad_config", connection:subscribe(("a"):rep(3800), { queue = ("q"):rep(101) }))
    subscribe(("a"):rep(3800), { queue = ("q"):rep(100) }):unsubscribe()
  end)

  it("shares messages out among a queue group", function()
    local one, two = subscribe("q", { queue = "workers" }), subscribe("q", { queue = "workers" })
    local other, plain = subscribe("q", { queue = "others" }), subscribe("q")
    for n = 1, 100 do assert.is_true(connection:publish("q", tostring(n))) end
    assert.is_true(connection:flush(5000))
    pending(plain, 100)
    pending(other, 100)
    wait_until(function() return one:status().pending + two:status().pending == 100 end, "100 messages in a group")
    assert.is_true(one:status().pending > 10 and two:status().pending > 10)
  end)

  it("works before there is a server, and goes on over a restart", function()
    local late = helpers.server()
    late:stop()
    local early = assert(nats.connect(late:url(), { exit_timeout_ms = 0, max_reconnect_wait_ms = 100 }))
    local own = assert(early:subscribe("a.*"))
    for n = 1, 3 do
      late:start()
      local outside
      wait_until(function() return early:status().connects == n and early:status().connected end, "a connection")
      wait_until(function() return (late:monitor("connz?subs=1") or {}).num_connections == 1 end, "its monitoring")
      outside = late:subscribe("x")
      wait_until(function()
        outside:send("PUB a.b 1\r\n" .. n .. "\r\n")
        local message = own:next(50)
        return message and message.payload == tostring(n)
      end, "a message after restart " .. n)
      while own:next(100) do end
      outside:close()
      late:stop()
    end
    fails("timeout", own:next(50))
    assert.is_true(own:status().open)
  end)
end)

describe("slow_consumer", function()
  local function fill(options, number, size)
    local subscription = subscribe("slow", options)
    for n = 1, number do assert.is_true(connection:publish("slow", n .. ("x"):rep(size or 0))) end
    assert.is_true(connection:flush(5000))
    return subscription
  end
  local function received(subscription, number)
    wait_until(function() return subscription:status().received == number end, "what came in")
    return subscription:status()
  end

  it("drops new messages, if nothing else is said", function()
    local slow = fill({ capacity = 3 }, 10)
    local status = received(slow, 10)
    assert.same({ 3, 7, true }, { status.pending, status.dropped, status.open })
    assert.same({ "1", "2", "3" }, payloads(slow))
    publish("slow")
    assert.equal("slow", assert(slow:next(5000)).payload)
  end)

  it("drops the oldest", function()
    local slow = fill({ capacity = 3, slow_consumer = "drop_oldest" }, 10)
    assert.equal(7, received(slow, 10).dropped)
    assert.same({ "8", "9", "10" }, payloads(slow))
  end)

  it("ends the subscription", function()
    local slow = fill({ capacity = 3, slow_consumer = "end" }, 10)
    wait_until(function() return not slow:status().open end, "its end")
    for n = 1, 3 do assert.equal(tostring(n), assert(slow:next(0)).payload) end
    fails("queue_full", slow:next(100))
    fails("queue_full", slow:next())
  end)

  it("counts bytes", function()
    local slow = fill({ capacity_bytes = 4096 }, 10, 1000)
    local status = received(slow, 10)
    assert.is_true(status.pending == 3 and status.pending_bytes > 3000 and status.pending_bytes <= 4096)
    assert.equal(7, status.dropped)
    payloads(slow)
    assert.equal(0, slow:status().pending_bytes)
  end)
end)

describe("a subscription", function()
  it("gives the next message, waits for one, and no longer than it is told to", function()
    local own = subscribe("n")
    local start = socket.gettime()
    fails("timeout", own:next(100))
    fails("timeout", own:next(0))
    local took = socket.gettime() - start
    assert.is_true(took >= 0.1 and took < 0.6, took)
    publish("n")
    assert.equal("n", assert(own:next(5000)).payload)
    for _, wrong in ipairs({ -1, "1", {}, 3600001 }) do fails("bad_argument", own:next(wrong)) end
  end)

  it("can be walked over, until no message has come for half a second", function()
    local own = subscribe("walk.*")
    publish("walk.1", "walk.2", "walk.3")
    local found = {}
    for message in own do found[#found + 1] = message.subject end
    assert.same({ "walk.1", "walk.2", "walk.3" }, found)
    for message in own do error(message.subject) end
  end)

  it("ends at once, after so many messages, or when what is on its way has come in", function()
    local gone = subscribe("end")
    publish("end", "end")
    pending(gone, 2)
    assert.is_true(gone:unsubscribe())
    fails("closed", gone:next(100))
    assert.is_false(gone:status().open)
    local counted = subscribe("end")
    assert.is_true(counted:unsubscribe(3))
    publish("end", "end", "end", "end", "end")
    pending(counted, 3)
    assert.equal(3, #payloads(counted))
    fails("closed", counted:next(5000))
    publish("end")
    local late = subscribe("end")
    publish("end", "end")
    pending(late, 2)
    assert.is_true(late:unsubscribe(2))
    assert.equal(2, #payloads(late))
    fails("closed", late:next(5000))
    local drained = subscribe("end")
    publish("end", "end")
    assert.is_true(drained:drain(5000))
    assert.equal(2, #payloads(drained))
    fails("closed", drained:next(100))
    assert.is_true(drained:drain(5000))
    assert.is_true(drained:unsubscribe())
    for _, wrong in ipairs({ -1, 1.5, "1", {} }) do fails("bad_argument", drained:unsubscribe(wrong)) end
  end)

  it("of a limited number goes on over a restart with what is left of it", function()
    local again = helpers.server()
    local over = assert(nats.connect(again:url(), { exit_timeout_ms = 0, max_reconnect_wait_ms = 100 }))
    local own = assert(over:subscribe("a"))
    assert.is_true(own:unsubscribe(3))
    assert.is_true(over:flush(5000) and over:publish("a", "1") and over:flush(5000))
    assert.equal("1", assert(own:next(5000)).payload)
    again:stop()
    again:start()
    wait_until(function() return over:status().connects == 2 end, "another connection")
    assert.is_true(over:flush(5000))
    for n = 2, 5 do assert.is_true(over:publish("a", tostring(n))) end
    assert.equal("2", assert(own:next(5000)).payload)
    assert.equal("3", assert(own:next(5000)).payload)
    fails("closed", own:next(5000))
  end)

  it("ends while a script waits for it", function()
    local async = require("rgw_nats.async")
    async.run(function()
      local own = subscribe("ends")
      local waiting = async.spawn(function() return own:next(60000) end)
      async.sleep(20)
      own:unsubscribe()
      fails("closed", waiting:wait(5000))
    end)
  end)

  it("tells its numbers, and its subject", function()
    local own = subscribe("numbers.*")
    publish("numbers.1", "numbers.2")
    pending(own, 2)
    local status = own:status()
    assert.is_true(status.pending_bytes > 0)
    status.pending_bytes = nil
    assert.same({ subject = "numbers.*", pending = 2, received = 2, dropped = 0, open = true }, status)
    assert.matches("numbers%.%*", tostring(own))
  end)
end)
