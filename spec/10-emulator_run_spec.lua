-- gateway:run(): what scripts share, what they leave behind, and what ends them.
local emulator = require("rgw_nats.emulator")

local RELEASES = { "16.2", "18.2", "19.2", "20.2", "main" }

-- Runs a script that comes to its end, and returns what it has logged, in one text.
local function logged(gateway, script, request, context)
  gateway.log = {}
  assert.same({ true }, { gateway:run(script, request or gateway:request("put_obj"), context) })
  return table.concat(gateway.log, " ")
end

local function ended(gateway, script, request)
  local ok, problem = gateway:run(script, request or gateway:request("put_obj"))
  assert.is_false(ok)
  return problem
end

describe("gateway:run()", function()
  it("takes a text or a function, which can be called with what it has captured", function()
    local gateway, seen = emulator.new("18.2"), nil
    assert.equal("put_obj", logged(gateway, "RGWDebugLog(Request.RGWOp)"))
    assert.equal("", logged(gateway, function() seen = _G.Request.RGWOp end))
    assert.equal("put_obj", seen)
  end)

  it("refuses what it can't run", function()
    local gateway = emulator.new("18.2")
    local request = gateway:request("put_obj")
    for part, arguments in pairs({
      ["a script is a string or a function, got nil"] = { nil, request },
      ["runs requests that gateway:request() of a 18.2 made"] = { "", {} },
      ["requests that gateway:request() of a 18.2 made"] = { "", emulator.new("16.2"):request("put_obj") },
      ["preRequest or postRequest, not background"] = { "", request, "background" },
      ["preRequest or postRequest, not postAuth"] = { "", request, "postAuth" },
    }) do
      local ok, problem = pcall(gateway.run, gateway, table.unpack(arguments, 1, 3))
      assert.is_false(ok)
      assert.matches(part, problem, 1, true)
    end
  end)

  it("keeps the log and what is in RGW from script to script, and nothing else", function()
    local gateway = emulator.new("18.2")
    local request = gateway:request("put_obj")
    gateway:run("RGW.count = 1; ours = 1; string.ours = 1; package.path = ''; RGWDebugLog('one')", request)
    assert.same({ true }, { gateway:run([[
      RGW.increment("count", 2)
      local path = #package.path > 0 and "path" or ""
      RGWDebugLog(table.concat({ RGW.count, tostring(ours), tostring(string.ours), path }, " "))
    ]], request) })
    assert.same({ "one", "3 nil nil path" }, gateway.log)
    assert.equal("nil", logged(emulator.new("18.2"), "RGWDebugLog(tostring(RGW.count))"))
  end)

  it("loads modules anew for each script", function()
    local gateway = emulator.new("20.2")
    package.preload.one_of_ours = function() return { count = 0 } end
    local script = "local m = require('one_of_ours'); m.count = m.count + 1; RGWDebugLog(m.count)"
    assert.equal("1", logged(gateway, script))
    assert.equal("1", logged(gateway, script))
    package.preload.one_of_ours = nil
    assert.is_nil(package.loaded.one_of_ours)
  end)

  it("leaves what was there as it was, however a script ends and whatever it breaks", function()
    local function all()
      return { load, pairs, next, debug, os.exit, coroutine.yield, coroutine.resume, string.format, package.path, arg }
    end
    local kept = all()
    for _, release in ipairs(RELEASES) do
      for _, last in ipairs({ "", "error({})", "return Request.Nope", "return Request.CopyFrom.x" }) do
        local gateway = emulator.new(release)
        gateway:run([[
          coroutine.yield, coroutine.resume, string.format, table.insert, package.path = nil
          for name in next, _G do
            if name ~= "error" and name ~= "Request" then _G[name] = nil end
          end
        ]] .. last, gateway:request("copy_obj"))
        assert.same(kept, all())
      end
    end
    assert.equal(10, #kept)
  end)

  it("lets a script have coroutines, as if it were in none", function()
    for _, release in ipairs(RELEASES) do
      local wanted = "false true attempt to yield from outside a coroutine true false 1 2 3 false"
      assert.equal(wanted, logged(emulator.new(release), [[
        local function tell(value) RGWDebugLog(tostring(value)) end
        tell(coroutine.isyieldable())
        tell(select(2, coroutine.running()))
        tell(select(2, pcall(coroutine.yield)))
        local step = coroutine.wrap(function(first)
          tell(coroutine.isyieldable())
          tell(select(2, coroutine.running()))
          tell(first)
          tell(coroutine.yield(2))
          error("x")
        end)
        tell(step(1))
        tell((pcall(step, 3)))
      ]]))
    end
  end)

  it("does not go on after a C++ exception of 16, in whatever a script has hidden it", function()
    for what, script in pairs({
      ["a pcall"] = "pcall(function() return Request.Nope end)",
      ["an xpcall"] = "xpcall(function() return Request.Nope end, function() RGWDebugLog('handled') end)",
      ["a coroutine"] = "coroutine.resume(coroutine.create(function() return Request.Nope end))",
      ["one in another"] = "coroutine.wrap(function() pcall(coroutine.wrap(function() return Request.Nope end)) end)()",
      ["a callback"] = "pcall(string.gsub, 'x', 'x', function() return Request.Nope end)",
      ["a sort"] = "pcall(table.sort, { 1, 2 }, function() return pcall(function() return Request.Nope end) end)",
      ["a module"] = "package.preload.m = function() return Request.Nope end; pcall(require, 'm')",
      ["a loop"] = "pcall(string.gsub, 'x', 'x', function() return Request.Nope end) while true do pcall(error) end",
    }) do
      local gateway = emulator.new("16.2")
      local problem = ended(gateway, script .. " RGWDebugLog('on')")
      assert.equal("unknown field name: Nope provided to: Request", problem, what)
      assert.same({}, gateway.log, what)
    end
  end)
end)

describe("RGW", function()
  it("is not there on 16.2, and has entries of few kinds on the others", function()
    assert.equal("nil", logged(emulator.new("16.2"), "RGWDebugLog(tostring(RGW))"))
    for _, release in ipairs({ "18.2", "19.2", "20.2", "main" }) do
      assert.equal("1 t 1.5 true 4", logged(emulator.new(release), [[
        RGW.number, RGW.text, RGW.float, RGW.flag = 1, "t", 1.5, true
        for _, name in ipairs({ "number", "text", "float", "flag" }) do RGWDebugLog(tostring(RGW[name])) end
        RGWDebugLog(#RGW)
      ]]))
      assert.matches("unsupported value type for RGW table$", ended(emulator.new(release), "RGW.t = {}"))
      local script = "RGW.t = '' RGW.increment('t')"
      assert.matches("can increment only numeric values$", ended(emulator.new(release), script))
    end
  end)

  it("is locked for ever after an entry that is too large", function()
    for _, release in ipairs({ "18.2", "19.2", "20.2", "main" }) do
      local gateway = emulator.new(release)
      assert.matches("Lua maximum size of entry limit exceeded$", ended(gateway, "RGW.t = ('x'):rep(1000)"))
      local why = "on a real gateway this never ends: RGW is locked since it refused an entry for its size"
      assert.equal(why, ended(gateway, "return RGW.t"))
    end
  end)
end)

for _, release in ipairs({ "19.2", "20.2", "main" }) do
  describe("on " .. release, function()
    it("a key that is read when its walk is through is a hazard", function()
      local gateway = emulator.new(release)
      local script = "local last for key in pairs(Request.Environment) do last = key end RGWDebugLog(tostring(last))"
      assert.equal("", logged(gateway, script))
      assert.matches("Request.Environment was walked to its end, and its key read then", gateway.hazards[1])
    end)

    it("a walk goes wrong when metadata are added to", function()
      local gateway = emulator.new(release)
      local script = "for key in pairs(Request.HTTP.Metadata) do Request.HTTP.Metadata['x' .. tostring(key)] = '' end"
      local why = "^the gateway has crashed: Request.HTTP.Metadata was walked on after its pairs had moved"
      assert.matches(why, ended(gateway, script))
    end)

    it("a walk steps over what comes after that which is taken away", function()
      local gateway = emulator.new(release)
      local request = gateway:request("put_obj", { HTTP = { Metadata = {
        { "x-amz-a", "1" }, { "x-amz-b", "2" }, { "x-amz-c", "3" }, { "x-amz-d", "4" },
      } } })
      assert.equal("x-amz-a x-amz-c", logged(gateway, [[
        for key in pairs(Request.HTTP.Metadata) do
          local text = tostring(key)
          RGWDebugLog(text)
          Request.HTTP.Metadata[text] = nil
        end
      ]], request))
    end)
  end)
end
