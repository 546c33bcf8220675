-- Consumers that read a stream in order, each message once, over however many connections.
local helpers = require("helpers")
local nats = require("rgw_nats")
local socket = require("socket")
local fails, wait_until = helpers.fails, helpers.wait_until

local STORE = helpers.STORE

local js
setup(function() js = helpers.jetstream() end)
teardown(helpers.stop)

local function publish(name, first, last, own)
  local futures = {}
  for n = first, last do futures[n] = assert((own or js):publish_async(name .. "." .. n % 2, tostring(n))) end
  for n = first, last do assert(futures[n]:wait()) end
end

local function stream(count, own)
  local name = helpers.name()
  assert((own or js):create_stream({ name = name, subjects = { name .. ".>" } }))
  publish(name, 1, count, own)
  return name
end

-- All that comes until nothing does for a while.
local function rest(consumer)
  local found = {}
  while true do
    local message, text, code = consumer:next(200)
    if not message then
      assert(code == "timeout", text)
      return table.concat(found, " ")
    end
    found[#found + 1] = message.payload
  end
end

describe("ordered_consumer()", function()
  it("reads all there is, and what comes", function()
    local name = stream(3)
    local consumer = assert(js:ordered_consumer(name))
    assert.equal("rgw_nats.consumer: ordered, of " .. name, tostring(consumer))
    assert.equal("1 2 3", rest(consumer))
    assert(js:publish(name .. ".a", "4", { headers = { A = { "1", "2" } } }))
    local message = assert(consumer:next(5000))
    assert.same({ "4", 4, { A = { "1", "2" } }, 0, name }, {
      message.payload, message.sequence, message.headers, message.pending, message.stream,
    })
    local start = socket.gettime()
    fails("timeout", consumer:next(100))
    assert.is_true(socket.gettime() - start < 0.6)
    fails("timeout", consumer:next(0))
    local found = {}
    for next_one in assert(js:ordered_consumer(name)) do found[#found + 1] = next_one.payload end
    assert.same({ "1", "2", "3", "4" }, found)
  end)

  it("reads many, faster than one after another", function()
    local name = stream(5000)
    local consumer = assert(js:ordered_consumer(name))
    for n = 1, 5000 do assert.equal(n, assert(consumer:next(5000)).sequence) end
  end)

  it("begins where it is told to, with the subjects that it is told of", function()
    local name = stream(6)
    local time = assert(js:get_message(name, { sequence = 5 })).time
    for wanted, options in pairs({
      ["1 3 5"] = { filter_subject = name .. ".1" },
      ["4 5 6"] = { deliver_policy = "by_start_sequence", opt_start_seq = 4 },
      ["5 6"] = { deliver_policy = "by_start_time", opt_start_time = time },
      ["6"] = { deliver_policy = "last" },
      ["5"] = { deliver_policy = "last_per_subject", filter_subject = name .. ".1" },
      ["2 4 6"] = {
        deliver_policy = "all", replay_policy = "instant", filter_subject = name .. ".0", description = "x",
      },
    }) do
      assert.equal(wanted, rest(assert(js:ordered_consumer(name, options))), wanted)
    end
    local bare = assert(assert(js:ordered_consumer(name, { headers_only = true })):next(5000))
    assert.same({ "", "1" }, { bare.payload, bare.headers["Nats-Msg-Size"] })
    local new = assert(js:ordered_consumer(name, { deliver_policy = "new" }))
    fails("timeout", new:next(50))
    publish(name, 7, 8)
    assert.equal("7 8", rest(new))
  end)

  it("reads several subjects, from 2.10 on", function()
    local newer = helpers.server(STORE, assert(helpers.nats_server(2, 10), "no nats-server of 2.10 or newer is here"))
    local own = assert(nats.connect(newer:url())):jetstream({ timeout_ms = 5000 })
    local name = stream(4, own)
    assert(own:publish(name .. ".x", "5"))
    local subjects = { name .. ".1", name .. ".x" }
    assert.equal("1 3 5", rest(assert(own:ordered_consumer(name, { filter_subjects = subjects }))))
    assert.matches("2.10", fails("jetstream", js:ordered_consumer(stream(0), { filter_subjects = subjects }):next(500)))
  end)

  it("has next alone: it comes and goes by itself, and acknowledges nothing", function()
    local name = stream(1)
    local consumer = assert(js:ordered_consumer(name))
    fails("bad_argument", consumer:fetch(1))
    fails("bad_argument", consumer:info())
    fails("bad_argument", consumer:delete())
    local message = assert(consumer:next(5000))
    assert.equal("1", message.payload)
    assert.equal(1, #js:consumer_names(name))
    consumer = nil
    collectgarbage()
    collectgarbage()
    assert.is_nil(consumer)
  end)

  it("refuses what it can't be told", function()
    local name = stream(0)
    for _, options in ipairs({
      { durable_name = "d" }, { ack_policy = "explicit" }, { name = "n" }, { deliver_subject = "x" }, { x = 1 },
      { deliver_policy = "some" }, { deliver_policy = 1 }, { replay_policy = 0 },
      { deliver_policy = "by_start_sequence" },
      { opt_start_seq = "1", deliver_policy = "by_start_sequence" }, { opt_start_seq = 1 },
      { opt_start_seq = 1, deliver_policy = "new" }, { opt_start_time = "2026-11-25T12:00:00Z" },
      { opt_start_time = "noon", deliver_policy = "by_start_time" },
      { filter_subject = 1 }, { filter_subjects = "a" }, { headers_only = "yes" },
    }) do
      fails("bad_config", js:ordered_consumer(name, options))
    end
    fails("bad_argument", js:ordered_consumer(name, { print }))
    fails("bad_subject", js:ordered_consumer(name, { filter_subject = "a b" }))
    fails("bad_subject", js:ordered_consumer(name, { filter_subjects = { "a", "a\r\nPING" } }))
    fails("bad_argument", js:ordered_consumer("a b"))
    fails("bad_argument", js:ordered_consumer(name, 1))
    fails("bad_argument", js:ordered_consumer())
    fails("not_found", assert(js:ordered_consumer("nothing")):next(500))
  end)

  it("ends with its stream", function()
    local name = stream(1)
    local consumer = assert(js:ordered_consumer(name))
    assert.equal("1", assert(consumer:next(5000)).payload)
    assert.is_true(js:delete_stream(name))
    fails("not_found", assert(js:ordered_consumer(name)):next(500))
  end)
end)

describe("a server that ends", function()
  local function restart(own, signal)
    own:signal(signal)
    wait_until(function() return not own:state() end, "the end of the server")
    own:start()
  end

  it("has each message read once and in order, by the same handle", function()
    local own = helpers.server(STORE)
    local line = assert(nats.connect(own:url(), { max_reconnect_wait_ms = 100 }))
    local its = assert(line:jetstream({ timeout_ms = 10000 }))
    local name = stream(200, its)
    local consumer = assert(its:ordered_consumer(name))
    local filtered = assert(its:ordered_consumer(name, { filter_subject = name .. ".0" }))
    local other = 0
    for n = 1, 1000 do
      if n % 200 == 100 then restart(own, n % 400 == 100 and "KILL" or "TERM") end
      if n % 200 == 150 then publish(name, n + 51, n + 250, its) end
      assert.equal(tostring(n), assert(consumer:next(10000)).payload)
      if n % 3 == 0 then
        other = other + 2
        assert.equal(tostring(other), assert(filtered:next(10000)).payload)
      end
    end
  end)

  it("has what waits for a message go on waiting", function()
    local own = helpers.server(STORE)
    local line = assert(nats.connect(own:url(), { max_reconnect_wait_ms = 100 }))
    local its = assert(line:jetstream({ timeout_ms = 10000 }))
    local name = stream(0, its)
    local consumer = assert(its:ordered_consumer(name))
    local waiting = coroutine.wrap(function()
      nats.yielding(true)
      return consumer:next(20000)
    end)
    local future = waiting()
    wait_until(function() return #assert(its:consumer_names(name)) == 1 end, "the consumer")
    restart(own, "KILL")
    publish(name, 1, 1, its)
    assert.equal("1", assert(future:wait()).payload)
  end)

  it("has one that begins with what is new miss nothing that came while there was no connection", function()
    local own = helpers.server(STORE)
    local line = assert(nats.connect(own:url(), { max_reconnect_wait_ms = 100 }))
    local its = assert(line:jetstream({ timeout_ms = 10000 }))
    local name = stream(3, its)
    local consumer = assert(its:ordered_consumer(name, { deliver_policy = "new" }))
    fails("timeout", consumer:next(200))
    publish(name, 4, 5, its)
    restart(own, "TERM")
    wait_until(function() return its:stream_info(name) end, "the stream again")
    assert.equal("4 5", rest(consumer))
  end)
end)
