-- jetstream(): publishing with acknowledgements, domains and prefixes, the API, and what is no JetStream at all.
local helpers = require("helpers")
local nats = require("rgw_nats")
local socket = require("socket")
local fails, wait_until = helpers.fails, helpers.wait_until

local STORE = helpers.STORE

local js, connection, server
setup(function() js, connection, server = helpers.jetstream() end)
teardown(helpers.stop)

-- A new stream of the server, with its name as the first token of its subjects.
local function stream(configuration, own)
  local name = helpers.name()
  configuration = configuration or {}
  configuration.name, configuration.subjects = name, configuration.subjects or { name .. ".>" }
  assert((own or js):create_stream(configuration))
  return name
end

describe("publish()", function()
  it("returns what the stream acknowledges", function()
    local name = stream()
    assert.same({ stream = name, sequence = 1, duplicate = false, domain = "" }, js:publish(name .. ".a", "one"))
    assert.same({ stream = name, sequence = 2, duplicate = false, domain = "" }, js:publish(name .. ".a"))
    local message = assert(js:get_message(name, { sequence = 1 }))
    assert.same({ "one", name .. ".a", {} }, { message.payload, message.subject, message.headers })
  end)

  it("drops a message whose id the stream has seen", function()
    local name = stream()
    local first = assert(js:publish(name .. ".a", "one", { id = "7" }))
    local again = assert(js:publish(name .. ".b", "other", { id = "7" }))
    assert.same({ false, 1 }, { first.duplicate, first.sequence })
    assert.same({ true, 1 }, { again.duplicate, again.sequence })
    assert.equal(1, assert(js:stream_info(name)).state.messages)
    assert.equal("7", js:get_message(name, { sequence = 1 }).headers["Nats-Msg-Id"])
  end)

  it("has each header with all of its values", function()
    local name = stream()
    assert(js:publish(name .. ".a", "\0\255", { headers = { One = "1", Many = { "a", "b: c", "" } }, id = "x" }))
    local message = assert(js:get_message(name, { sequence = 1 }))
    assert.same({ One = "1", Many = { "a", "b: c", "" }, ["Nats-Msg-Id"] = "x" }, message.headers)
    assert.equal("\0\255", message.payload)
  end)

  it("stores nothing where an expectation does not hold", function()
    local name = stream()
    local subject = name .. ".a"
    assert(js:publish(subject, "1", { id = "first", expected_last_sequence = 0, expected_last_subject_sequence = 0 }))
    for option, wrong in pairs({
      expected_stream = "another", expected_last_id = "second", expected_last_sequence = 7,
      expected_last_subject_sequence = 0,
    }) do
      fails("conflict", js:publish(subject, "no", { [option] = wrong }))
    end
    assert.equal(1, js:stream_info(name).state.messages)
    assert.equal(2, assert(js:publish(subject, "2", {
      expected_stream = name, expected_last_id = "first", expected_last_sequence = 1,
      expected_last_subject_sequence = 1,
    })).sequence)
    assert.equal(3, assert(js:publish(name .. ".b", "3", { expected_last_subject_sequence = 0 })).sequence)
  end)

  it("tells that no stream takes the subject, and that something else answers", function()
    assert.matches("no stream takes nobody.here", fails("no_responders", js:publish("nobody.here", "x")))
    local asked = assert(connection:subscribe("no.stream"))
    local future = assert(js:publish_async("no.stream", "x"))
    assert(asked:next(5000)):respond("whatever")
    fails("jetstream", future:wait())
    future = assert(js:publish_async("no.stream", "x"))
    assert(asked:next(5000)):respond('{"stream":"odd"}')
    assert.same({ stream = "odd", sequence = 0, duplicate = false, domain = "" }, future:wait())
  end)

  it("waits as long as it is told to, for an acknowledgement and for a connection", function()
    local silent = assert(connection:subscribe("silent"))
    for limit, call in pairs({
      [100] = function() return js:publish("silent", "x", { timeout_ms = 100 }) end,
      [150] = function() return assert(connection:jetstream({ timeout_ms = 150 })):publish("silent", "x") end,
    }) do
      local start = socket.gettime()
      fails("timeout", call())
      local took = (socket.gettime() - start) * 1000
      assert.is_true(took >= limit and took < limit + 600, took)
    end
    silent:unsubscribe()
    local away = assert(nats.connect("127.0.0.1:" .. helpers.port())):jetstream({ timeout_ms = 50 })
    fails("disconnected", away:publish("a", "x"))
    fails("disconnected", away:publish("a", "x", { timeout_ms = 0 }))
    fails("disconnected", away:stream_info("a"))
  end)

  it("refuses wrong subjects, payloads and options", function()
    fails("bad_subject", js:publish("a b", "x"))
    fails("bad_subject", js:publish("a.>", "x"))
    fails("bad_argument", js:publish("a", {}))
    fails("bad_argument", js:publish(nil, "x"))
    fails("bad_argument", js:publish("a", "x", 1))
    fails("bad_argument", js:publish("a", "x", { headers = { ["a b"] = "x" } }))
    for _, options in ipairs({
      { id = 1 }, { id = "a\nb" }, { expected_stream = {} }, { expected_last_id = true },
      { expected_last_sequence = -1 },
      { expected_last_subject_sequence = 1.5 }, { ttl_s = 0 }, { timeout_ms = -1 }, { timeout_ms = 3600001 }, { x = 1 },
    }) do
      fails("bad_config", js:publish("a", "x", options))
      fails("bad_config", js:publish_async("a", "x", options))
    end
    fails("too_large", js:publish("a", ("x"):rep(2 * 1024 * 1024)))
  end)

  it("refuses a time to live that the server would ignore", function()
    local name = stream()
    assert.matches("2.11", fails("jetstream", js:publish(name .. ".a", "x", { ttl_s = 1 })))
    assert.equal(0, js:stream_info(name).state.messages)
  end)

  it("has a message end after its time to live, from 2.11 on", function()
    local newer = helpers.server(STORE, assert(helpers.nats_server(2, 11), "no nats-server of 2.11 or newer is here"))
    local own = assert(nats.connect(newer:url())):jetstream({ timeout_ms = 5000 })
    local name = stream({ allow_msg_ttl = true }, own)
    assert(own:publish(name .. ".a", "soon", { ttl_s = 1 }))
    assert(own:publish(name .. ".a", "stays"))
    assert.equal(2, own:stream_info(name).state.messages)
    assert.equal("1", own:get_message(name, { sequence = 1 }).headers["Nats-TTL"])
    wait_until(function() return own:stream_info(name).state.messages == 1 end, "the end of a message")
    fails("not_found", own:get_message(name, { sequence = 1 }))
    assert.equal("stays", own:get_message(name, { sequence = 2 }).payload)
    local without = stream({}, own)
    fails("jetstream", own:publish(without .. ".a", "x", { ttl_s = 1 }))
  end)

  it("keeps the order of messages with and without a time to live", function()
    local newer = helpers.server(STORE, assert(helpers.nats_server(2, 11), "no nats-server of 2.11 or newer is here"))
    local own = assert(nats.connect(newer:url())):jetstream({ timeout_ms = 5000 })
    local name = stream({ allow_msg_ttl = true }, own)
    assert(own:stream_info(name))
    local futures = {}
    for n = 1, 200 do
      local options = { timeout_ms = 30000, ttl_s = n % 2 == 1 and 600 or nil }
      futures[n] = assert(own:publish_async(name .. ".a", tostring(n), options))
    end
    for n, future in ipairs(futures) do assert.equal(n, assert(future:wait()).sequence) end
  end)
end)

describe("publish_async()", function()
  it("has many in flight, each with an acknowledgement of its own", function()
    local name = stream()
    local futures = {}
    for n = 1, 1000 do futures[n] = assert(js:publish_async(name .. "." .. n, tostring(n))) end
    for n = 1, 1000 do assert.equal(n, assert(futures[n]:wait()).sequence) end
    assert.equal(1000, assert(futures[1000]:result()).sequence)
    assert.is_true(futures[1]:done())
    assert.equal("500", js:get_message(name, { last_subject = name .. ".500" }).payload)
  end)

  it("fails as publish does, by the future", function()
    local future = assert(js:publish_async("nobody.here", "x"))
    fails("no_responders", future:wait())
    fails("no_responders", future:result())
    fails("bad_subject", js:publish_async("a b", "x"))
  end)

  it("can be cancelled, and has a bound, until acknowledgements come or are given up", function()
    local silent = assert(connection:subscribe("silent.>"))
    local own = assert(connection:jetstream({ timeout_ms = 60000 }))
    local futures = {}
    for n = 1, 16384 do futures[n] = assert(own:publish_async("silent.a", "")) end
    fails("queue_full", own:publish_async("silent.a", ""))
    fails("timeout", futures[1]:result())
    fails("timeout", futures[1]:wait(1))
    assert.is_true(futures[1]:cancel())
    fails("cancelled", futures[1]:wait())
    wait_until(function()
      local future = own:publish_async("silent.a", "")
      return future and future:cancel()
    end, "room for another one")
    for _, future in ipairs(futures) do future:cancel() end
    silent:unsubscribe()
    local name = stream()
    wait_until(function()
      local future = own:publish_async(name .. ".a", "")
      return future and future:wait()
    end, "an acknowledgement again")
  end)

  it("in tasks, all of whose waits are one", function()
    local async = require("rgw_nats.async")
    local name = stream()
    local results = async.run(function()
      local list = {}
      for n = 1, 100 do list[n] = function() return js:publish(name .. "." .. n, "") end end
      return async.gather(list)
    end)
    local seen = {}
    for n = 1, 100 do seen[results[n][1].sequence] = true end
    assert.equal(100, #seen)
  end)
end)

describe("a server that ends", function()
  it("ends what is under way with disconnected, and the handles go on with the next one", function()
    local own = helpers.server(STORE)
    local line = assert(nats.connect(own:url(), { name = "restart", max_reconnect_wait_ms = 100 }))
    local its = assert(line:jetstream({ timeout_ms = 10000 }))
    local name = stream({}, its)
    assert(its:publish(name .. ".a", "before"))
    own:pause()
    local future = assert(its:publish_async(name .. ".a", "lost or not"))
    own:stop()
    fails("disconnected", future:wait())
    local waiting = assert(its:publish_async(name .. ".a", "after"))
    own:start()
    assert.is_number(assert(waiting:wait()).sequence)
    assert.equal("after", its:get_message(name, { last_subject = name .. ".a" }).payload)
    assert.equal(name, its:stream_info(name).config.name)
  end)
end)

describe("jetstream()", function()
  it("refuses wrong options", function()
    for _, options in ipairs({
      { domain = 1 }, { prefix = {} }, { domain = "a", prefix = "b" }, { timeout_ms = 0 }, { timeout_ms = 3600001 },
      { x = 1 },
    }) do
      fails("bad_config", connection:jetstream(options))
    end
    fails("bad_argument", connection:jetstream("a"))
    fails("bad_subject", connection:jetstream({ domain = "a b" }))
    fails("bad_subject", connection:jetstream({ prefix = "a.>" }))
    fails("bad_subject", connection:jetstream({ prefix = "" }))
  end)

  it("fails with no_responders where there is none", function()
    local plain = helpers.server()
    local own = assert(nats.connect(plain:url())):jetstream({ timeout_ms = 5000 })
    assert.matches("not enabled", fails("no_responders", own:account_info()))
    fails("no_responders", own:create_stream({ name = "a" }))
    fails("no_responders", own:stream_names())
    fails("no_responders", own:consumer("a", "b"))
    fails("no_responders", own:create_bucket({ bucket = "a" }))
  end)

  it("ends with its connection", function()
    local line = assert(nats.connect(server:url()))
    local own = assert(line:jetstream({ timeout_ms = 5000 }))
    local name = stream({}, own)
    local consumer = assert(own:consumer(name, { durable_name = "d" }))
    local ordered = assert(own:ordered_consumer(name))
    local bucket = assert(own:create_bucket({ bucket = helpers.name() }))
    local watch = assert(bucket:watch())
    assert(own:publish(name .. ".a", "x"))
    local message = assert(consumer:next(5000))
    assert.is_true(line:close())
    for _, handle in ipairs({ own, consumer, bucket, watch }) do
      for _, call in pairs(debug.getmetatable(handle).__index) do fails("closed", call(handle, "a", "b", "c")) end
    end
    fails("closed", ordered:next(10))
    fails("closed", message:ack())
    fails("closed", line:jetstream())
    for _ in consumer do error("it goes on") end
    -- Lua raises where this gives no string.
    for _, handle in ipairs({ line, own, consumer, ordered, bucket, watch }) do
      assert.matches("^rgw_nats%.", tostring(handle))
    end
  end)

  it("is that of a domain, by domain or by prefix", function()
    local own = helpers.server('jetstream { store_dir: "DIRECTORY", domain: "hub" }')
    local line = assert(nats.connect(own:url()))
    local ways = {
      domain = assert(line:jetstream({ domain = "hub", timeout_ms = 5000 })),
      prefix = assert(line:jetstream({ prefix = "$JS.hub.API", timeout_ms = 5000 })),
      dotted = assert(line:jetstream({ prefix = "$JS.hub.API.", timeout_ms = 5000 })),
    }
    for way, its in pairs(ways) do
      local name = stream({}, its)
      assert.equal("hub", its:account_info().domain, way)
      assert.same({ stream = name, sequence = 1, duplicate = false, domain = "hub" }, its:publish(name .. ".a", "x"))
      assert.equal("x", assert(assert(its:consumer(name, { durable_name = "d" })):next(5000)).payload)
      assert.equal("x", assert(assert(its:ordered_consumer(name)):next(5000)).payload)
      local bucket = assert(its:create_bucket({ bucket = helpers.name() }))
      assert.equal(1, assert(bucket:put("k", "v")).revision)
      assert.equal("v", bucket:get("k"))
      assert.equal("v", bucket:get("k", 1))
      assert.same({ "k" }, bucket:keys())
      assert.equal("v", assert(assert(bucket:watch()):next(5000)).value)
      assert.is_true(bucket:delete("k"))
      assert.is_true(its:delete_stream(name))
    end
    fails("no_responders", assert(line:jetstream({ domain = "other" })):account_info())
  end)

  it("is that of another account, by the prefix of an import", function()
    local own = helpers.server(STORE .. [[
      accounts {
        OWNER {
          users: [ { user: owner, password: a } ], jetstream: enabled
          exports: [ { service: "$JS.API.>" }, { service: "events.>", response: singleton }, { stream: "deliver.>" } ]
        }
        GUEST {
          users: [ { user: guest, password: a } ]
          imports: [
            { service: { account: OWNER, subject: "$JS.API.>" }, to: "OWNER.API.>" }
            { service: { account: OWNER, subject: "events.>" } }
          ]
        }
      }
    ]])
    local function of(user, options)
      local line = assert(nats.connect(own:url(user .. ":a"), { allow_cleartext_secrets = true }))
      return assert(line:jetstream(options))
    end
    local owner = of("owner", { timeout_ms = 5000 })
    assert(owner:create_stream({ name = "events", subjects = { "events.>" } }))
    fails("jetstream", of("guest", { timeout_ms = 5000 }):stream_info("events"))
    local guest = of("guest", { prefix = "OWNER.API", timeout_ms = 5000 })
    assert.equal("events", guest:stream_info("events").config.name)
    assert.same({ "events" }, guest:stream_names())
    assert.same({ "events", 1 }, { guest:publish("events.a", "from a guest").stream, 1 })
    assert.equal("from a guest", owner:get_message("events", { sequence = 1 }).payload)
    local consumer = assert(guest:consumer("events", { durable_name = "guests", ack_policy = "none" }))
    assert.equal("from a guest", assert(consumer:next(5000)).payload)
  end)

  it("is denied where the user may not ask", function()
    local own = helpers.server(STORE .. [[
      authorization { users: [ { user: weak, password: a, permissions: { publish: { deny: "$JS.API.STREAM.>" } } } ] }
    ]])
    local line = assert(nats.connect(own:url("weak:a"), { allow_cleartext_secrets = true }))
    local its = assert(line:jetstream({ timeout_ms = 5000 }))
    assert.is_table(its:account_info())
    local start = socket.gettime()
    fails("denied", its:stream_info("a"))
    assert.is_true(socket.gettime() - start < 2)
  end)
end)

describe("api()", function()
  it("asks what it is told to, and returns the answer", function()
    local name = stream()
    assert(js:publish(name .. ".a", "x"))
    local info = assert(js:api("STREAM.INFO." .. name, { subjects_filter = ">" }))
    assert.same({ [name .. ".a"] = 1 }, info.state.subjects)
    assert.is_nil(info.type)
    assert.equal(name, assert(js:api("STREAM.INFO." .. name)).config.name)
    fails("not_found", js:api("STREAM.INFO.nothing"))
    assert(js:consumer(name, { durable_name = "d", filter_subject = name .. ".none" }))
    local pull = "CONSUMER.MSG.NEXT." .. name .. ".d"
    assert.matches("JSON", fails("jetstream", js:api(pull, { batch = 1, no_wait = true })))
    fails("bad_subject", js:api("a b"))
    fails("bad_argument", js:api())
    fails("bad_argument", js:api("INFO", "text"))
    fails("bad_argument", js:api("INFO", { 0 / 0 }))
  end)

  it("takes arrays, empty ones and null, and returns them as such", function()
    local name = helpers.name()
    local made = assert(js:create_stream({
      name = name, subjects = nats.array({ name }), sources = nats.array(), description = nats.null,
      placement = nats.null,
    }))
    assert.same({ name }, made.config.subjects)
    assert.equal('["' .. name .. '"]', nats.encode(made.config.subjects))
    local without = helpers.name()
    made = assert(js:create_stream({ name = without, subjects = nats.array() }))
    assert.same({ without }, made.config.subjects)
    -- An array of the server's that is empty stays one when it goes back; null stays null.
    local names = assert(js:api("STREAM.NAMES", { subject = "nobody.has.this" }))
    assert.equal("null", nats.encode(names.streams))
    assert.equal(nats.null, names.streams)
    local listed = assert(js:api("STREAM.LIST", { subject = "nobody.has.this" }))
    assert.equal("[]", nats.encode(listed.streams))
    assert.same({}, js:stream_names({ subject = "nobody.has.this" }))
    assert.equal("[]", nats.encode(js:stream_names({ subject = "nobody.has.this" })))
  end)
end)

describe("account_info()", function()
  it("tells what the account has and may have", function()
    local before = assert(js:account_info())
    assert.is_number(before.limits.max_streams)
    assert.is_number(before.memory)
    stream()
    assert.equal(before.streams + 1, js:account_info().streams)
    assert.is_nil(before.type)
  end)
end)

describe("a handle", function()
  it("of one class is none of another", function()
    local name = stream()
    local bucket = assert(js:create_bucket({ bucket = helpers.name() }))
    local consumer = assert(js:consumer(name, { durable_name = "d", ack_policy = "explicit" }))
    assert(js:publish(name .. ".a", "x"))
    local handles = {
      connection = connection, jetstream = js, consumer = consumer, bucket = bucket, watch = assert(bucket:watch()),
      future = assert(js:publish_async(name .. ".a", "x")), message = assert(consumer:next(5000)),
    }
    for class, handle in pairs(handles) do
      if class ~= "message" then assert.equal("rgw_nats." .. class, getmetatable(handle)) end
      for _, call in pairs(debug.getmetatable(handle).__index) do
        for other, wrong in pairs(handles) do
          if other ~= class then fails("bad_argument", call(wrong, name, "d", {})) end
        end
        fails("bad_argument", call())
        fails("bad_argument", call({}))
        fails("bad_argument", call("x"))
      end
    end
  end)

  it("may be left with work pending when its state ends", function()
    local name = stream()
    local run = helpers.run([[
      local nats = require("rgw_nats")
      local js = assert(assert(nats.connect(arg[1])):jetstream({ timeout_ms = 60000 }))
      local kept = {}
      for n = 1, 100 do kept[n] = assert(js:publish_async(arg[2] .. ".a", "x")) end
      local bucket = assert(js:create_bucket({ bucket = arg[2] }))
      local watch = assert(bucket:watch())
      local ordered = assert(js:ordered_consumer(arg[2]))
      for n = 1, 5 do
        kept[#kept + 1] = coroutine.create(function() nats.yielding(true) watch:next(60000) end)
        coroutine.resume(kept[#kept])
        kept[#kept + 1] = coroutine.create(function() nats.yielding(true) ordered:next(60000) end)
        coroutine.resume(kept[#kept])
      end
      io.write("done")
    ]], { server:url(), name })
    assert.same({ 0, "done" }, { run.status, run.out })
    assert.is_true(run.seconds < 10)
  end)
end)
