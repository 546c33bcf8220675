-- Streams: made, changed, told of, emptied and deleted; their names and messages.
local helpers = require("helpers")
local nats = require("rgw_nats")
local fails, wait_until = helpers.fails, helpers.wait_until

local STORE = helpers.STORE

local js, server
setup(function()
  local _
  js, _, server = helpers.jetstream()
end)
teardown(helpers.stop)

-- A new stream with these messages, each a subject's last token and a payload.
local function stream(...)
  local name = helpers.name()
  assert(js:create_stream({ name = name, subjects = { name .. ".>" } }))
  for _, message in ipairs({ ... }) do assert(js:publish(name .. "." .. message[1], message[2], message[3])) end
  return name
end

describe("create_stream() and update_stream()", function()
  it("return what the stream is, as the server tells it", function()
    local name = helpers.name()
    local made = assert(js:create_stream({
      name = name, subjects = { name .. ".a", name .. ".b" }, max_msgs = 7, storage = "memory", deny_delete = false,
      description = "größe",
    }))
    assert.same({ { name .. ".a", name .. ".b" }, 7, "memory", "größe", false }, {
      made.config.subjects, made.config.max_msgs, made.config.storage, made.config.description, made.config.deny_delete,
    })
    assert.same({ 0, 0 }, { made.state.messages, made.state.last_seq })
    assert.is_nil(made.type)
    local other = { name = name, subjects = { name .. ".c" }, max_msgs = 8, storage = "memory" }
    local changed = assert(js:update_stream(other))
    assert.same({ { name .. ".c" }, 8 }, { changed.config.subjects, changed.config.max_msgs })
    assert.same(changed.config, js:stream_info(name).config)
  end)

  it("make the same stream twice, and no other one of its name", function()
    local name = helpers.name()
    assert(js:create_stream({ name = name }))
    assert(js:create_stream({ name = name }))
    fails("conflict", js:create_stream({ name = name, subjects = { "other." .. name } }))
    fails("not_found", js:update_stream({ name = helpers.name() }))
    fails("jetstream", js:update_stream({ name = name, storage = "memory" }))
    fails("jetstream", js:create_stream({ name = helpers.name(), subjects = { name } }))
  end)

  it("take what they return, arrays and all", function()
    local name = stream()
    local config = js:stream_info(name).config
    config.max_msgs = 5
    assert.equal(5, js:update_stream(config).config.max_msgs)
  end)

  it("refuse what is no configuration", function()
    for _, wrong in ipairs({ 1, "name", {}, { name = "" }, { name = "a b" }, { name = "a.b" }, { name = "a\r\nPING" },
      { name = 5 }, { name = "a", subjects = { print } }, { name = "a", max_age = 0 / 0 },
      { name = "a", { 1, x = 2 } } }) do
      fails("bad_argument", js:create_stream(wrong))
      fails("bad_argument", js:update_stream(wrong))
    end
    fails("bad_argument", js:create_stream())
    fails("jetstream", js:create_stream({ name = helpers.name(), max_age = "long" }))
  end)
end)

describe("stream_info() and delete_stream()", function()
  it("tell of a stream, and end it", function()
    local name = stream({ "a", "x" }, { "b", "xy" })
    local info = assert(js:stream_info(name))
    assert.same({ 2, 1, 2 }, { info.state.messages, info.state.first_seq, info.state.last_seq })
    assert.is_true(js:delete_stream(name))
    fails("not_found", js:stream_info(name))
    fails("not_found", js:delete_stream(name))
    fails("no_responders", js:publish(name .. ".a", "x"))
    for _, wrong in ipairs({ "", "a.b", "*", ">", "a b", ("x"):rep(256), 1, {} }) do
      fails("bad_argument", js:stream_info(wrong))
      fails("bad_argument", js:delete_stream(wrong))
    end
  end)
end)

describe("purge_stream()", function()
  it("removes all messages, those of a subject, those before a number, or all but the last ones", function()
    local function fresh() return stream({ "a", "1" }, { "b", "2" }, { "a", "3" }, { "b", "4" }, { "a", "5" }) end
    local function left(name)
      local found = {}
      for sequence = 1, 5 do
        local message = js:get_message(name, { sequence = sequence })
        if message then found[#found + 1] = message.payload end
      end
      return table.concat(found)
    end
    local name = fresh()
    assert.same({ purged = 5 }, js:purge_stream(name))
    assert.equal("", left(name))
    assert.same({ purged = 0 }, js:purge_stream(name, {}))
    name = fresh()
    assert.same({ purged = 3 }, js:purge_stream(name, { filter = name .. ".a" }))
    assert.equal("24", left(name))
    name = fresh()
    assert.same({ purged = 3 }, js:purge_stream(name, { keep = 2 }))
    assert.equal("45", left(name))
    name = fresh()
    assert.same({ purged = 2 }, js:purge_stream(name, { sequence = 3 }))
    assert.equal("345", left(name))
    name = fresh()
    assert.same({ purged = 2 }, js:purge_stream(name, { filter = name .. ".a", keep = 1 }))
    assert.equal("245", left(name))
    fails("jetstream", js:purge_stream(name, { keep = 1, sequence = 3 }))
    fails("not_found", js:purge_stream("nothing"))
    for _, wrong in ipairs({ { keep = -1 }, { sequence = "1" }, { filter = 1 }, { x = 1 } }) do
      fails("bad_config", js:purge_stream(name, wrong))
    end
  end)
end)

describe("get_message()", function()
  it("finds a message by number, as a subject's last, and as a subject's next", function()
    local headers = { A = { "1", "2" }, B = "x: y" }
    local name = stream({ "a", "1" }, { "b", "2" }, { "a", "3", { headers = headers } }, { "b", "" })
    local message = assert(js:get_message(name, { sequence = 3 }))
    assert.same({ "3", name .. ".a", name, 3 }, { message.payload, message.subject, message.stream, message.sequence })
    assert.same(headers, message.headers)
    assert.matches("^%d%d%d%d%-%d%d%-%d%dT.*Z$", message.time)
    assert.is_true(math.abs(message.timestamp_ms / 1000 - os.time()) < 60)
    local fraction = (message.time:match("%.(%d+)") or "") .. "000"
    assert.equal(("%03d"):format(message.timestamp_ms % 1000), fraction:sub(1, 3))
    assert.is_nil(message.reply)
    assert.is_nil(message.ack)
    assert.equal(3, js:get_message(name, { last_subject = name .. ".a" }).sequence)
    assert.equal("", js:get_message(name, { last_subject = name .. ".b" }).payload)
    assert.equal(2, js:get_message(name, { next_subject = name .. ".b" }).sequence)
    assert.equal(3, js:get_message(name, { sequence = 2, next_subject = name .. ".a" }).sequence)
    assert.equal(3, js:get_message(name, { sequence = 3, next_subject = name .. ".*" }).sequence)
  end)

  it("fails with not_found where there is none", function()
    local name = stream({ "a", "1" })
    fails("not_found", js:get_message(name, { sequence = 2 }))
    fails("not_found", js:get_message(name, { last_subject = name .. ".b" }))
    fails("not_found", js:get_message(name, { sequence = 2, next_subject = name .. ".a" }))
    fails("not_found", js:get_message("nothing", { sequence = 1 }))
    assert.is_true(js:delete_message(name, 1))
    fails("not_found", js:get_message(name, { sequence = 1 }))
    for _, wrong in ipairs({ {}, { sequence = 0 }, { sequence = "1" }, { last_subject = 1 }, { x = 1 } }) do
      fails("bad_config", js:get_message(name, wrong))
    end
    fails("bad_config", js:get_message(name))
    fails("bad_argument", js:get_message(name, 1))
  end)
end)

describe("delete_message()", function()
  it("removes one message, overwritten or not", function()
    local name = stream({ "a", "SECRET" }, { "a", "2" }, { "a", "3" })
    assert.is_true(js:delete_message(name, 1, true))
    assert.is_true(js:delete_message(name, 2))
    assert.equal(1, js:stream_info(name).state.messages)
    assert.same({ "3" }, { js:get_message(name, { sequence = 3 }).payload })
    local found = io.popen("grep -rlaF SECRET " .. server.directory .. "/jetstream")
    assert.equal("", found:read("a"))
    found:close()
    assert.is_string(fails("jetstream", js:delete_message(name, 2)))
    for _, wrong in ipairs({ 0, -1, 1.5, "1", {} }) do fails("bad_argument", js:delete_message(name, wrong)) end
    for _, wrong in ipairs({ 1, "yes", {} }) do fails("bad_argument", js:delete_message(name, 3, wrong)) end
    fails("bad_argument", js:delete_message(name))
  end)
end)

describe("stream_names()", function()
  it("has all of them, over more than one page, and those of a subject", function()
    local own = helpers.server(STORE)
    local its = assert(assert(nats.connect(own:url())):jetstream({ timeout_ms = 20000 }))
    assert.same({}, its:stream_names())
    local wanted = {}
    -- The server makes a stream's directory before it answers; these stay in memory.
    for n = 1, 1030 do
      local name = ("s%04d"):format(n)
      local one = its:create_stream({ name = name, subjects = { "many." .. n }, storage = "memory" })
      wanted[n] = assert(one).config.name
    end
    local names = assert(its:stream_names())
    table.sort(names)
    assert.same(wanted, { table.unpack(names) })
    assert.same({ "s0007" }, { table.unpack(its:stream_names({ subject = "many.7" })) })
    assert.equal(1030, #its:stream_names({ subject = "many.*" }))
    assert.same({}, its:stream_names({ subject = "nobody" }))
    fails("bad_config", its:stream_names({ subject = 1 }))
    fails("bad_config", its:stream_names({ x = 1 }))
  end)
end)

describe("a stream of files", function()
  it("is there after a restart of the server, for the same handle", function()
    local own = helpers.server(STORE)
    local line = assert(nats.connect(own:url(), { max_reconnect_wait_ms = 100 }))
    local its = assert(line:jetstream({ timeout_ms = 10000 }))
    assert(its:create_stream({ name = "kept", subjects = { "kept" } }))
    assert(its:publish("kept", "x"))
    own:stop()
    own:start()
    wait_until(function() return its:get_message("kept", { sequence = 1 }) end, "the message again")
    assert.equal(2, assert(its:publish("kept", "y")).sequence)
    assert.same({ "kept" }, { table.unpack(its:stream_names()) })
  end)
end)
