-- What a machine for x86_64 prints when it is given the library for aarch64, as docs/install.md has it. Runs beside
-- the specs that `make aarch64` runs on a Lua for aarch64.
local helpers = require("helpers")

local LUA = "lua" .. _VERSION:match("%d%.%d")
local module = assert(package.searchpath("rgw_nats", package.cpath))

-- Runs a command of this machine, which must fail; returns what it printed.
local function refused(command, ...)
  local pipe = assert(io.popen(command:format(...) .. " 2>&1"))
  local printed = pipe:read("a")
  assert.is_nil(pipe:close(), printed)
  return printed
end

describe("a machine for x86_64", function()
  local server, tree

  setup(function()
    server, tree = helpers.directory(), helpers.directory()
    local manifest = "cp dist/*.linux-aarch64.rock %s && luarocks-admin make_manifest %s > /dev/null"
    assert(os.execute(manifest:format(server, server)))
  end)

  local function luarocks(what)
    local version = _VERSION:match("%d%.%d")
    return refused("LUAROCKS_CONFIG=/dev/null luarocks --lua-version %s install --tree %s %s", version, tree, what)
  end

  it("does not load the library for aarch64", function()
    local machine = io.popen("readelf --file-header " .. module):read("a")
    assert.truthy(machine:find("AArch64", 1, true))
    local program = ([[package.cpath = "%s"; require("rgw_nats")]]):format(module)
    local printed = refused("env -u LUA_PATH_5_4 -u LUA_CPATH_5_4 %s -e '%s'", LUA, program)
    local told = module .. ": cannot open shared object file: No such file or directory"
    assert.truthy(printed:find(told, 1, true), printed)
  end)

  it("finds no rock where there is only one for aarch64, and builds none", function()
    local printed = luarocks("rgw_nats --only-server=" .. server)
    assert.truthy(printed:find("Error: No results matching query were found for " .. _VERSION, 1, true), printed)
  end)

  it("does not install the file of that rock", function()
    local printed = luarocks(server .. "/*.rock")
    assert.truthy(printed:find("Error: Incompatible architecture linux-aarch64", 1, true), printed)
    assert.equal("", io.popen("find " .. tree .. " -name '*.so'"):read("a"))
  end)
end)
