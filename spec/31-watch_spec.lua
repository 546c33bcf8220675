-- The watch of a bucket: what was there, what changes, where it begins, and servers that end.
local helpers = require("helpers")
local nats = require("rgw_nats")
local socket = require("socket")
local fails, wait_until = helpers.fails, helpers.wait_until

local STORE = helpers.STORE

local js
setup(function() js = helpers.jetstream() end)
teardown(helpers.stop)

local function bucket(own)
  local name = helpers.name()
  return assert((own or js):create_bucket({ bucket = name, history = 5 })), name
end

-- All that comes until nothing does for a while: key, value or operation, and revision.
local function rest(watch)
  local found = {}
  while true do
    local entry, text, code = watch:next(200)
    if not entry then
      assert(code == "timeout", text)
      return table.concat(found, " ")
    end
    local what = entry.operation == "put" and entry.value or entry.operation
    found[#found + 1] = ("%s=%s@%d"):format(entry.key, what, entry.revision)
  end
end

-- A bucket with a few changes.
local function changed()
  local made = bucket()
  assert(made:put("a.x", "1"))
  assert(made:put("a.y", "2"))
  assert(made:put("a.x", "3"))
  assert(made:put("b", "4"))
  assert(made:delete("a.y"))
  return made
end

describe("watch()", function()
  it("begins with the last change of each key, and goes on with what changes", function()
    local made, name = bucket()
    assert(made:put("a", "1"))
    assert(made:put("a", "2"))
    assert(made:put("b", "3"))
    local watch = assert(made:watch())
    assert.equal("rgw_nats.watch: > of " .. name, tostring(watch))
    local first = assert(watch:next(5000))
    assert.is_true(math.abs(first.created_ms / 1000 - os.time()) < 60)
    first.created_ms = nil
    assert.same({ bucket = name, key = "a", value = "2", revision = 2, delta = 1, operation = "put" }, first)
    local second = assert(watch:next(5000))
    assert.same({ "b", 3, 0 }, { second.key, second.revision, second.delta })
    assert(made:put("c", "\0\255"))
    local third = assert(watch:next(5000))
    assert.same({ "c", "\0\255", 0 }, { third.key, third.value, third.delta })
    assert.is_true(made:delete("c") and made:purge("b"))
    assert.equal("c=delete@5 b=purge@6", rest(watch))
  end)

  it("begins where it is told to", function()
    local made = changed()
    for wanted, options in pairs({
      ["a.x=3@3 b=4@4 a.y=delete@5"] = {},
      ["a.x=1@1 a.y=2@2 a.x=3@3 b=4@4 a.y=delete@5"] = { history = true },
      ["b=4@4 a.y=delete@5"] = { from_revision = 4 },
      [""] = { updates_only = true },
    }) do
      assert.equal(wanted, rest(assert(made:watch(nil, options))), wanted)
    end
    local new = assert(made:watch(nil, { updates_only = true }))
    assert(made:put("b", "5"))
    assert.equal("b=5@6", rest(new))
  end)

  it("follows one key, or those that a pattern stands for", function()
    local made = changed()
    for keys, wanted in pairs({
      [">"] = "a.x=3@3 b=4@4 a.y=delete@5", ["a.*"] = "a.x=3@3 a.y=delete@5", ["a.>"] = "a.x=3@3 a.y=delete@5",
      ["*.x"] = "a.x=3@3", b = "b=4@4", none = "",
    }) do
      assert.equal(wanted, rest(assert(made:watch(keys))), keys)
    end
  end)

  it("is walked over until nothing changes for a while", function()
    local found = {}
    local start = socket.gettime()
    for entry in assert(changed():watch("a.>")) do found[#found + 1] = entry.key end
    local took = socket.gettime() - start
    assert.same({ "a.x", "a.y" }, found)
    assert.is_true(took >= 0.45 and took < 3, took)
  end)

  it("waits as long as it is told to", function()
    local watch = assert(bucket():watch())
    for _, limit in ipairs({ 0, 100 }) do
      local start = socket.gettime()
      fails("timeout", watch:next(limit))
      local took = (socket.gettime() - start) * 1000
      assert.is_true(took >= limit - 5 and took < limit + 500, took)
    end
  end)

  it("yields in tasks, so that one can wait for what another does", function()
    local async = require("rgw_nats.async")
    local made = bucket()
    local found = async.run(function()
      local watch = assert(made:watch())
      async.spawn(function()
        async.sleep(50)
        assert(made:put("a", "from a task"))
      end)
      return watch:next(5000)
    end)
    assert.equal("from a task", found.value)
  end)

  it("refuses what is no key, pattern or option", function()
    local made = bucket()
    for _, wrong in ipairs({ "", "a b", "a..b", ">.a", ".a", "a\r\nPING" }) do
      fails("bad_subject", made:watch(wrong))
    end
    for _, wrong in ipairs({ 1, {}, true }) do fails("bad_argument", made:watch(wrong)) end
    fails("bad_argument", made:watch("a", 1))
    for _, wrong in ipairs({
      { history = 1 }, { updates_only = "yes" }, { from_revision = 0 }, { from_revision = "1" }, { x = 1 },
      { history = true, updates_only = true }, { history = true, from_revision = 1 },
    }) do
      fails("bad_config", made:watch("a", wrong))
    end
    local watch = assert(made:watch())
    for _, wrong in ipairs({ -1, "1", {}, 3600001 }) do fails("bad_argument", watch:next(wrong)) end
  end)
end)

describe("a bucket that is deleted", function()
  it("has nothing more to tell", function()
    local made, name = bucket()
    assert(made:put("a", "1"))
    local watch = assert(made:watch())
    assert.equal("1", assert(watch:next(5000)).value)
    assert.is_true(js:delete_bucket(name))
    local _, text, code = watch:next(300)
    assert.is_true(code == "timeout" or code == "not_found" or code == "jetstream", text)
    fails("not_found", made:watch())
  end)
end)

describe("a server that ends", function()
  it("has a watch go on where it was, each change once", function()
    local own = helpers.server(STORE)
    local line = assert(nats.connect(own:url(), { max_reconnect_wait_ms = 100 }))
    local its = assert(line:jetstream({ timeout_ms = 10000 }))
    local made = bucket(its)
    local watch, new = assert(made:watch()), assert(made:watch(nil, { updates_only = true }))
    for n = 1, 60 do
      if n % 20 == 10 then
        own:signal(n % 40 == 10 and "TERM" or "KILL")
        wait_until(function() return not own:state() end, "the end of the server")
        own:start()
        wait_until(function() return made:status() end, "the bucket again")
      end
      assert(made:put("k" .. n % 7, tostring(n)))
      assert.equal(tostring(n), assert(watch:next(10000)).value)
      if n % 5 == 0 then
        for back = n - 4, n do assert.equal(tostring(back), assert(new:next(10000)).value) end
      end
    end
    fails("timeout", watch:next(100))
  end)
end)
