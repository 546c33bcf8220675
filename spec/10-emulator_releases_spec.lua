-- The ways of each release with a script, as the emulator has them. e2e/test_emulator.py asks the real gateways.
local emulator = require("rgw_nats.emulator")

local TAGS = { { "k1", "v1" }, { "k2", "v2" } }
local REPEATED = { { "a", "1" }, { "a", "2" }, { "b", "3" } }
local NUL = { { "a", "1" }, { "b\0c", "2" }, { "d", "3" } }

local function request(gateway, tags, operation)
  return gateway:request(operation or "put_obj", {
    Tags = tags or TAGS, HTTP = { Metadata = { ["x-amz-meta-foo"] = "bar" } },
  })
end

-- Runs a script that comes to its end, and returns what it has logged, in one text.
local function logged(gateway, script, of)
  gateway.log = {}
  assert.same({ true }, { gateway:run(script, of or request(gateway)) })
  return table.concat(gateway.log, " ")
end

-- Runs a script that does not, and returns why.
local function ended(gateway, script, of)
  local ok, problem = gateway:run(script, of or request(gateway))
  assert.is_false(ok)
  return problem
end

local WALK = [[
  local steps = 0
  for key, value in pairs(Request.Tags) do
    RGWDebugLog(tostring(key) .. "=" .. value)
    steps = steps + 1
    if steps == 5 then break end
  end
]]

-- What RGW refuses, and what it says; 16 does so by a C++ exception.
local REFUSED = {
  { "an unknown field", "return r.Nope", "unknown field name: Nope provided to: Request" },
  { "one of a bucket", "return r.bucket.Nope", "unknown field name: Nope provided to: BUCKET" },
  { "Request.log, which is Log", "return r.log", "unknown field name: log provided to: Request" },
  { "walking over fields", "pairs(r)", "trying to iterate over non-iterable field" },
  { "counting fields", "return #r", "trying to get length of non-iterable field" },
  { "writing to Id", "r.Id = '1'", "trying to write to readonly field" },
  { "writing to a tag", "r.Tags.a = '1'", "trying to write to readonly field" },
  { "what is in a coroutine", "local f = coroutine.wrap(function() return r.Nope end); f()",
    "unknown field name: Nope provided to: Request" },
  { "what is called from C", "string.gsub('x', 'x', function() return r.Nope end)",
    "unknown field name: Nope provided to: Request" },
}

for _, release in ipairs({ "16.2", "18.2", "19.2", "20.2", "main" }) do
  local old, pacific = release == "16.2" or release == "18.2", release == "16.2"
  local limited = release == "20.2" or release == "main"

  describe("on " .. release, function()
    local gateway
    before_each(function() gateway = emulator.new(release) end)

    it("fields have names without case, keys of maps do not", function()
      assert.equal("put_obj PUT bar nil", logged(gateway, [[
        RGWDebugLog(Request.rgwop)
        RGWDebugLog(Request.hTTP.METHOD)
        RGWDebugLog(Request.http.metadata["x-amz-meta-foo"])
        RGWDebugLog(tostring(Request.HTTP.Metadata["X-Amz-Meta-Foo"]))
      ]]))
    end)

    it("tables are empty, and have RGW's names", function()
      local wanted = old and "Log RequestMeta HTTPMeta StringMapMeta StringMapMeta OwnerMeta"
        or "Log Request Request.http Request.HTTP.Metadata Request.Tags Request.ObjectOwner"
      assert.equal(wanted .. " nil 2", logged(gateway, [[
        RGWDebugLog((next(Request)))
        for _, place in ipairs({ Request, Request.http, Request.HTTP.Metadata, Request.Tags, Request.ObjectOwner }) do
          RGWDebugLog(getmetatable(place).__name)
        end
        RGWDebugLog(tostring(next(Request.Tags)))
        RGWDebugLog(#Request.Tags)
      ]]))
    end)

    for _, case in ipairs(REFUSED) do
      it(case[1] .. (pacific and " ends the script, whatever pcall there is" or " raises"), function()
        local script = ([[
          local r = Request
          local ok, problem = pcall(function() %s end)
          RGWDebugLog(tostring(problem))
        ]]):format(case[2])
        local problem = pacific and ended(gateway, script) or logged(gateway, script)
        assert.equal(case[3]:gsub("BUCKET", old and "Bucket" or "Request.bucket"), (problem:gsub("^.*%]:2: ", "")))
        assert.equal(pacific and 0 or 1, #gateway.log)
        assert.is_nil(gateway.crashed)
        assert.equal("put_obj", logged(gateway, "RGWDebugLog(Request.RGWOp)"))
      end)
    end

    it("tables of one kind " .. (old and "take each other's place" or "are apart"), function()
      assert.equal(old and "nil v1" or "bar nil", logged(gateway, [[
        local metadata = Request.HTTP.Metadata
        local tags = Request.Tags
        RGWDebugLog(tostring(metadata["x-amz-meta-foo"]))
        RGWDebugLog(tostring(metadata.k1))
      ]]))
    end)

    it("a walk over a key that is there twice " .. (old and "never ends" or "is one as any other"), function()
      local of = request(gateway, REPEATED)
      if not old then
        assert.equal("a=1 a=2 b=3", logged(gateway, WALK, of))
        return
      end
      assert.equal("a=1 a=2 a=2 a=2 a=2", logged(gateway, WALK, of))
      local problem = ended(gateway, "for _ in pairs(Request.Tags) do end", of)
      assert.equal("on a real gateway this never ends: "
        .. 'a walk over Request.Tags never gets past the key "a", which is there twice', problem)
      assert.is_nil(gateway.crashed)
    end)

    it("a key with a NUL in it " .. (old and "ends the gateway" or "is one as any other"), function()
      local of = request(gateway, NUL)
      assert.equal("1 nil", logged(gateway, [[
        for key, value in pairs(Request.Tags) do RGWDebugLog(value) break end
        RGWDebugLog(tostring(Request.Tags["b\0c"]))
      ]], of))
      if not old then
        gateway = emulator.new(release)
        assert.equal("a=1 b d=3", logged(gateway, WALK, request(gateway, NUL)))
        return
      end
      local problem = ended(gateway, WALK, of)
      local why = 'the gateway has crashed: Request.Tags was walked on from the key "b\\0c", which has a NUL in it: '
      assert.equal(why .. "an assertion of 16.2 and 18.2 fails", problem)
      assert.is_string(gateway.crashed)
      assert.matches("^the gateway has crashed: ", ended(gateway, "return 1"))
    end)

    it("keys are " .. (old and "strings" or "one userdata"), function()
      local script = [[
        local first
        for key in pairs(Request.Tags) do
          first = first or key
          RGWDebugLog(type(key) .. ":" .. tostring(key) .. ":" .. tostring(rawequal(key, first)))
          RGWDebugLog(tostring(pcall(function() return key .. "" end)))
        end
      ]]
      assert.equal(old and "string:k1:true true string:k2:false true"
        or "userdata:k1:true false userdata:k2:true false", logged(gateway, script))
    end)

    it("a walk that was broken off " .. (old and "can begin anew" or "lets none begin anew"), function()
      local script = [[
        for key in pairs(Request.Tags) do RGWDebugLog(tostring(key)) break end
        local _, problem = pcall(function() for key in pairs(Request.Tags) do RGWDebugLog(tostring(key)) end end)
        for key in pairs(Request.tags) do RGWDebugLog(tostring(key)) end
        RGWDebugLog(tostring(problem))
      ]]
      local text = logged(gateway, script)
      assert.matches(old and "^k1 k1 k2 k1 k2 nil$"
        or "^k1 k1 k2 %[string .*: Trying to iterate 'Request.Tags' before previous iteration finished$", text)
    end)

    it("a second walk " .. (old and "is safe" or "is told of as a hazard"), function()
      local once = "for key in pairs(Request.Tags) do RGWDebugLog(tostring(key)) end "
      assert.equal("k1 k2 k1 k2", logged(gateway, once .. once))
      assert.equal(old and 0 or 1, #gateway.hazards)
      if not old then assert.matches("Request.Tags was walked a second time", gateway.hazards[1]) end
      logged(gateway, once)
      assert.equal(old and 0 or 1, #gateway.hazards)
    end)

    it("times are texts" .. (old and "" or ", with a NUL at the end"), function()
      assert.equal(old and "19 19" or "20 20", logged(gateway, [[
        RGWDebugLog(#Request.Time)
        RGWDebugLog(#Request.Bucket.CreationTime)
      ]]))
    end)

    it("a copy's source " .. (pacific and "ends the gateway when it is looked at" or "is there"), function()
      local of = request(gateway, nil, "copy_obj")
      assert.equal("true", logged(gateway, "RGWDebugLog(tostring(Request.CopyFrom ~= nil))", of))
      assert.equal("nil", logged(gateway, "RGWDebugLog(tostring(Request.CopyFrom))"))
      local script = "pcall(function() RGWDebugLog(Request.CopyFrom.Object.Size) end)"
      if pacific then
        assert.equal("the gateway has crashed: Request.CopyFrom of 16.2 is a segmentation fault when it is indexed",
          ended(gateway, script, of))
      else
        assert.equal("11", logged(gateway, script, of))
      end
    end)

    it("an error that is no string ends the gateway", function()
      assert.matches(":1: text$", ended(gateway, "error('text')"))
      assert.equal("7", ended(gateway, "error(7)"))
      assert.matches("^%[string \"no Lua\"%]:1: syntax error", ended(gateway, "no Lua"))
      assert.is_nil(gateway.crashed)
      for _, value in ipairs({ "{}", "nil", "true", "print", "setmetatable({}, { __tostring = error })" }) do
        local another = emulator.new(release)
        local problem = ended(another, "error(" .. value .. ")")
        assert.matches("^the gateway has crashed: an error value that is no string ends it", problem)
        assert.is_string(another.crashed)
      end
    end)

    it("metadata can be written" .. (pacific and ", but not taken away" or ""), function()
      local of = request(gateway)
      local size = #of.HTTP.Metadata
      logged(gateway, [[
        local metadata = Request.HTTP.Metadata
        metadata["x-amz-meta-new"] = "1"
        metadata["x-amz-meta-foo"] = "2"
        local ok = pcall(function() metadata["x-amz-meta-foo"] = nil end)
        RGWDebugLog(tostring(ok) .. #metadata)
      ]], of)
      assert.equal(pacific and "false" .. size + 1 or "true" .. size, gateway.log[1])
      local found = {}
      for _, pair in ipairs(of.HTTP.Metadata) do found[pair[1]] = pair[2] end
      assert.equal("1", found["x-amz-meta-new"])
      assert.equal(pacific and "2" or nil, found["x-amz-meta-foo"])
    end)

    it("has the globals of RGW, and no others", function()
      _G.one_of_ours = true
      local text = logged(gateway, [[
        local names = "load loadfile dofile debug arg one_of_ours RGW RGW_ABORT_REQUEST"
        for name in names:gmatch("%S+") do RGWDebugLog(tostring(_G[name] ~= nil)) end
        RGWDebugLog(tostring(os.exit) .. type(os.execute) .. type(package.loadlib) .. type(io.open))
        one_of_theirs, print = 1, nil
      ]])
      local none = ("false "):rep(6)
      local globals = tostring(not pacific) .. " " .. tostring(limited)
      assert.equal(none .. globals .. " nilfunctionfunctionfunction", text)
      assert.is_true(_G.one_of_ours)
      _G.one_of_ours = nil
      assert.is_nil(rawget(_G, "one_of_theirs"))
      assert.is_nil(rawget(_G, "Request"))
      assert.is_function(load)
      assert.is_function(print)
      assert.is_table(debug)
      assert.is_function(os.exit)
    end)

    it("computes no longer than " .. (limited and "RGW lets it" or "seems to have an end"), function()
      local problem = ended(gateway, "while true do pcall(error) end")
      assert.matches(limited and "^Lua runtime limit exceeded: " or "^on a real gateway this never ends: ", problem)
    end)
  end)
end
