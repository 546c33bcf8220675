-- docs/emulator.md and examples/try_rules.lua, as they are.
local emulator = require("rgw_nats.emulator")
local helpers = require("helpers")

local docs = assert(helpers.read("docs/emulator.md"), "run the specs with scripts/run-specs.sh")

describe("docs/emulator.md", function()
  for block in docs:gmatch("```lua\n(.-)```") do
    it("has an example that runs: " .. block:match("emulator.new%b()"), function()
      assert.equal("-- runs\n", block:sub(1, 8))
      assert(load(block, "=docs/emulator.md"))()
    end)
  end

  it("names every operation, and no other", function()
    local gateway = emulator.new("18.2")
    local _, problem = pcall(gateway.request, gateway, "none")
    local known = {}
    for name in problem:match("there are (.*)$"):gmatch("[%w_]+") do known[name] = true end
    local named = {}
    for row in docs:match("\n| operation | is |\n(.-)\n\n"):gmatch("[^\n]+") do
      for name in row:match("^| (.-) |"):gmatch("`([%w_]+)`") do named[name] = true end
    end
    assert.same(known, named)
  end)

  it("says of every release whether it is verified", function()
    local said = {}
    for row in docs:match("\n| release | verified | made from |\n(.-)\n\n"):gmatch("[^\n]+") do
      local names, verified = row:match("^| (.-) | (%a+) |")
      for name in (names or ""):gmatch("`([%w.]+)`") do said[name] = verified == "yes" end
    end
    local _, problem = pcall(emulator.new, "none")
    for name in problem:match("there are (.*)$"):gsub(" and ", ", "):gmatch("[^, ]+") do
      assert.equal(emulator.new(name).verified, said[name], name)
      said[name] = nil
    end
    assert.same({}, said)
  end)

  it("names every option, and no other", function()
    local named = {}
    for row in docs:match("\n| option | of | does |\n(.-)\n\n"):gmatch("[^\n]+") do
      local name, value = row:match("^| `([%w_]+) = (.-)` |")
      if name then
        named[name] = true
        emulator.new("main", { [name] = assert(load("return " .. value))() })
      end
    end
    local _, problem = pcall(emulator.new, "main", { none = true })
    for name in problem:match("there are (.*)$"):gsub(" and ", ", "):gmatch("[^, ]+") do
      assert.is_true(named[name], name)
      named[name] = nil
    end
    assert.same({}, named)
  end)

  it("names every field of a gateway", function()
    local gateway = emulator.new("18.2")
    gateway:run("error({})", gateway:request("put_obj"))
    for name in docs:match("\n| field | type | is |\n(.-)\n\n"):gmatch("\n| `([%w_]+)`") do
      assert.is_not_nil(gateway[name], name)
    end
  end)
end)

describe("examples/try_rules.lua", function()
  local RULES = [==[
url = [
  "tls://broker.example:4222",
  "tls://other.example:4222"
]
stream = "events"
auth = { user = "gateway", password = "hunter2" }

[tls]
ca_file = "/nowhere.pem"

[[notification]]
id = "pictures"
bucket = "album*"
subject = "s3.{bucket}.{event}.{key}"
filter = { suffix = ".jpg" }

[[notification]]
id = "audit"
events = ["s3:ObjectAccessed:Get", "s3:ObjectCreated:Put"]
subject = "audit.{event}"
]==]
  local server
  setup(function() server = helpers.server() end)
  teardown(helpers.stop)

  for _, release in ipairs({ "16.2", "18.2", "19.2", "20.2", "main" }) do
    it("prints what the rules of a file make of each request, as of " .. release, function()
      local rules = server.directory .. "/rules.toml"
      helpers.write(rules, RULES)
      local script = helpers.read("examples/try_rules.lua")
      local result = helpers.run(script, { rules, release, server.port })
      assert.equal(0, result.status, result.err)
      local lines = {}
      for line in result.out:gmatch("[^\n]+") do
        local size = line:match('^      {"Records":.*"size":(%d+),')
        table.insert(lines, size and "      size " .. size or line)
      end
      assert.same({
        "put_obj /photos/2026/a.jpg 200", "    audit.ObjectCreated:Put", "      size 11",
        "put_obj /photos/2026/a.jpg 200", "    audit.ObjectCreated:Put", "      size 11",
        "upload_part /photos/film.mp4 200", "complete_multipart /photos/film.mp4 200",
        "copy_obj /album/b.jpg 200", "    s3.album.ObjectCreated:Copy.b%2Ejpg",
        "      size " .. (release == "16.2" and 0 or 11),
        "delete_obj /photos/2026/a.jpg 204", "put_obj /photos/2026/a.jpg 403",
        "get_obj /photos/2026/a.jpg 200", "    audit.ObjectAccessed:Get", "      size 11",
      }, lines)
    end)
  end

  it("says what is wrong with the file", function()
    local rules = server.directory .. "/wrong.toml"
    helpers.write(rules, 'url = "nats://broker.example"\nsubject = "a..b"\n')
    local result = helpers.run(helpers.read("examples/try_rules.lua"), { rules, "18.2", server.port })
    assert.equal(1, result.status)
    assert.matches("has an empty token", result.err)
    helpers.write(rules, '"url" = "nats://broker.example"\n')
    result = helpers.run(helpers.read("examples/try_rules.lua"), { rules, "18.2", server.port })
    assert.equal(1, result.status)
    assert.matches("the file has no line with its url", result.err)
  end)
end)
