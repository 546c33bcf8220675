-- A table as the configuration of notify(): read once, known again by what is in it, and never confused with another.
local helpers = require("helpers")
local nats = require("rgw_nats")
local fails = helpers.fails

local function request(id)
  return {
    RGWOp = "put_obj", Id = id or helpers.name(), Response = { HTTPStatusCode = 200 }, Bucket = { Name = "b" },
    Object = { Name = "k" },
  }
end

describe("a table of notify()", function()
  local server, subscriber
  setup(function()
    server = helpers.server()
    subscriber = server:subscribe("s3.>")
  end)
  teardown(helpers.stop)

  local function subject(configuration)
    configuration.url = server:url()
    assert.is_true(nats.notify(request(), configuration))
    return subscriber:next().subject
  end

  it("tells what is wrong with it at its first call, and at each one after it", function()
    for n = 1, 5 do
      local wrong = { url = server:url(), nothing = 1, id = "wrong" .. n, subject = "s3..x" }
      local message = fails("bad_config", nats.notify(request(), wrong))
      assert.matches("unknown key nothing", message, 1, true)
      assert.matches("s3..x has an empty token", message, 1, true)
      for _ = 1, 3 do assert.equal(message, fails("bad_config", nats.notify(request(), wrong))) end
      assert.equal(message, fails("bad_config", nats.notify({ RGWOp = "list_bucket" }, wrong)))
    end
  end)

  it("is in force as soon as its first call returns, however many rules it has", function()
    local rules = {}
    for n = 1, 200 do rules[n] = { id = "r" .. n, subject = "s3.r" .. n, filter = { regex = "[a-y]{1,9}|" .. n } } end
    assert.is_true(nats.notify(request(), { url = server:url(), notification = rules }))
    for n = 1, 200 do assert.equal("s3.r" .. n, subscriber:next().subject) end
    rules[100].subject = ""
    local message = fails("bad_config", nats.notify(request(), { url = server:url(), notification = rules }))
    assert.matches("notification[100].subject", message, 1, true)
  end)

  it("does the same in whatever order its keys were set", function()
    local names = {}
    for n = 1, 50 do names[n] = "x-amz-meta-" .. n end
    for round = 1, 20 do
      local metadata, of = {}, request()
      for n = #names, 2, -1 do
        local other = math.random(n)
        names[n], names[other] = names[other], names[n]
      end
      -- Keys that come and go leave their traces in the order of a table.
      for n = 1, round * 7 do metadata["gone" .. n] = "v" end
      for key in pairs(metadata) do metadata[key] = nil end
      for _, name in ipairs(names) do metadata[name] = "v" end
      of.HTTP = { Method = "PUT", Metadata = metadata }
      assert.is_true(nats.notify(of, { url = server:url(), filter = { metadata = metadata } }))
      assert.equal("s3.b.ObjectCreated:Put", subscriber:next().subject)
    end
  end)

  it("is not taken for another one that has much in common with it", function()
    local first = { id = "i", opaque_data = "s3.o", subject = "s3.{id}", bucket = { "b", "c" } }
    assert.equal("s3.i", subject(first))
    for _, case in ipairs({
      { "id", "s3.o", "s3.s3%2Eo" }, { "subject", "s3.o", "s3.o" }, { "bucket", { "c", "b" }, "s3.i" },
      { "bucket", { "bc", "b" }, "s3.i" }, { "format", "cloudevents", "s3.i" }, { "notification", { { id = "n" } } },
      { "id", 1 }, { "bucket", { "bc" }, "nothing" }, { "bucket", { 1, 2 } }, { "bucket", { b = "c" }, "nothing" },
      { "max_pending", 5, "s3.i" }, { "max_pending", 5.0, "s3.i" }, { "max_pending", 5.5 }, { "max_pending", "5" },
      { "allow_cleartext_secrets", true, "s3.i" }, { "allow_cleartext_secrets", "true" }, { "filter", {}, "s3.i" },
      { "filter", { prefix = "x" }, "nothing" }, { "filter", { suffix = "x" }, "nothing" }, { "filter", { "prefix" } },
    }) do
      local other = { url = server:url() }
      for key, value in pairs(first) do other[key] = value end
      other[case[1]] = case[2]
      for _ = 1, 2 do
        local ignored = nats.status().ignored
        if case[3] == nil then
          fails("bad_config", nats.notify(request(), other))
        else
          assert.is_true(nats.notify(request(), other))
          if case[3] == "nothing" then
            assert.equal(ignored + 1, nats.status().ignored)
          else
            assert.equal(case[3], subscriber:next().subject)
          end
        end
      end
    end
    assert.equal("s3.i", subject(first))
  end)

  it("may be changed between two calls", function()
    local configuration = { subject = "s3.one" }
    for round = 1, 3 do
      for _, name in ipairs({ "s3.one", "s3.two" }) do
        configuration.subject, configuration.id = name, "round" .. round
        assert.equal(name, subject(configuration))
      end
    end
  end)

  it("of another endpoint goes to that one", function()
    local other = helpers.server()
    local listener = other:subscribe("s3.>")
    for n = 1, 3 do
      assert.equal("s3.b.ObjectCreated:Put", subject({}))
      assert.is_true(nats.notify(request("other" .. n), { url = other:url() }))
      assert.equal("other" .. n, listener:next().headers["Rgw-Request-Id"])
    end
  end)

  it("does no harm if there are 1,000 different ones in a row, right and wrong", function()
    local run = helpers.run([[
      local nats = require("rgw_nats")
      local function own(pattern)
        local file = assert(io.open("/proc/self/status"))
        local number = tonumber(file:read("a"):match(pattern .. ":%s*(%d+)"))
        file:close()
        return number
      end
      local function notify(n, configuration)
        configuration.url = arg[1]
        return nats.notify({
          RGWOp = "put_obj", Id = "id-" .. n, Response = { HTTPStatusCode = 200 }, Object = { Name = "k" },
        }, configuration)
      end
      local function all(round)
        for n = 1, 1000 do
          assert(notify(n, { subject = "s3.t" .. n, opaque_data = round }))
          local _, message, code = notify(n, { subject = "s3..", opaque_data = round .. n })
          assert(code == "bad_config" and message:find("empty token"))
        end
      end
      all("one")
      collectgarbage()
      local threads, memory = own("Threads"), own("VmRSS")
      for _, round in ipairs({ "two", "three", "four", "five", "six" }) do all(round) end
      collectgarbage()
      local status = nats.status()
      print(own("Threads") - threads, own("VmRSS") - memory, #status.connections, status.connections[1].accepted)
    ]], { server:url() })
    local threads, memory, connections, accepted = run.out:match("^(%S+)\t(%S+)\t(%S+)\t(%S+)\n$")
    assert.equal("1", connections, run.err)
    assert.equal("6000", accepted)
    -- The pool has four threads and the first round needs no more of them than the others.
    assert.is_true(tonumber(threads) <= 4, threads)
    assert.is_true(tonumber(memory) < 8192, memory .. " KiB for 10,000 tables more")
    for _ = 1, 6 do
      for n = 1, 1000 do
        local message = subscriber:next()
        assert.equal("s3.t" .. n, message.subject)
        assert.equal("id-" .. n, message.headers["Rgw-Request-Id"])
      end
    end
  end)

  it("that was forgotten for others is read anew", function()
    for round = 1, 2 do
      assert.equal("s3.kept", subject({ subject = "s3.kept" }))
      for n = 1, 300 do assert.equal("s3.n" .. n, subject({ subject = "s3.n" .. n, opaque_data = "r" .. round })) end
    end
  end)

  it("is read whatever hangs elsewhere", function()
    local fifo = helpers.directory() .. "/fifo"
    assert(os.execute("mkfifo " .. fifo))
    local run = helpers.run([[
      local nats, socket = require("rgw_nats"), require("socket")
      for n = 1, 4 do
        local options = { name = "n" .. n, auth = { token_file = arg[1] }, tls = {}, exit_timeout_ms = 0 }
        assert(nats.connect("127.0.0.1:1", options))
      end
      -- Until the four wait for somebody to write.
      local limit = socket.gettime() + 1
      local pid = io.open("/proc/self/stat"):read("n")
      repeat
        local waiting = 0
        for line in io.popen("cat /proc/" .. pid .. "/task/*/comm"):lines() do
          if line == "rgw_nats_io" then waiting = waiting + 1 end
        end
        socket.sleep(0.01)
      until waiting == 4 or socket.gettime() > limit
      io.write(tostring((select(3, nats.notify({ RGWOp = "list_bucket" }, { nothing = 1 })))))
      io.stdout:flush()
      os.exit(0, false)
    ]], { fifo })
    assert.equal("bad_config", run.out)
  end)
end)
