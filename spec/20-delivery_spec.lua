-- When a message is delivered, what becomes of one that is not, and what a full queue does. With a real nats-server.
local helpers = require("helpers")
local nats = require("rgw_nats")
local socket = require("socket")
local wait_until = helpers.wait_until
local notified = require("notified")
local REQUEST, state, notify, counts = notified.REQUEST, notified.state, notified.notify, notified.counts

describe("a message", function()
  teardown(helpers.stop)

  it("is delivered when the stream that takes it has acknowledged it", function()
    local stream = helpers.stream("s3.>")
    local configuration = { url = stream:url(), name = helpers.name() }
    notify(configuration)
    counts(configuration, "delivered", 1)
    assert.equal(1, #stream:kept(1))
    assert.equal(0, state(configuration).retried)
  end)

  it("is delivered when the server has it, where no stream takes it or there is no JetStream", function()
    for _, server in ipairs({ helpers.stream("other.>"), helpers.server() }) do
      local subscriber = server:subscribe("s3.>")
      local configuration = { url = server:url(), name = helpers.name() }
      notify(configuration)
      assert.equal("s3.photos.ObjectCreated:Put", subscriber:next().subject)
      counts(configuration, "delivered", 1)
      assert.equal(0, state(configuration).retried)
    end
  end)

  it("is delivered with ack = none when it was handed to the connection", function()
    local stream = helpers.stream("s3.>")
    local configuration = { url = stream:url(), name = helpers.name(), ack = "none" }
    notify(configuration)
    counts(configuration, "delivered", 1)
    assert.equal(1, #stream:kept(1))
  end)

  it("waits for the stream that was named, and for no other", function()
    local stream = helpers.stream("s3.>")
    local configuration = { url = stream:url(), name = helpers.name(), stream = "named" }
    notify(configuration)
    wait_until(function() return state(configuration).retried > 0 end, "a second attempt")
    assert.equal(1, state(configuration).pending)
    -- The other stream takes the subject, and is told that it is not the one.
    assert.equal(0, #stream:kept(0))
    assert.matches("not_stored: s3.photos.ObjectCreated:Put: .*(10060)", state(configuration).last_error)
    stream:api("STREAM.DELETE.kept")
    stream:api("STREAM.CREATE.named", { name = "named", subjects = { "s3.>" }, storage = "file" })
    counts(configuration, "delivered", 1)
  end)

  it("goes to a stream that is made where that is asked for", function()
    local server = helpers.server('jetstream { store_dir: "DIRECTORY" }')
    local configuration = {
      url = server:url(), name = helpers.name(), stream = "made",
      ensure_stream = { subjects = { "s3.>" }, duplicate_window = 300, storage = "memory" },
    }
    notify(configuration)
    counts(configuration, "delivered", 1)
    local made = server:api("STREAM.INFO.made")
    assert.equal(1, made.state.messages)
    assert.same({ "s3.>", "memory", "new", 300e9 },
      { made.config.subjects[1], made.config.storage, made.config.discard, made.config.duplicate_window })
  end)

  it("goes to one that is made with each key of ensure_stream", function()
    local server = helpers.server('jetstream { store_dir: "DIRECTORY" }')
    local configuration = {
      url = server:url(), name = helpers.name(), stream = "made",
      ensure_stream = {
        subjects = { "s3.>", "other.*" }, max_age = 3600, max_bytes = 1000000, discard = "old", replicas = 1,
        duplicate_window = 60, storage = "file",
      },
    }
    notify(configuration)
    counts(configuration, "delivered", 1)
    local config = server:api("STREAM.INFO.made").config
    assert.same({ "s3.>", "other.*" }, { config.subjects[1], config.subjects[2] })
    assert.same({ 3600e9, 1000000, "old", 1, 60e9, "file" }, {
      config.max_age, config.max_bytes, config.discard, config.num_replicas, config.duplicate_window, config.storage,
    })
  end)

  it("waits for a stream that JetStream does not make, and warns of that", function()
    local server = helpers.server('jetstream { store_dir: "DIRECTORY" }')
    local configuration = {
      url = server:url(), name = helpers.name(), stream = "made",
      ensure_stream = { subjects = { "s3.>" }, duplicate_window = 300, replicas = 3 },
    }
    notify(configuration)
    counts(configuration, "pending", 1)
    wait_until(function() return #state(configuration).warnings > 0 end, "a warning")
    assert.matches("^stream made: is not there, and JetStream does not make it: replicas",
      state(configuration).warnings[1])
  end)

  it("is given up when max_retries is over, and says expired", function()
    local server = helpers.server('jetstream { store_dir: "DIRECTORY" }')
    local configuration = { url = server:url(), name = helpers.name(), stream = "nowhere", max_retries = 2 }
    notify(configuration)
    counts(configuration, "refused", 1)
    local found = state(configuration)
    assert.same({ 0, 2, 0 }, { found.pending, found.retried, found.delivered })
    assert.matches("expired: max_retries of 2 is over; the last reason: not_stored", found.last_error)
  end)

  it("is given up when time_to_live is over, while there is no server too", function()
    local configuration = {
      url = "nats://127.0.0.1:" .. helpers.port(), name = helpers.name(), time_to_live = 1,
    }
    notify(configuration)
    assert.equal(1, state(configuration).pending)
    counts(configuration, "refused", 1)
    assert.equal(0, state(configuration).pending)
  end)

  it("is sent again after retry_sleep_duration", function()
    local server = helpers.server('jetstream { store_dir: "DIRECTORY" }')
    local slow = { url = server:url(), name = helpers.name(), stream = "nowhere", retry_sleep_duration = 3600 }
    local fast = { url = server:url(), name = helpers.name(), stream = "nowhere" }
    notify(slow)
    notify(fast)
    wait_until(function() return state(fast).retried >= 3 end, "three attempts")
    assert.equal(1, state(slow).retried)
  end)
end)

describe("an event that comes soon after another one", function()
  teardown(helpers.stop)

  -- A configuration with a linger_ms that no test would wait for, and one event that has gone out.
  local function lingering(options)
    local server = helpers.server()
    local configuration = { url = server:url(), name = helpers.name(), linger_ms = 10000 }
    for key, value in pairs(options or {}) do configuration[key] = value end
    local subscriber = server:subscribe("s3.>")
    notify(configuration)
    counts(configuration, "delivered", 1)
    subscriber:next()
    return configuration, subscriber
  end

  it("waits, and goes with what a script publishes, before it", function()
    local configuration, subscriber = lingering()
    notify(configuration)
    notify(configuration)
    socket.sleep(0.2)
    assert.same({ 2, 1 }, { state(configuration).pending, state(configuration).delivered })
    local connection = assert(nats.connect(configuration.url, { name = configuration.name, linger_ms = 10000 }))
    assert.is_true(connection:publish("s3.last", ""))
    -- Both events are of one object: the second one goes when the first one is delivered, and lingers no more.
    counts(configuration, "delivered", 4)
    local subjects = { subscriber:next().subject, subscriber:next().subject, subscriber:next().subject }
    assert.same({ "s3.photos.ObjectCreated:Put", "s3.last", "s3.photos.ObjectCreated:Put" }, subjects)
    connection:close()
  end)

  it("goes at once where it is awaited, or flushed", function()
    local configuration = lingering({ wait_ms = 8000 })
    notify(configuration)
    assert.same({ 0, 2 }, { state(configuration).pending, state(configuration).delivered })
    configuration = lingering()
    local connection = assert(nats.connect(configuration.url, { name = configuration.name, linger_ms = 10000 }))
    notify(configuration)
    assert.is_true(connection:flush(8000))
    assert.equal(2, state(configuration).delivered)
    connection:close()
  end)

  it("goes at once with linger_ms = 0", function()
    local configuration = lingering({ linger_ms = 0 })
    notify(configuration)
    counts(configuration, "delivered", 2)
  end)

  it("goes when linger_ms is over", function()
    local configuration = lingering({ linger_ms = 100 })
    notify(configuration)
    counts(configuration, "delivered", 2)
  end)
end)

describe("a full queue", function()
  teardown(helpers.stop)

  -- Fills a queue of two, with a server that comes later.
  local function fill(options)
    local stream = helpers.stream("s3.>")
    stream:stop()
    local configuration = { url = stream:url(), name = helpers.name(), max_pending = 2 }
    for key, value in pairs(options) do configuration[key] = value end
    notify(configuration)
    notify(configuration)
    return stream, configuration
  end

  it("refuses, if nothing else is wanted", function()
    local _, configuration = fill({})
    helpers.fails("queue_full", nats.notify(REQUEST, configuration))
    assert.same({ 2, 1, 0 },
      { state(configuration).pending, state(configuration).rejected, state(configuration).dropped })
  end)

  it("drops its oldest messages with overflow = drop_oldest", function()
    local stream, configuration = fill({ overflow = "drop_oldest", subject = "s3.{id}" })
    configuration.id = "new"
    notify(configuration)
    assert.equal(1, state(configuration).dropped)
    stream:start()
    local kept = stream:kept(2)
    assert.same({ "s3.rgw_nats", "s3.new" }, { kept[1].subject, kept[2].subject })
  end)

  it("has a request wait for room with overflow = block, block_ms at most", function()
    local _, configuration = fill({ overflow = "block", block_ms = 300 })
    local message = helpers.fails("queue_full", nats.notify(REQUEST, configuration))
    assert.matches("max_pending = 2", message, 1, true)
  end)

  it("refuses nobody in admit() before Ceph 20, nor where the configuration is wrong", function()
    local _, configuration = fill({})
    assert.is_true(nats.admit(REQUEST, configuration))
    assert.matches("RGW_ABORT_REQUEST", nats.status().admit.warning, 1, true)
    -- As 19.2 shows it.
    assert.is_true(nats.admit(setmetatable({}, { __name = "Request", __index = REQUEST }), configuration))
    _G.RGW_ABORT_REQUEST = -1
    finally(function() _G.RGW_ABORT_REQUEST = nil end)
    helpers.fails("bad_config", nats.admit(setmetatable({}, { __name = "Request", __index = REQUEST }), { urk = 1 }))
    helpers.fails("bad_argument", nats.admit(nil, configuration))
    for _, options in ipairs({ { write_response = 1 }, { urk = true }, "x" }) do
      local message = helpers.fails(type(options) == "table" and "bad_config" or "bad_argument",
        nats.admit(REQUEST, configuration, options))
      assert.matches("options", message, 1, true)
    end
  end)

  it("is what admit() refuses a request for on Ceph 20", function()
    local emulator = require("rgw_nats.emulator")
    local gateway = emulator.new("20.2")
    local stream, configuration = fill({})
    package.loaded.its_configuration = configuration
    local script = 'return require("rgw_nats").admit(Request, require("its_configuration"))'
    local refused = gateway:request("put_obj", { Bucket = { Name = "photos" }, Object = { Name = "a.jpg" } })
    assert.is_true(gateway:run(script, refused, "preRequest"))
    assert.is_true(gateway.aborted)
    assert.equal(403, refused.Response.HTTPStatusCode)
    local writing = script:gsub("%)$", ", { write_response = true })")
    assert.is_true(gateway:run(writing, refused, "preRequest"))
    assert.is_true(gateway.aborted)
    assert.equal(503, refused.Response.HTTPStatusCode)
    local reading = gateway:request("get_obj", { Bucket = { Name = "photos" }, Object = { Name = "a.jpg" } })
    assert.is_true(gateway:run(script, reading, "preRequest"))
    assert.is_falsy(gateway.aborted)
    stream:start()
    counts(configuration, "delivered", 2)
    assert.is_true(gateway:run(script, refused, "preRequest"))
    assert.is_falsy(gateway.aborted)
  end)
end)

describe("spool", function()
  teardown(helpers.stop)

  it("keeps what waits for the next process, and what never goes for administrators", function()
    local stream = helpers.stream("s3.>")
    local directory = stream.directory .. "/spool"
    local script = [[
      local nats = require("rgw_nats")
      local configuration = {
        url = arg[1], name = arg[3], exit_timeout_ms = 100, spool = { directory = arg[2], sync = "none" },
      }
      local request = {
        RGWOp = "put_obj", Id = arg[4], Response = { HTTPStatusCode = 200 }, HTTP = { Method = "PUT" },
        Bucket = { Name = "photos" }, Object = { Name = "a.jpg" },
      }
      assert(nats.notify(request, configuration))
    ]]
    stream:stop()
    for n = 1, 3 do
      local run = helpers.run(script, { stream:url(), directory, "spec", "y.1." .. n })
      assert.equal(0, run.status)
      assert.matches("the spool keeps them", run.err, 1, true)
    end
    stream:start()
    local configuration = {
      url = stream:url(), name = helpers.name(), spool = { directory = directory, sync = "none" },
    }
    notify(configuration)
    local kept = stream:kept(4)
    assert.equal(4, #kept)
    wait_until(function() return state(configuration).pending == 0 end, "an empty queue")
    assert.same({}, assert(nats.dead_letters(configuration)))
    assert.same({ replayed = 0 }, assert(nats.replay(configuration, { 1 })))
    assert.same({ purged = 0 }, assert(nats.purge(configuration, { older_than_ms = 0 })))
    helpers.fails("bad_config", nats.purge(configuration))
    helpers.fails("bad_argument", nats.replay(configuration, {}))
    helpers.fails("bad_config", nats.dead_letters({ url = stream:url() }))
  end)

  it("has flush() and drain() end when all that is on disk is delivered", function()
    local stream = helpers.stream("s3.>")
    local options = { name = helpers.name(), spool = { directory = stream.directory .. "/flushed", sync = "none" } }
    for _, ends in ipairs({ "flush", "flush", "drain" }) do
      local connection = assert(nats.connect(stream:url(), options))
      assert.is_true(connection:publish("s3.a", ends))
      assert.is_true(connection[ends](connection, 8000))
      assert.equal(0, state({ name = options.name }).pending)
      connection:close()
    end
  end)

  it("says spool_io where the disk is none, and spool_full at its bounds", function()
    local stream = helpers.stream("s3.>")
    local broken = { url = stream:url(), name = helpers.name(), spool = { directory = "/proc/nothing" } }
    helpers.fails("spool_io", nats.notify(REQUEST, broken))
    stream:stop()
    local small = {
      url = stream:url(), name = helpers.name(),
      spool = { directory = stream.directory .. "/small", max_messages = 2, sync = "none" },
    }
    notify(small)
    notify(small)
    wait_until(function() return select(3, nats.notify(REQUEST, small)) == "spool_full" end, "a full spool")
    local connection = assert(nats.connect(stream:url(), {
      exit_timeout_ms = 0, spool = { directory = stream.directory .. "/bytes", max_bytes = 1048576, sync = "none" },
    }))
    local count = 0
    wait_until(function()
      local ok, message, code = connection:publish("s3.a", ("x"):rep(100000))
      if ok then count = count + 1 else assert.equal("spool_full", code, message) end
      return not ok
    end, "its bytes")
    assert.is_true(count >= 8 and count <= 10, count)
  end)

  it("has a request wait for the disk by sync and group_ms, and for commit_timeout_ms at most", function()
    local stream = helpers.stream("s3.>")
    -- How long the second of two requests takes, as the first one opens the spool.
    local function took(spool)
      spool.directory = helpers.directory()
      local configuration = { url = stream:url(), name = helpers.name(), spool = spool }
      nats.notify(REQUEST, configuration)
      nats.sleep(1100)
      local start = socket.gettime()
      local results = table.pack(nats.notify(REQUEST, configuration))
      return (socket.gettime() - start) * 1000, table.unpack(results, 1, results.n)
    end
    local waited = took({ sync = "group", group_ms = 400 })
    assert.is_true(waited >= 390 and waited < 800, waited)
    for _, spool in ipairs({
      { sync = "group", group_ms = 1 }, { sync = "always", group_ms = 400 }, { sync = "none", group_ms = 400 },
    }) do
      waited = took(spool)
      assert.is_true(waited < 200, spool.sync .. " " .. waited)
    end
    local result, message, code
    waited, result, message, code = took({ sync = "group", group_ms = 1000, commit_timeout_ms = 50 })
    helpers.fails("spool_io", result, message, code)
    assert.is_true(waited >= 50 and waited < 400, waited)
  end)
end)

describe("wait_ms", function()
  teardown(helpers.stop)

  it("is how long a request waits for its delivery", function()
    local stream = helpers.stream("s3.>")
    local configuration = { url = stream:url(), name = helpers.name(), wait_ms = 10000 }
    notify(configuration)
    -- It has waited: nothing else is to be waited for.
    assert.equal(1, state(configuration).delivered)
    configuration.wait_ms = 100
    configuration.name = helpers.name()
    stream:pause()
    notify(configuration)
    assert.same({ 0, 1 }, { state(configuration).delivered, state(configuration).pending })
    stream:resume()
    counts(configuration, "delivered", 1)
  end)
end)
