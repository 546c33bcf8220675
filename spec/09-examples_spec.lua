-- The examples of docs/api.md: the scripts that begin with "-- runs", and the configuration file.
local helpers = require("helpers")
local nats = require("rgw_nats")

local docs = assert(helpers.read("docs/api.md"), "run the specs with scripts/run-specs.sh")
local URL = "nats://127.0.0.1:4222"

local function request(id)
  return {
    RGWOp = "put_obj", Id = id, Response = { HTTPStatusCode = 200 }, Bucket = { Name = "photos" },
    Object = { Name = "2026/a.jpg", Size = 11 },
  }
end

describe("an example of docs/api.md", function()
  local server, subscriber
  setup(function()
    server = helpers.server()
    subscriber = server:subscribe(">")
  end)
  teardown(helpers.stop)

  -- Waits for a message with this subject, and returns it.
  local function published(subject)
    while true do
      local message = assert(subscriber:next(), "nothing was published to " .. subject)
      if message.subject == subject then return message end
    end
  end

  for block in docs:gmatch("```lua\n(%-%- runs.-)```") do
    local _, line = docs:sub(1, docs:find(block, 1, true)):gsub("\n", "")
    it("runs: the one in line " .. line, function()
      local log = {}
      local environment = setmetatable({
        Request = request("script in line " .. line),
        RGWDebugLog = function(text) log[#log + 1] = text end,
      }, { __index = _G })
      local script = block:gsub(URL, server:url())
      assert(load(script, "=docs/api.md", "t", environment))()
      local subject = block:match("^%-%- runs, and publishes to (%S+)\n")
      if subject then
        published(subject)
        assert.same({}, log)
      else
        assert.matches("^%-%- runs\n", block)
      end
    end)
  end

  it("configures in TOML", function()
    local path = server.directory .. "/rgw_nats.toml"
    helpers.write(path, (docs:match("```toml\n(.-)```"):gsub(URL, server:url())))
    assert.is_true(nats.notify(request("configured"), path))
    repeat
      local message = published("s3.photos.ObjectCreated:Put")
    until message.headers["Nats-Msg-Id"]:match("^configured/ObjectCreated:Put/thumbnails/")
  end)

  it("is there for each function", function()
    for name, text in docs:gmatch("\n### `([%w_:]+)%(.-`\n(.-)\n%*%*Since") do
      assert.matches("```lua\n-- runs", text, 1, true, name)
    end
  end)
end)
