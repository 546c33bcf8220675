-- One library for Lua 5.3 and 5.4, and what other Luas say when they load it.
local module = assert(package.searchpath("rgw_nats", package.cpath))

-- The lines that a command prints.
local function lines(command)
  local found, pipe = {}, assert(io.popen(command .. " 2>&1"))
  for line in pipe:lines() do found[#found + 1] = line end
  assert(pipe:close(), command .. ": " .. table.concat(found, "\n"))
  return found
end

-- Lua's functions among the dynamic symbols of a library, as a set.
local function functions(which, library)
  local found = {}
  for _, line in ipairs(lines(("nm -D --%s-only %s"):format(which, library))) do
    local name = line:match("%a (luaL?_[%w_]+)@*[%w_.]*$")
    if name then found[name] = true end
  end
  return found
end

describe("the library", function()
  -- Both Luas export these; they take or return something else in each.
  local differ = { "lua_version", "lua_rawlen", "lua_resume", "lua_gc", "lua_getinfo", "lua_getstack" }

  it("needs no function of Lua that 5.3 or 5.4 lacks, or has otherwise", function()
    local needed = functions("undefined", module)
    assert.is_true(needed.lua_pcallk, "no function of Lua at all was found; is nm's output another one?")
    for _, lua in ipairs({ "5.3", "5.4" }) do
      local exported = functions("defined", ("/usr/lib/*/liblua%s.so.0"):format(lua))
      assert.is_true(exported.lua_pcallk)
      for name in pairs(needed) do assert(exported[name], name .. " is not in Lua " .. lua) end
    end
    for _, name in ipairs(differ) do assert.is_nil(needed[name], name) end
  end)

  it("takes the functions of the Lua that it runs in where the process has both", function()
    for lua, other in pairs({ ["5.3"] = "5.4", ["5.4"] = "5.3" }) do
      local program = [[package.cpath = "%s" print(require("rgw_nats").connect("nats://127.0.0.1:1"))]]
      local command = "LD_PRELOAD=$(echo /usr/lib/*/liblua%s.so.0) lua%s -e '%s'"
      local printed = lines(command:format(other, lua, program:format(module)))
      assert.same({ "rgw_nats.connection: nats://127.0.0.1:1" }, printed)
    end
  end)
end)

describe("a Lua that is not supported", function()
  local program = [[package.cpath = "%s"; local _, text = pcall(require, "rgw_nats"); io.write(type(text), " ", text)]]

  -- What `require` raises; `run` is the command that runs a Lua.
  local function raised(run) return table.concat(lines(("%s -e '%s'"):format(run, program:format(module))), "\n") end

  for _, lua in ipairs({ "lua5.1", "lua5.2", "luajit" }) do
    it("is told what is: " .. lua, function()
      local text = raised(lua)
      assert.equal("string", text:match("^%a+"))
      assert.match("rgw_nats works in Lua 5.3 and 5.4, as Ceph's gateways have them", text, 1, true)
      assert.match("this is an older Lua", text, 1, true)
      assert.match("run it by lua5.3 or lua5.4", text, 1, true)
    end)
  end

  it("is told what is: lua5.5", function()
    local root = lines("scripts/debian-tree.sh lua5.5 forky amd64 lua5.5 2> /dev/null")[1]
    local libraries = root .. "/usr/lib/x86_64-linux-gnu"
    local run = "%s/ld-linux-x86-64.so.2 --library-path %s %s/usr/bin/lua5.5"
    local text = raised(run:format(libraries, libraries, root))
    assert.equal("string", text:match("^%a+"))
    assert.match("rgw_nats works in Lua 5.3 and 5.4, as Ceph's gateways have them", text, 1, true)
    assert.match("this is a newer Lua", text, 1, true)
  end)
end)
