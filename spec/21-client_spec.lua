-- The client: publishing with replies, requests, round trips, draining, closing.
local helpers = require("helpers")
local nats = require("rgw_nats")
local socket = require("socket")
local fails, wait_until = helpers.fails, helpers.wait_until

local LONG = { timeout_ms = 5000 }

local server, connection
setup(function()
  server = helpers.server("max_payload: 4096")
  connection = assert(nats.connect(server:url(), { name = "client" }))
  assert.is_true(connection:flush(5000))
end)
teardown(helpers.stop)

-- Subscribes before anything that comes later is published.
local function subscribe(...)
  local subscription = assert(connection:subscribe(...))
  assert.is_true(connection:flush(5000))
  return subscription
end

-- What a call came to, and how many seconds it took.
local function timed(fn, ...)
  local start = socket.gettime()
  local results = table.pack(fn(...))
  return socket.gettime() - start, table.unpack(results, 1, results.n)
end

describe("publish()", function()
  it("sends a reply subject and several values of a header", function()
    local own = subscribe("pub.>")
    local headers = { Many = { "one", "two", "" }, Single = { "x" }, Plain = "y" }
    assert.is_true(connection:publish("pub.a", "payload", headers, "answers.here"))
    local message = assert(own:next(5000))
    assert.equal("pub.a", message.subject)
    assert.equal("payload", message.payload)
    assert.equal("answers.here", message.reply)
    assert.same({ Many = { "one", "two", "" }, Single = "x", Plain = "y" }, message.headers)
    local other = server:subscribe("raw")
    local head = "NATS/1.0\r\nMany: 1\r\nMany: 2\r\n\r\n"
    other:send(("HPUB pub.b reply.raw %d %d\r\n%s!\r\n"):format(#head, #head + 1, head))
    message = assert(own:next(5000))
    assert.same({ "1", "2" }, message.headers.Many)
    assert.same({ "pub.b", "!", "reply.raw" }, { message.subject, message.payload, message.reply })
  end)

  it("refuses what is no reply subject", function()
    local function reply_to(reply) return connection:publish("a", "", nil, reply) end
    for _, wrong in ipairs({ "", "a..b", "a.*", ">" }) do fails("bad_subject", reply_to(wrong)) end
    for _, wrong in ipairs({ 1, true, {} }) do fails("bad_argument", reply_to(wrong)) end
  end)
end)

describe("request()", function()
  it("returns the answer, whatever bytes and headers it has", function()
    local asked = subscribe("ask")
    local options = { timeout_ms = 5000, headers = { A = { "1", "2" } } }
    local future = assert(connection:request_async("ask", "\0\255", options))
    local question = assert(asked:next(5000))
    assert.same({ "\0\255", { A = { "1", "2" } } }, { question.payload, question.headers })
    assert.is_true(question:respond("\255\0", { B = "3" }))
    local answer = assert(future:wait(5000))
    assert.same({ "\255\0", { B = "3" } }, { answer.payload, answer.headers })
    assert.is_nil(answer.reply)
    fails("bad_argument", answer:respond("x"))
    assert.is_true(question:respond(""))
  end)

  it("is answered at once by one who hears JetStream's silence, or to whom a stream is named", function()
    subscribe("$JS.API.>")
    for _, options in ipairs({ { name = "silence" }, { name = "stream", stream = "none" } }) do
      local responder = assert(nats.connect(server:url(), options))
      local asked = assert(responder:subscribe("quick." .. options.name))
      assert(responder:flush(5000))
      local future = assert(connection:request_async("quick." .. options.name, "", { timeout_ms = 60000 }))
      local took, answered = timed(function()
        assert(asked:next(5000)):respond("yes")
        return assert(future:wait(60000))
      end)
      assert.equal("yes", answered.payload)
      assert.is_true(took < 1, took)
    end
  end)

  it("fails at once with no_responders where nobody has subscribed", function()
    local took, result, message, code = timed(connection.request, connection, "nobody", "", { timeout_ms = 60000 })
    fails("no_responders", result, message, code)
    assert.is_true(took < 2, took)
    fails("no_responders", connection:request_async("nobody", ""):wait(5000))
  end)

  it("fails with timeout where nobody answers, after timeout_ms, 500 if not given", function()
    subscribe("silent")
    for options, wanted in pairs({ [{ timeout_ms = 100 }] = 0.1, [{ timeout_ms = 0 }] = 0, [{}] = 0.5 }) do
      local took, result, message, code = timed(connection.request, connection, "silent", "", options)
      fails("timeout", result, message, code)
      assert.is_true(took >= wanted and took < wanted + 0.4, took)
    end
  end)

  it("fails with disconnected where there is no server in time, or the connection is lost on the way", function()
    local nowhere = assert(nats.connect("127.0.0.1:" .. helpers.port()))
    local took, result, message, code = timed(nowhere.request, nowhere, "a", "", { timeout_ms = 100 })
    fails("disconnected", result, message, code)
    assert.is_true(took >= 0.1 and took < 0.6, took)
    local doomed = helpers.server()
    local lost = assert(nats.connect(doomed:url(), { exit_timeout_ms = 0 }))
    local silent = assert(lost:subscribe("silent"))
    assert.is_true(lost:flush(5000))
    local future = assert(lost:request_async("silent", "", { timeout_ms = 60000 }))
    assert(silent:next(5000))
    doomed:stop()
    fails("disconnected", future:wait(5000))
  end)

  it("waits for the connection, and is sent over it", function()
    local late = helpers.server()
    late:stop()
    local early = assert(nats.connect(late:url(), { exit_timeout_ms = 0 }))
    local future = assert(early:request_async("nobody", "", { timeout_ms = 10000 }))
    late:start()
    fails("no_responders", future:wait(10000))
  end)

  it("fails with denied where the server denies its subject, and with too_large for its payload", function()
    local strict = helpers.server('authorization { users: [ { user: "u", password: "p", '
      .. 'permissions: { publish: ["_INBOX.>", "good"], subscribe: ["_INBOX.>"] } } ] }')
    local limited = assert(nats.connect(strict:url("u:p"), { allow_cleartext_secrets = true }))
    local took, result, message, code = timed(limited.request, limited, "bad", "", { timeout_ms = 60000 })
    fails("denied", result, message, code)
    assert.is_true(took < 5, took)
    fails("no_responders", limited:request("good", "", LONG))
    fails("denied", limited:request_many("bad", "", LONG))
    local denied = assert(limited:subscribe("bad"))
    fails("denied", denied:next(5000))
    assert.is_false(denied:status().open)
    fails("too_large", connection:request("ask", ("x"):rep(5000), LONG))
    fails("too_large", connection:request_many("ask", ("x"):rep(5000), LONG))
  end)

  it("refuses wrong arguments", function()
    fails("bad_subject", connection:request("a..b"))
    fails("bad_argument", connection:request("a", {}))
    fails("bad_argument", connection:request("a", "", 5))
    fails("bad_argument", connection:request("a", "", { headers = 1 }))
    for _, wrong in ipairs({ -1, 1.5, "1", 3600001 }) do
      fails("bad_config", connection:request("a", "", { timeout_ms = wrong }))
    end
    fails("bad_config", connection:request("a", "", { timeout = 1 }))
    for _, wrong in ipairs({ { max = 0 }, { stall_ms = 0 }, { sentinel = 1 }, { other = 1 } }) do
      fails("bad_config", connection:request_many("a", "", wrong))
    end
  end)
end)

describe("requests that go out together", function()
  local function headers(n) return n % 6 == 2 and { Number = tostring(n) } or {} end

  it("come to what each one asked for", function()
    local asked, futures = subscribe("together"), {}
    for n = 0, 2999 do
      local kind, options = n % 6, { timeout_ms = 60000, headers = headers(n) }
      local subject = kind == 3 and "nobody" or "together"
      local payload = kind == 1 and "\255\0" .. n or kind == 4 and ("x"):rep(5000) or tostring(n)
      futures[n] = assert(connection:request_async(subject, payload, options))
      if kind == 5 then assert.is_true(futures[n]:cancel()) end
    end
    assert.is_true(connection:flush(10000))
    local order = {}
    while #order < 1500 do
      local question = assert(asked:next(5000))
      local number = tonumber(question.payload:match("%d+$"))
      -- A question may have been sent before it was cancelled.
      if number % 6 ~= 5 then
        assert.same(headers(number), question.headers)
        order[#order + 1] = number
        assert.is_true(question:respond(question.payload))
      end
    end
    for n = 2, #order do assert.is_true(order[n - 1] < order[n]) end
    for n = 0, 2999 do
      local kind = n % 6
      local answer, message, code = futures[n]:wait(60000)
      local failure = ({ [3] = "no_responders", [4] = "too_large", [5] = "cancelled" })[kind]
      if failure then
        fails(failure, answer, message, code)
      else
        assert.equal(n, tonumber(assert(answer, message).payload:match("%d+$")))
      end
    end
  end)

  it("have each a time limit, a denial and a connection of its own", function()
    local strict = helpers.server('authorization { users: [ { user: "u", password: "p", '
      .. 'permissions: { publish: ["_INBOX.>", "good", "silent"], subscribe: ["_INBOX.>", "silent"] } } ] }')
    local limited = assert(nats.connect(strict:url("u:p"), { allow_cleartext_secrets = true, exit_timeout_ms = 0 }))
    local silent = assert(limited:subscribe("silent"))
    assert.is_true(limited:flush(5000))
    local futures = {}
    for n = 1, 400 do
      local subject = ({ "bad", "good", "silent", "silent" })[n % 4 + 1]
      local limit = n % 4 == 2 and 300 or 60000
      futures[n] = assert(limited:request_async(subject, "", { timeout_ms = limit }))
    end
    for n = 1, 400 do
      local wanted = ({ "denied", "no_responders", "timeout" })[n % 4 + 1]
      if wanted then fails(wanted, futures[n]:wait(10000)) end
    end
    fails("timeout", futures[3]:wait(0))
    assert(silent:next(5000))
    strict:stop()
    for n = 3, 400, 4 do fails("disconnected", futures[n]:wait(10000)) end
    -- Those that come meanwhile wait for the next one.
    local waiting = assert(limited:request_async("good", "", { timeout_ms = 30000 }))
    fails("disconnected", limited:request("good", "", { timeout_ms = 50 }))
    strict:start()
    fails("no_responders", waiting:wait(30000))
  end)
end)

describe("requests to a server that reads nothing", function()
  it("end in time all the same, are not sent when that is over, and hold up nobody's", function()
    local slow = helpers.server("max_payload: 1MB")
    local options = { exit_timeout_ms = 0, ping_interval_ms = 600000, ack_timeout_ms = 60000 }
    local talker = assert(nats.connect(slow:url(), options))
    assert.is_true(talker:flush(5000))
    -- The first one on a connection is sent, however little time it has.
    fails("timeout", talker:request("silent", "", { timeout_ms = 0 }))
    fails("no_responders", talker:request("silent", "", LONG))
    slow:pause()
    local large, futures = ("\255"):rep(65536), {}
    for n = 1, 3000 do futures[n] = assert(talker:request_async("large", large, { timeout_ms = 1000 })) end
    local cancelled = assert(talker:request_async("cancelled", "", { timeout_ms = 600000 }))
    assert.is_true(cancelled:cancel())
    local took, result, message, code = timed(talker.request, talker, "small", "", { timeout_ms = 200 })
    fails("timeout", result, message, code)
    assert.is_true(took < 0.6, took)
    for n = 1, 3000 do fails("timeout", futures[n]:wait(5000)) end
    slow:resume()
    local late = assert(talker:subscribe("cancelled"))
    assert.is_true(talker:flush(20000))
    fails("no_responders", talker:request("small", "", { timeout_ms = 20000 }))
    fails("timeout", late:next(100))
  end)
end)

describe("requests that nobody answers", function()
  it("leave no memory behind on their connection", function()
    local run = helpers.run([[
      local nats = require("rgw_nats")
      local connection = assert(nats.connect(arg[1]))
      local silent = assert(connection:subscribe("silent", { capacity = 1 }))
      local js = assert(connection:jetstream({ timeout_ms = 50 }))
      assert(connection:flush(10000))
      local sizes = {}
      for round = 1, 12 do
        local futures = {}
        for n = 1, 5000, 2 do
          futures[n] = assert(connection:request_async("silent", "x", { timeout_ms = 50 }))
          futures[n + 1] = assert(js:publish_async("silent", "x"))
        end
        for _, future in ipairs(futures) do future:wait() end
        futures = nil
        collectgarbage()
        collectgarbage()
        assert(connection:flush(10000))
        sizes[round] = tonumber(io.open("/proc/self/statm"):read("a"):match("%d+ (%d+)")) * 4
      end
      io.write(table.concat(sizes, " "))
    ]], { server:url() })
    assert.equal(0, run.status, run.err)
    local sizes = {}
    for size in run.out:gmatch("%d+") do sizes[#sizes + 1] = tonumber(size) end
    -- In KiB; what stays of each would be a third of one.
    assert.is_true(sizes[12] - sizes[5] < 2048, run.out)
  end)

  it("is refused when 65,536 are under way, and done again when there are fewer", function()
    subscribe("silent")
    local run = helpers.run([[
      local nats = require("rgw_nats")
      local connection = assert(nats.connect(arg[1], { exit_timeout_ms = 0 }))
      assert(connection:flush(10000))
      local futures, message, code = {}, nil, nil
      repeat
        local future
        future, message, code = connection:request_async("silent", "", { timeout_ms = 600000 })
        futures[#futures + 1] = future
      until not future
      print(#futures, code, message)
      for n = 1, 100 do assert(futures[n]:cancel()) end
      for _ = 1, 1000 do
        if connection:request_async("silent", "", { timeout_ms = 600000 }) then return print("again") end
        os.execute("sleep 0.01")
      end
    ]], { server:url() })
    assert.equal(0, run.status, run.err)
    assert.matches("^65536\tno_resources\tno_resources: 65536 calls .*\nagain\n$", run.out)
  end)
end)

describe("request_many()", function()
  local asked
  -- Has the question answered so, a moment apart, by somebody else's process of words.
  local function answers(list, options)
    local outside = assert(nats.connect(server:url(), { name = "outside" }))
    asked = assert(outside:subscribe("many"))
    assert.is_true(outside:flush(5000))
    local async = require("rgw_nats.async")
    return async.run(function()
      async.spawn(function()
        local question = assert(asked:next(5000))
        for _, payload in ipairs(list) do
          if type(payload) == "number" then async.sleep(payload) else assert.is_true(question:respond(payload)) end
        end
      end)
      local start = socket.gettime()
      local found, message, code = connection:request_many("many", "", options)
      if not found then return nil, message, code end
      for n, answer in ipairs(found) do found[n] = answer.payload end
      asked:unsubscribe()
      return found, socket.gettime() - start
    end)
  end

  it("collects all answers until its time is over", function()
    local found, took = answers({ "1", 50, "2", 50, "3" }, { timeout_ms = 400 })
    assert.same({ "1", "2", "3" }, found)
    assert.is_true(took >= 0.4 and took < 1, took)
  end)

  it("ends after max answers, when none has come for stall_ms, or with an empty one", function()
    local found, took = answers({ "1", "2", "3" }, { timeout_ms = 5000, max = 2 })
    assert.same({ "1", "2" }, found)
    assert.is_true(took < 2, took)
    found, took = answers({ "1", 20, "2", 1000, "3" }, { timeout_ms = 5000, stall_ms = 300 })
    assert.same({ "1", "2" }, found)
    assert.is_true(took < 0.9, took)
    found, took = answers({ "1", "2", "", "3" }, { timeout_ms = 5000, sentinel = true })
    assert.same({ "1", "2" }, found)
    assert.is_true(took < 2, took)
    assert.same({ "1", "", "2" }, (answers({ "1", "", "2" }, { timeout_ms = 300 })))
  end)

  it("is no failure where no answer comes, but where nobody can answer", function()
    assert.same({}, (answers({}, { timeout_ms = 100 })))
    fails("no_responders", connection:request_many("nobody", "", LONG))
  end)
end)

describe("flush()", function()
  it("returns when the server has all that was published, requested and subscribed before", function()
    local raw = server:subscribe("order.>")
    for n = 1, 2000 do assert.is_true(connection:publish("order.a", tostring(n))) end
    local own = assert(connection:subscribe("order.after"))
    assert.is_true(connection:flush(10000))
    assert.equal(0, connection:status().pending)
    -- Another connection's message comes to what was subscribed.
    raw:send("PUB order.after 1\r\nx\r\n")
    assert.equal("x", assert(own:next(5000)).payload)
    assert.equal(2001, #raw:messages("x"))
    own:unsubscribe()
    assert.is_true(connection:flush(5000))
    raw:send("PUB order.after 1\r\ny\r\nPING\r\n")
    fails("closed", own:next(100))
  end)

  it("sends a subscription before what is published behind it", function()
    for n = 1, 50 do
      local own = assert(connection:subscribe("own." .. n))
      assert.is_true(connection:publish("own." .. n, "mine"))
      assert.equal("mine", assert(own:next(5000)).payload)
      own:unsubscribe()
    end
  end)

  it("waits for a connection that takes up what was subscribed before there was one", function()
    for _ = 1, 10 do
      local new = assert(nats.connect(server:url(), { name = helpers.name() }))
      local own = assert(new:subscribe("fresh"))
      assert.is_true(new:flush(5000))
      local future = assert(new:request_async("fresh", "", { timeout_ms = 5000 }))
      assert.is_true(assert(own:next(5000)):respond("x"))
      assert.equal("x", assert(future:wait()).payload)
    end
  end)

  it("fails with timeout or disconnected", function()
    local paused = helpers.server()
    local stuck = assert(nats.connect(paused:url(), { exit_timeout_ms = 0 }))
    assert.is_true(stuck:flush(5000))
    paused:pause()
    fails("timeout", stuck:flush(50))
    fails("timeout", stuck:rtt(50))
    assert.is_true(stuck:publish("a", "b"))
    fails("timeout", stuck:flush(50))
    paused:resume()
    assert.is_true(stuck:flush(5000))
    fails("disconnected", assert(nats.connect("127.0.0.1:" .. helpers.port())):flush(50))
    for _, wrong in ipairs({ -1, "x", 3600001, {}, 0 / 0 }) do fails("bad_argument", connection:flush(wrong)) end
  end)
end)

describe("rtt() and server_info()", function()
  it("tell of the server", function()
    local rtt = assert(connection:rtt(5000)).milliseconds
    assert.equal("float", math.type(rtt))
    assert.is_true(rtt > 0 and rtt < 1000, rtt)
    local info, variables = assert(connection:server_info()), server:monitor("varz")
    assert.same({
      server.name, variables.server_id, variables.version, 4096, "127.0.0.1", true, false, false, "", {},
    }, {
      info.server_name, info.server_id, info.version, info.max_payload, info.client_ip, info.headers, info.jetstream,
      info.lame_duck_mode, info.cluster, info.connect_urls,
    })
    assert.equal(server:connections("client")[1].cid, info.client_id)
    fails("disconnected", assert(nats.connect("127.0.0.1:" .. helpers.port())):server_info())
    fails("disconnected", assert(nats.connect("127.0.0.1:" .. helpers.port())):rtt(50))
  end)
end)

describe("drain()", function()
  it("lets in and out what is under way, and ends the handle", function()
    local draining = assert(nats.connect(server:url(), { name = "draining" }))
    local own = assert(draining:subscribe("drain.>"))
    local raw = server:subscribe("drain.>")
    for n = 1, 500 do assert.is_true(draining:publish("drain.a", tostring(n))) end
    assert.is_true(draining:drain(10000))
    assert.equal(500, #raw:messages("500"))
    for n = 1, 500 do assert.equal(tostring(n), assert(own:next(0)).payload) end
    fails("closed", own:next(100))
    fails("closed", draining:publish("a", "b"))
    fails("closed", draining:drain())
    assert.is_true(draining:close())
    raw:close()
  end)

  it("of a connection that is down fails with timeout, and ends the handle all the same", function()
    local nowhere = assert(nats.connect("127.0.0.1:" .. helpers.port(), { exit_timeout_ms = 0 }))
    assert.is_true(nowhere:publish("a", "b"))
    fails("timeout", nowhere:drain(50))
    fails("closed", nowhere:status())
  end)
end)

describe("close()", function()
  it("ends the subscriptions of the handle, and no other's", function()
    local one, two = assert(nats.connect(server:url())), assert(nats.connect(server:url()))
    local ended, going = assert(one:subscribe("close")), assert(two:subscribe("close"))
    local waiting = assert(one:request_async("silent.close", "", { timeout_ms = 100 }))
    assert.is_true(two:flush(5000))
    assert.is_true(one:close())
    fails("closed", ended:next(100))
    assert.is_true(two:publish("close", "x"))
    assert.equal("x", assert(going:next(5000)).payload)
    for _, method in ipairs({
      "publish", "request", "request_async", "request_many", "subscribe", "flush", "rtt", "server_info", "status",
      "drain",
    }) do
      fails("closed", one[method](one, "a"))
    end
    assert.is_true(one:close())
    -- What was asked before goes on.
    local result, message, code = waiting:wait(5000)
    fails("no_responders", result, message, code)
    going:unsubscribe()
  end)

  it("of messages that came in: answers need the connection", function()
    local one = assert(nats.connect(server:url()))
    local asked = assert(one:subscribe("late.answer"))
    assert.is_true(one:flush(5000))
    assert(connection:request_async("late.answer", ""))
    local question = assert(asked:next(5000))
    one:close()
    fails("closed", question:respond("x"))
    wait_until(function() return not asked:status().open end, "the end of a subscription")
  end)
end)
