-- Consumers that hand messages out and wait for acknowledgements.
local helpers = require("helpers")
local nats = require("rgw_nats")
local socket = require("socket")
local fails, wait_until = helpers.fails, helpers.wait_until

local STORE = helpers.STORE
local SECOND = 1000000000

local js, connection
setup(function() js, connection = helpers.jetstream() end)
teardown(helpers.stop)

-- A new stream with so many messages, whose payloads are their numbers.
local function stream(count, own)
  local name = helpers.name()
  assert((own or js):create_stream({ name = name, subjects = { name .. ".>" } }))
  local futures = {}
  for n = 1, count do futures[n] = assert((own or js):publish_async(name .. "." .. n % 2, tostring(n))) end
  for n = 1, count do assert(futures[n]:wait()) end
  return name
end

local function durable(name, more)
  local config = { durable_name = "d", ack_policy = "explicit" }
  for key, value in pairs(more or {}) do config[key] = value end
  return assert(js:consumer(name, config))
end

local function payloads(messages)
  local found = {}
  for n, message in ipairs(messages) do found[n] = message.payload end
  return table.concat(found, " ")
end

local function milliseconds(call)
  local start = socket.gettime()
  call()
  return (socket.gettime() - start) * 1000
end

describe("consumer()", function()
  it("makes a durable one, and finds it again by its name", function()
    local name = stream(3)
    local made = durable(name, { description = "größe", filter_subject = name .. ".1" })
    assert.equal("rgw_nats.consumer: d of " .. name, tostring(made))
    local info = assert(made:info())
    assert.same({ "d", name, "explicit", name .. ".1", 2 }, {
      info.name, info.stream_name, info.config.ack_policy, info.config.filter_subject, info.num_pending,
    })
    assert.is_nil(info.type)
    local found = assert(js:consumer(name, "d"))
    assert.equal("1 3", payloads(found:fetch(2, { timeout_ms = 5000 })))
    assert.equal(2, made:info().num_ack_pending)
    fails("not_found", js:consumer(name, "other"))
    fails("not_found", js:consumer("nothing", "d"))
    fails("not_found", js:consumer("nothing", { durable_name = "d" }))
  end)

  it("makes one without a name, which ends by itself", function()
    local name = stream(1)
    local made = assert(js:consumer(name, { ack_policy = "none", inactive_threshold = SECOND // 10 }))
    assert.is_true(#made:info().name > 0)
    assert.equal("1", assert(made:next(5000)).payload)
    wait_until(function() return #js:consumer_names(name) == 0 end, "the end of an ephemeral consumer")
    fails("not_found", made:next(200))
    fails("not_found", made:fetch(1, { no_wait = true }))
    fails("not_found", made:info())
    local named = assert(js:consumer(name, { name = "named", ack_policy = "none" }))
    assert.is_nil(named:info().config.durable_name)
    assert.same({ "named" }, { table.unpack(js:consumer_names(name)) })
  end)

  it("creates or updates only, where it is told so, from 2.10 on", function()
    local newer = helpers.server(STORE, assert(helpers.nats_server(2, 10), "no nats-server of 2.10 or newer is here"))
    local own = assert(nats.connect(newer:url())):jetstream({ timeout_ms = 5000 })
    local name = stream(2, own)
    local function with(action, description)
      return own:consumer(name, { durable_name = "d", ack_policy = "explicit", description = description }, action)
    end
    fails("not_found", with("update", "0"))
    assert(with("create", "1"))
    assert(with("create", "1"))
    fails("conflict", with("create", "2"))
    assert.equal("2", assert(with("update", "2")):info().config.description)
    assert.equal("3", assert(with(nil, "3")):info().config.description)
    fails("bad_argument", with("delete", "4"))
    fails("bad_argument", with(1, "4"))
    local both = assert(own:consumer(name, { durable_name = "both", filter_subjects = { name .. ".0", name .. ".x" } }))
    assert.equal("2", payloads(both:fetch(5, { timeout_ms = 100 })))
  end)

  it("refuses names that are none, what can't be pulled from, and what the server would ignore", function()
    local name = stream(0)
    for _, wrong in ipairs({ "", "a b", "a.b", "*", "a\r\nPING", ("x"):rep(256) }) do
      fails("bad_argument", js:consumer(name, wrong))
      fails("bad_argument", js:delete_consumer(name, wrong))
      if wrong ~= "" then
        fails("bad_argument", js:consumer(name, { durable_name = wrong }))
        fails("bad_argument", js:consumer(name, { name = wrong }))
      end
    end
    fails("bad_argument", js:consumer("a b", "d"))
    fails("bad_argument", js:consumer(name, 1))
    fails("bad_argument", js:consumer(name))
    fails("bad_argument", js:consumer(name, { deliver_subject = "push" }))
    assert.matches("2.10", fails("jetstream", js:consumer(name, { filter_subjects = { name .. ".1" } })))
    fails("jetstream", js:consumer(name, { ack_policy = "sometimes" }))
    fails("jetstream", js:consumer(name, { durable_name = "d", max_deliver = "often" }))
  end)

  it("that pushes is told from one that is pulled from", function()
    local name = stream(1)
    assert(js:api("CONSUMER.DURABLE.CREATE." .. name .. ".push", {
      stream_name = name,
      config = { durable_name = "push", deliver_subject = "push." .. name, ack_policy = "explicit" },
    }))
    local push = assert(js:consumer(name, "push"))
    fails("jetstream", push:fetch(1, { no_wait = true }))
  end)
end)

describe("fetch()", function()
  it("returns as many as it is told to, as soon as they are there", function()
    local consumer = durable(stream(250))
    local count
    assert.is_true(milliseconds(function() count = #assert(consumer:fetch(200, { timeout_ms = 10000 })) end) < 5000)
    assert.equal(200, count)
    local rest
    local took = milliseconds(function() rest = assert(consumer:fetch(100, { timeout_ms = 300 })) end)
    assert.equal(50, #rest)
    assert.is_true(took >= 290 and took < 1000, took)
    assert.equal("201", rest[1].payload)
  end)

  it("returns what is there at once, where it is told so", function()
    local consumer = durable(stream(3))
    for _, options in ipairs({ { no_wait = true }, { timeout_ms = 0 }, { no_wait = true, timeout_ms = 5000 } }) do
      local found
      local took = milliseconds(function() found = assert(consumer:fetch(10, options)) end)
      assert.is_true(took < 400, took)
      assert.equal(_ == 1 and "1 2 3" or "", payloads(found))
    end
    fails("timeout", consumer:next(0))
  end)

  it("of one with a time limit of 0 waits for a server that is slow to say what it has", function()
    local own = helpers.server(STORE)
    local its = assert(assert(nats.connect(own:url())):jetstream({ timeout_ms = 10000 }))
    local name = stream(1, its)
    local consumer = assert(its:consumer(name, { durable_name = "d", ack_policy = "explicit" }))
    fails("timeout", assert(its:consumer(name, { durable_name = "e", filter_subject = name .. ".none" })):next(0))
    own:pause()
    -- A server that stands still for a fifth of a second.
    os.execute(("(sleep 0.2; kill -CONT %s) &"):format(own.pid))
    assert.equal("1", assert(consumer:next(0)).payload)
  end)

  it("gets all that is published while it waits", function()
    local name = stream(0)
    local consumer = durable(name)
    local got, expected = {}, 300
    for n = 1, expected do
      assert(js:publish_async(name .. ".a", tostring(n)))
      -- One that ends just when a message comes has it, and not after ack_wait only.
      for _, message in ipairs(assert(consumer:fetch(5, { timeout_ms = 1 }))) do got[#got + 1] = message.payload end
    end
    wait_until(function()
      for _, message in ipairs(assert(consumer:fetch(100, { timeout_ms = 50 }))) do got[#got + 1] = message.payload end
      return #got >= expected
    end, "all messages")
    for n = 1, expected do assert.equal(tostring(n), got[n]) end
  end)

  it("has all that is known of a message", function()
    local name = stream(0)
    assert(js:publish(name .. ".a", "\0", { headers = { Many = { "1", "2" } }, id = "i" }))
    assert(js:publish(name .. ".a", "next"))
    local consumer = durable(name)
    local message = assert(consumer:fetch(1, { timeout_ms = 5000 }))[1]
    assert.same({ "\0", name .. ".a", { Many = { "1", "2" }, ["Nats-Msg-Id"] = "i" } }, {
      message.payload, message.subject, message.headers,
    })
    assert.same({ name, "d", 1, 1, 1, 1 }, {
      message.stream, message.consumer, message.sequence, message.consumer_sequence, message.delivered, message.pending,
    })
    assert.is_true(math.abs(message.timestamp_ms / 1000 - socket.gettime()) < 60)
    assert.equal(tostring(connection), tostring(message.connection))
    assert.matches("^%$JS%.ACK%.", message.reply)
  end)

  it("asks for no more bytes than the consumer gives", function()
    local name = stream(4)
    local consumer = durable(name, { max_bytes = 1000, max_batch = 3 })
    assert.equal("1 2 3", payloads(assert(consumer:fetch(3, { timeout_ms = 500 }))))
    fails("jetstream", consumer:fetch(4, { timeout_ms = 500 }))
  end)

  it("refuses wrong numbers and options", function()
    local consumer = durable(stream(0))
    for _, wrong in ipairs({ 0, -1, 10001, 1.5, "1", {} }) do fails("bad_argument", consumer:fetch(wrong)) end
    fails("bad_argument", consumer:fetch())
    fails("bad_argument", consumer:fetch(1, 1))
    for _, wrong in ipairs({ { no_wait = 1 }, { timeout_ms = -1 }, { timeout_ms = 3600001 }, { x = 1 } }) do
      fails("bad_config", consumer:fetch(1, wrong))
    end
    for _, wrong in ipairs({ -1, "1", {}, 3600001 }) do fails("bad_argument", consumer:next(wrong)) end
  end)
end)

describe("next() and iteration", function()
  it("return one message after another, until none comes in time", function()
    local consumer = durable(stream(3))
    assert.equal("1", assert(consumer:next(5000)).payload)
    local found = {}
    local took = milliseconds(function()
      for message in consumer do
        found[#found + 1] = message.payload
        assert.is_true(message:ack())
      end
    end)
    assert.same({ "2", "3" }, found)
    assert.is_true(took >= 450 and took < 2000, took)
    took = milliseconds(function() fails("timeout", consumer:next(100)) end)
    assert.is_true(took >= 95 and took < 600, took)
  end)

  it("yield in tasks, so that consumers share the time", function()
    local async = require("rgw_nats.async")
    local one, other = durable(stream(20)), durable(stream(0))
    local found = 0
    local took = milliseconds(function()
      async.run(function()
        async.spawn(function() fails("timeout", other:next(500)) end)
        for _ = 1, 20 do
          async.spawn(function()
            assert(one:next(5000)):ack_sync()
            found = found + 1
          end)
        end
      end)
    end)
    assert.equal(20, found)
    assert.is_true(took < 2000, took)
    assert.equal(0, one:info().num_ack_pending)
  end)
end)

describe("a message", function()
  it("is done with ack, and comes again without", function()
    local consumer = durable(stream(2), { ack_wait = SECOND // 5 })
    local first, second = table.unpack(assert(consumer:fetch(2, { timeout_ms = 5000 })))
    assert.is_true(first:ack())
    local again = assert(consumer:next(5000))
    assert.same({ "2", 2, second.sequence, 3 }, {
      again.payload, again.delivered, again.sequence, again.consumer_sequence,
    })
    assert.is_true(again:ack_sync(5000))
    assert.same({ 0, 0, 2 }, {
      consumer:info().num_ack_pending, consumer:info().num_redelivered, consumer:info().ack_floor.stream_seq,
    })
    fails("timeout", consumer:next(400))
  end)

  it("comes again at once with nak, or after a delay", function()
    local consumer = durable(stream(1))
    assert.is_true(assert(consumer:next(5000)):nak())
    local again = assert(consumer:next(5000))
    assert.equal(2, again.delivered)
    assert.is_true(again:nak(500))
    local took = milliseconds(function() again = assert(consumer:next(5000)) end)
    assert.is_true(took >= 400 and took < 2000, took)
    assert.equal(3, again.delivered)
    for _, wrong in ipairs({ -1, "1", {} }) do fails("bad_argument", again:nak(wrong)) end
  end)

  it("has more time with in_progress", function()
    local consumer = durable(stream(1), { ack_wait = SECOND * 3 // 10 })
    local message = assert(consumer:next(5000))
    for _ = 1, 5 do
      socket.sleep(0.15)
      assert.is_true(message:in_progress())
      fails("timeout", consumer:next(0))
    end
    assert.is_true(message:ack_sync(5000))
    fails("timeout", consumer:next(500))
  end)

  it("does not come again with term", function()
    local consumer = durable(stream(2), { ack_wait = SECOND // 5 })
    local first, second = table.unpack(assert(consumer:fetch(2, { timeout_ms = 5000 })))
    assert.is_true(first:term())
    assert.is_true(second:term("broken for good"))
    fails("timeout", consumer:next(500))
    assert.equal(0, consumer:info().num_ack_pending)
    fails("bad_argument", first:term({}))
  end)

  it("that is acknowledged is, when ack_sync returns, or it fails", function()
    local name = stream(2)
    local consumer = durable(name)
    local message = assert(consumer:next(5000))
    for _ = 1, 2 do assert.is_true(message:ack_sync(5000)) end
    assert.equal(1, consumer:info().ack_floor.stream_seq)
    local other = assert(consumer:next(5000))
    assert.is_true(consumer:delete())
    local _, _, code = other:ack_sync(300)
    assert.is_true(code == "no_responders" or code == "timeout", code)
    fails("bad_argument", message.ack({}))
    fails("bad_argument", message.ack({ reply = "a", connection = js }))
    fails("bad_argument", message:ack_sync(-1))
    fails("bad_argument", message.ack())
  end)

  it("is delivered as often as max_deliver says", function()
    local consumer = durable(stream(1), { max_deliver = 2, ack_wait = SECOND // 10 })
    assert.equal(1, assert(consumer:next(5000)).delivered)
    assert.equal(2, assert(consumer:next(5000)).delivered)
    fails("timeout", consumer:next(400))
  end)
end)

describe("a consumer that is deleted", function()
  it("is not_found, by each way", function()
    local name = stream(1)
    local consumer = durable(name)
    assert(consumer:next(5000)):nak()
    assert.same({ "d" }, { table.unpack(js:consumer_names(name)) })
    assert.is_true(consumer:delete())
    assert.same({}, js:consumer_names(name))
    for _ = 1, 2 do
      fails("not_found", consumer:next(200))
      fails("not_found", consumer:fetch(1, { no_wait = true }))
      fails("not_found", consumer:info())
      fails("not_found", consumer:delete())
      fails("not_found", js:delete_consumer(name, "d"))
    end
    local second = durable(name)
    assert.equal("1", assert(second:next(5000)).payload)
    assert.is_true(js:delete_consumer(name, "d"))
    fails("not_found", second:next(200))
    durable(name)
    -- The handle goes by the name.
    assert.equal("1", assert(second:next(5000)).payload)
    assert.is_true(js:delete_stream(name))
    fails("not_found", second:next(200))
  end)

  it("while it is asked for messages is not_found then, from 2.10 on", function()
    local newer = helpers.server(STORE, assert(helpers.nats_server(2, 10)))
    local own = assert(nats.connect(newer:url())):jetstream({ timeout_ms = 5000 })
    local name = stream(0, own)
    local consumer = assert(own:consumer(name, { durable_name = "d", ack_policy = "explicit" }))
    local waiting = coroutine.wrap(function()
      nats.yielding(true)
      return consumer:next(10000)
    end)
    local future = waiting()
    wait_until(function() return consumer:info().num_waiting == 1 end, "a waiting pull")
    assert.is_true(own:delete_consumer(name, "d"))
    assert.is_true(milliseconds(function() fails("not_found", future:wait()) end) < 3000)
    fails("not_found", consumer:fetch(1, { no_wait = true }))
    fails("not_found", consumer:fetch(1, { timeout_ms = 100 }))
  end)
end)

describe("consumer_names()", function()
  it("has all of them, over more than one page", function()
    local name = stream(0)
    assert.same({}, js:consumer_names(name))
    local wanted = {}
    for n = 1, 1030 do
      wanted[n] = ("c%04d"):format(n)
      assert(js:consumer(name, { name = wanted[n], inactive_threshold = 60 * SECOND, mem_storage = true }))
    end
    local names = assert(js:consumer_names(name))
    table.sort(names)
    assert.same(wanted, { table.unpack(names) })
    fails("not_found", js:consumer_names("nothing"))
    fails("bad_argument", js:consumer_names("a b"))
  end)
end)

describe("a server that ends", function()
  it("leaves a durable consumer where it was, for the same handle and for messages that are out", function()
    local own = helpers.server(STORE)
    local line = assert(nats.connect(own:url(), { max_reconnect_wait_ms = 100 }))
    local its = assert(line:jetstream({ timeout_ms = 10000 }))
    local name = stream(10, its)
    local consumer = assert(its:consumer(name, { durable_name = "d", ack_policy = "explicit", ack_wait = 2 * SECOND }))
    local messages = assert(consumer:fetch(5, { timeout_ms = 5000 }))
    for n = 1, 3 do assert.is_true(messages[n]:ack_sync(5000)) end
    assert(consumer:fetch(5, { timeout_ms = 5000 }))
    local waiting = coroutine.wrap(function()
      nats.yielding(true)
      return consumer:next(20000)
    end)
    local future = waiting()
    -- One that is killed may have more to hand out again.
    own:signal("TERM")
    fails("disconnected", future:wait())
    wait_until(function() return not own:state() end, "the end of the server")
    own:start()
    -- What was out and not acknowledged comes again.
    assert.is_true(messages[4]:ack_sync(10000))
    local seen = {}
    wait_until(function()
      for _, message in ipairs(consumer:fetch(10, { timeout_ms = 500 }) or {}) do
        seen[message.payload] = true
        message:ack_sync(5000)
      end
      return consumer:info().ack_floor.stream_seq == 10
    end, "all acknowledgements")
    local again = { ["5"] = true }
    for n = 6, 10 do again[tostring(n)] = true end
    assert.same(again, seen)
  end)
end)
