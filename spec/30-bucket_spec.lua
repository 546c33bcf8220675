-- Key-value buckets: made, written, read, listed.
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

local function bucket(more, own)
  local config = { bucket = helpers.name() }
  for key, value in pairs(more or {}) do config[key] = value end
  return assert((own or js):create_bucket(config)), config.bucket
end

describe("create_bucket()", function()
  it("makes a bucket as other clients do, with each option in its place", function()
    local _, name = bucket()
    local config = js:stream_info("KV_" .. name).config
    assert.same({
      subjects = { "$KV." .. name .. ".>" }, max_msgs_per_subject = 1, max_age = 0, discard = "new", storage = "file",
      num_replicas = 1, allow_rollup_hdrs = true, deny_delete = true, deny_purge = false, allow_direct = true,
      duplicate_window = 120000000000, max_bytes = -1, max_msg_size = -1, retention = "limits",
    }, {
      subjects = config.subjects, max_msgs_per_subject = config.max_msgs_per_subject, max_age = config.max_age,
      discard = config.discard, storage = config.storage, num_replicas = config.num_replicas,
      allow_rollup_hdrs = config.allow_rollup_hdrs, deny_delete = config.deny_delete, deny_purge = config.deny_purge,
      allow_direct = config.allow_direct, duplicate_window = config.duplicate_window, max_bytes = config.max_bytes,
      max_msg_size = config.max_msg_size, retention = config.retention,
    })
    for option, case in pairs({
      history = { 5, "max_msgs_per_subject", 5 }, ttl_s = { 60, "max_age", 60000000000 },
      storage = { "memory", "storage", "memory" }, replicas = { 1, "num_replicas", 1 },
      description = { "größe", "description", "größe" }, max_bytes = { 100000, "max_bytes", 100000 },
      max_value_size = { 10, "max_msg_size", 10 },
    }) do
      _, name = bucket({ [option] = case[1] })
      assert.equal(case[3], js:stream_info("KV_" .. name).config[case[2]], option)
    end
    fails("jetstream", js:create_bucket({ bucket = helpers.name(), replicas = 3 }))
  end)

  it("makes the same bucket twice, and no other one of its name", function()
    local made, name = bucket({ history = 3 })
    assert(made:put("a", "1"))
    assert.equal("1", assert(js:create_bucket({ bucket = name, history = 3 })):get("a"))
    fails("conflict", js:create_bucket({ bucket = name, history = 4 }))
  end)

  it("has an effect of each bound", function()
    local small = bucket({ max_value_size = 10 })
    assert(small:put("a", "123"))
    assert.is_string(fails("jetstream", small:put("a", ("x"):rep(100))))
    local full = bucket({ max_bytes = 1000 })
    fails("jetstream", full:put("a", ("x"):rep(2000)))
    local short = bucket({ ttl_s = 1 })
    assert(short:put("a", "soon"))
    assert.equal("soon", short:get("a"))
    wait_until(function() return select(3, short:get("a")) == "not_found" end, "the end of a value")
  end)

  it("has what newer servers know, and refuses it on older ones", function()
    assert.matches("2.10", fails("jetstream", js:create_bucket({ bucket = "x", compression = true })))
    assert.matches("2.11", fails("jetstream", js:create_bucket({ bucket = "x", limit_marker_ttl_s = 10 })))
    fails("not_found", js:bucket("x"))
    assert(js:create_bucket({ bucket = "x", compression = false }))
    assert.matches("2.11", fails("jetstream", bucket():create("a", "1", { ttl_s = 1 })))
    local newer = helpers.server(STORE, assert(helpers.nats_server(2, 11), "no nats-server of 2.11 or newer is here"))
    local own = assert(nats.connect(newer:url())):jetstream({ timeout_ms = 5000 })
    local made, name = bucket({ compression = true, limit_marker_ttl_s = 2, history = 3 }, own)
    local config = own:stream_info("KV_" .. name).config
    assert.same({ "s2", true, 2000000000 }, {
      config.compression, config.allow_msg_ttl, config.subject_delete_marker_ttl,
    })
    assert(made:create("a", "1", { ttl_s = 1 }))
    assert(made:create("b", "2"))
    wait_until(function() return select(3, made:get("a")) == "not_found" end, "the end of a value")
    -- The server leaves a mark, which tells who watches.
    assert.equal("purge", wait_until(function() return made:entry("a") end, "the mark").operation)
    assert.same({ "b" }, made:keys())
    -- What takes the place of a removed value ends in time too.
    assert.is_true(made:delete("b"))
    local again = assert(made:create("b", "3", { ttl_s = 1 }))
    -- The server makes it as long as its mark is there.
    assert.equal("2", own:get_message("KV_" .. name, { sequence = again.revision }).headers["Nats-TTL"])
    wait_until(function() return select(3, made:get("b")) == "not_found" end, "the end of the next value")
    fails("jetstream", bucket({}, own):create("a", "1", { ttl_s = 1 }))
  end)

  it("refuses wrong names and options", function()
    for _, wrong in ipairs({ "", "a.b", "a b", "größe", "a/b", "*", 1, {}, true }) do
      fails("bad_argument", js:create_bucket({ bucket = wrong }))
      fails("bad_argument", js:bucket(wrong))
      fails("bad_argument", js:delete_bucket(wrong))
    end
    fails("bad_argument", js:create_bucket({}))
    fails("bad_argument", js:create_bucket())
    fails("bad_argument", js:create_bucket("name"))
    for _, wrong in ipairs({
      { history = 0 }, { history = 65 }, { ttl_s = -1 }, { ttl_s = "1" }, { storage = "tape" }, { replicas = 0 },
      { replicas = 6 }, { max_bytes = 0 }, { max_value_size = 1.5 }, { compression = 1 }, { limit_marker_ttl_s = 0 },
      { description = {} }, { x = 1 },
    }) do
      wrong.bucket = helpers.name()
      fails("bad_config", js:create_bucket(wrong))
    end
  end)
end)

describe("bucket(), bucket_names() and delete_bucket()", function()
  it("find, list and end buckets", function()
    local own = helpers.server(STORE)
    local its = assert(assert(nats.connect(own:url())):jetstream({ timeout_ms = 5000 }))
    assert.same({}, its:bucket_names())
    for _, name in ipairs({ "one", "two" }) do assert(its:create_bucket({ bucket = name })) end
    assert(its:create_stream({ name = "other", subjects = { "other" } }))
    local names = assert(its:bucket_names())
    table.sort(names)
    assert.same({ "one", "two" }, { table.unpack(names) })
    local found = assert(its:bucket("one"))
    assert(found:put("a", "1"))
    fails("not_found", its:bucket("three"))
    fails("not_found", its:delete_bucket("three"))
    assert.is_true(its:delete_bucket("one"))
    assert.same({ "two" }, { table.unpack(its:bucket_names()) })
    for _ = 1, 2 do
      fails("not_found", found:get("a"))
      fails("not_found", found:get("a", 1))
      fails("not_found", found:entry("a"))
      fails("not_found", found:put("a", "1"))
      fails("not_found", found:create("a", "1"))
      fails("not_found", found:update("a", "1", 1))
      fails("not_found", found:delete("a"))
      fails("not_found", found:purge("a"))
      fails("not_found", found:keys())
      fails("not_found", found:history("a"))
      fails("not_found", found:watch())
      fails("not_found", found:status())
    end
    -- The handle goes by the name.
    assert(its:create_bucket({ bucket = "one" }))
    assert.equal(1, assert(found:put("a", "2")).revision)
    -- A stream whose name only looks like it is no bucket.
    assert(its:create_stream({ name = "KV_odd", subjects = { "odd" } }))
    fails("jetstream", its:bucket("odd"))
  end)
end)

describe("put(), get() and entry()", function()
  it("set and find values of any bytes, with their revisions", function()
    local made, name = bucket({ history = 5 })
    assert.equal("rgw_nats.bucket: " .. name, tostring(made))
    assert.same({ revision = 1 }, made:put("a", "one"))
    assert.same({ revision = 2 }, made:put("b.c/d_e=f-G", "\0\255\r\n"))
    assert.same({ revision = 3 }, made:put("a", ""))
    assert.same({ revision = 4 }, made:put("empty"))
    assert.equal("", made:get("a"))
    assert.equal("one", made:get("a", 1))
    assert.equal("\0\255\r\n", made:get("b.c/d_e=f-G"))
    assert.equal("", made:get("empty"))
    local entry = assert(made:entry("a", 1))
    assert.is_true(math.abs(entry.created_ms / 1000 - os.time()) < 60)
    entry.created_ms = nil
    assert.same({ bucket = name, key = "a", value = "one", revision = 1, delta = 0, operation = "put" }, entry)
    assert.equal(3, made:entry("a").revision)
  end)

  it("fail with not_found where there is none, and print nothing", function()
    local made, name = bucket()
    assert(made:put("a", "1"))
    fails("not_found", made:get("b"))
    fails("not_found", made:entry("b"))
    fails("not_found", made:get("a", 7))
    fails("not_found", made:get("b", 1))
    assert(made:put("a", "2"))
    fails("not_found", made:get("a", 1))
    local run = helpers.run([[
      local nats = require("rgw_nats")
      local made = assert(nats.connect(arg[1])):jetstream({ timeout_ms = 5000 }):bucket(arg[2])
      for _, key in ipairs({ "a", "b" }) do for n = 0, 9 do made:entry(key, n) made:get(key, n) end end
    ]], { server:url(), name })
    assert.same({ 0, "" }, { run.status, run.out })
  end)

  it("refuse what is no key", function()
    local made = bucket()
    for _, wrong in ipairs({
      "", ".", ".a", "a.", "a..b", "a b", "a*", ">", "größe", "a\r\nb", "a:b", ("x"):rep(3001), 1, {},
    }) do
      fails("bad_argument", made:put(wrong, "x"))
      fails("bad_argument", made:get(wrong))
      fails("bad_argument", made:entry(wrong))
      fails("bad_argument", made:get(wrong, 1))
      fails("bad_argument", made:create(wrong, "x"))
      fails("bad_argument", made:update(wrong, "x", 1))
      fails("bad_argument", made:delete(wrong))
      fails("bad_argument", made:purge(wrong))
      fails("bad_argument", made:history(wrong))
    end
    assert(made:put(("x"):rep(3000), "x"))
    fails("bad_argument", made:put("a", {}))
    fails("bad_argument", made:put("a", 1))
    for _, wrong in ipairs({ "1", -1, 1.5, {} }) do
      fails("bad_argument", made:get("a", wrong))
      fails("bad_argument", made:update("a", "x", wrong))
      fails("bad_argument", made:delete("a", wrong))
    end
    fails("bad_argument", made:update("a", "x"))
    fails("bad_argument", made:create("a", "x", 1))
    fails("bad_config", made:create("a", "x", { ttl_s = 0 }))
    fails("bad_config", made:create("a", "x", { x = 0 }))
    fails("too_large", made:put("a", ("x"):rep(2 * 1024 * 1024)))
  end)
end)

describe("create() and update()", function()
  it("set a key that has no value, and one whose last revision is known", function()
    local made = bucket({ history = 5 })
    assert.same({ revision = 1 }, made:create("a", "1"))
    assert.matches("has a value", fails("conflict", made:create("a", "2")))
    assert.same({ revision = 2 }, made:update("a", "2", 1))
    fails("conflict", made:update("a", "3", 1))
    fails("conflict", made:update("b", "1", 7))
    assert.same({ revision = 3 }, made:update("b", "1", 0))
    assert.equal("2", made:get("a"))
    for _, remove in ipairs({ "delete", "purge" }) do
      assert.is_true(made[remove](made, "a"))
      fails("conflict", made:update("a", "3", 0))
      assert(made:create("a", remove))
      fails("conflict", made:create("a", "no"))
      assert.equal(remove, made:get("a"))
    end
  end)

  it("let one of many win", function()
    local made = bucket()
    local async = require("rgw_nats.async")
    local results = async.run(function()
      local list = {}
      for n = 1, 50 do list[n] = function() return made:create("lock", tostring(n)) end end
      return async.gather(list)
    end)
    local won = 0
    for _, result in ipairs(results) do
      if result.ok then won = won + 1 else assert.equal("conflict", result.code) end
    end
    assert.equal(1, won)
  end)
end)

describe("delete() and purge()", function()
  it("remove a value, with its history or without", function()
    local made = bucket({ history = 5 })
    for _, value in ipairs({ "1", "2", "3" }) do assert(made:put("a", value)) end
    assert.is_true(made:delete("a"))
    fails("not_found", made:get("a"))
    local entry = assert(made:entry("a"))
    assert.same({ "delete", "", 4 }, { entry.operation, entry.value, entry.revision })
    assert.equal(4, #made:history("a"))
    assert.equal("2", made:get("a", 2))
    assert.is_true(made:purge("a"))
    assert.equal("purge", made:entry("a").operation)
    assert.equal(1, #made:history("a"))
    fails("not_found", made:get("a", 2))
  end)

  it("only if the last revision is the one that is given", function()
    local made = bucket({ history = 5 })
    assert(made:put("a", "1"))
    assert(made:put("a", "2"))
    fails("conflict", made:delete("a", 1))
    fails("conflict", made:purge("a", 1))
    assert.equal("2", made:get("a"))
    assert.is_true(made:delete("a", 2))
    fails("not_found", made:get("a"))
    assert.is_true(made:purge("a", 3))
    assert.is_true(made:delete("never-there"))
    fails("conflict", made:delete("never-there", 0))
  end)
end)

describe("keys() and history()", function()
  it("list what has a value, and what a key was", function()
    local made = bucket({ history = 3 })
    assert.same({}, made:keys())
    assert.equal("[]", nats.encode(made:keys()))
    assert.same({}, made:history("a"))
    for n = 1, 5 do assert(made:put("a", tostring(n))) end
    assert(made:put("c.d", "x"))
    assert(made:put("b", "x"))
    assert.is_true(made:delete("b"))
    assert.same({ "a", "c.d" }, { table.unpack(made:keys()) })
    local values, deltas = {}, {}
    for n, entry in ipairs(assert(made:history("a"))) do
      values[n], deltas[n] = entry.value, entry.delta
      assert.same({ "a", "put", n + 2 }, { entry.key, entry.operation, entry.revision })
    end
    assert.same({ { "3", "4", "5" }, { 2, 1, 0 } }, { values, deltas })
    local removed = made:history("b")
    assert.same({ "put", "delete" }, { removed[1].operation, removed[2].operation })
    assert.is_true(made:delete("a") and made:purge("c.d"))
    assert.same({}, made:keys())
  end)

  it("list many", function()
    local made = bucket()
    local async = require("rgw_nats.async")
    async.run(function()
      for n = 1, 3000 do
        async.spawn(function() assert(made:put(("k.%05d"):format(n), "x")) end)
        if n % 300 == 0 then async.sleep(20) end
      end
    end)
    local keys = assert(made:keys())
    assert.same({ 3000, "k.00001", "k.03000" }, { #keys, keys[1], keys[3000] })
  end)
end)

describe("status()", function()
  it("tells what a bucket is and has", function()
    local made, name = bucket({ history = 3, ttl_s = 60 })
    for n = 1, 4 do assert(made:put("a", tostring(n))) end
    local status = assert(made:status())
    assert.is_true(status.bytes > 0)
    status.bytes = nil
    assert.same({ bucket = name, values = 3, history = 3, ttl_s = 60, replicas = 1 }, status)
  end)
end)

describe("a server that ends", function()
  it("leaves a bucket of files as it was, for the same handle", function()
    local own = helpers.server(STORE)
    local line = assert(nats.connect(own:url(), { max_reconnect_wait_ms = 100 }))
    local its = assert(line:jetstream({ timeout_ms = 10000 }))
    local made = bucket({ history = 3 }, its)
    assert(made:put("a", "1"))
    own:stop()
    own:start()
    assert.equal("1", wait_until(function() return made:get("a") end, "the value again"))
    assert.same({ revision = 2 }, made:update("a", "2", 1))
    assert.same({ "a" }, { table.unpack(made:keys()) })
    assert.equal(2, #made:history("a"))
    own:pause()
    local quick = assert(assert(nats.connect(own:url())):jetstream({ timeout_ms = 100 }))
    fails("disconnected", quick:bucket("a"))
    own:resume()
  end)
end)
