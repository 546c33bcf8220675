-- The examples of the docs: the scripts that begin with "-- runs", the files in docs/configuration.md.
local helpers = require("helpers")
local nats = require("rgw_nats")
local Reference = require("reference")
local wait_until = helpers.wait_until

local configuration = Reference.new("docs/configuration.md")
local URL = "nats://127.0.0.1:4222"

local function request(id)
  return {
    RGWOp = "put_obj", Id = id, Response = { HTTPStatusCode = 200 }, Bucket = { Name = "photos" },
    Object = { Name = "2026/a.jpg", Size = 11 },
  }
end

-- The line of a page that a block stands in.
local function line_of(page, block)
  return select(2, page.text:sub(1, page.text:find(block, 1, true)):gsub("\n", ""))
end

for _, path in ipairs({ "docs/api.md", "docs/client.md", "docs/jetstream.md", "docs/async.md" }) do
  describe("an example of " .. path, function()
    local page = Reference.new(path)
    local server, subscriber
    setup(function()
      local own = path == "docs/jetstream.md" and 'jetstream { store_dir: "DIRECTORY" }'
      server = helpers.server(own or nil)
      -- What the examples of JetStream publish has readers of its own.
      subscriber = not own and server:subscribe(">")
    end)
    teardown(helpers.stop)

    -- Waits for a message with this subject, and returns it.
    local function published(subject)
      while true do
        local message = assert(subscriber:next(), "nothing was published to " .. subject)
        if message.subject == subject then return message end
      end
    end

    for block in page:blocks("lua") do
      local line = line_of(page, block)
      -- The others say how a function is called.
      if block:find("^%-%- runs") then
        it("runs: the one in line " .. line, function()
          local log = {}
          local environment = setmetatable({
            Request = request("script in line " .. line),
            RGWDebugLog = function(text) log[#log + 1] = text end,
          }, { __index = _G })
          local script = block:gsub(URL, server:url())
          assert(load(script, "=" .. path, "t", environment))()
          local subject = block:match("^%-%- runs, and publishes to (%S+)\n")
          if subject then
            published(subject)
            assert.same({}, log)
          else
            assert.matches("^%-%- runs\n", block)
          end
        end)
      end
    end

    it("is there for each function", function()
      for heading in page.text:gmatch("\n### `([%w_:.]+%(.-)`\n") do
        assert.matches("```lua\n-- runs", page:section("`" .. heading .. "`", "###"), 1, true, heading)
      end
    end)
  end)
end

describe("a file in docs/configuration.md", function()
  local server, subscriber
  setup(function()
    server = helpers.server()
    subscriber = server:subscribe(">")
  end)
  teardown(helpers.stop)

  -- Has the module read a file, and returns its state.
  local function read(text)
    local path = server.directory .. "/" .. helpers.name() .. ".toml"
    helpers.write(path, text)
    assert.is_true(nats.notify(request("configured"), path))
    return wait_until(function()
      for _, state in ipairs(nats.status().configurations) do
        if state.path == path and (state.notifications > 0 or state.last_error ~= "") then return state end
      end
    end, "the reading of " .. path)
  end

  for block in configuration:blocks("toml") do
    it("is right: the one in line " .. line_of(configuration, block), function()
      local here, number = block:gsub(URL, server:url())
      assert.equal("", read(here).last_error)
      -- What needs no file publishes a put, if it is for this server and not for tenants.
      if number > 0 and not block:find("_file", 1, true) and not block:find("tenant", 1, true) then
        repeat
          local message = assert(subscriber:next(), "nothing was published")
        until message.headers["Rgw-Request-Id"] == "configured"
      end
    end)
  end

  local whole = configuration:section("A whole file", "##"):match("```toml\n(.-)```")

  it("has each key, in the whole one", function()
    local text = "\n" .. whole
    for _, place in ipairs({
      { "Endpoint", "##", "key" }, { "Endpoint", "##", "option" }, { "auth", "##", "key" }, { "tls", "##", "key" },
      { "notification", "##", "key" }, { "Filters", "###", "filter" },
    }) do
      for name, row in pairs(Reference.rows(configuration:section(place[1], place[2]), place[3])) do
        if not name:find("…", 1, true) then
          local value = row.type == "secret" and name .. "_?%l* = " or name .. " = "
          local found = text:find("\n" .. value) or text:find("\n# " .. value)
          assert(found or text:find("\n%[+[%l.]-" .. name .. "%]+"), name)
        end
      end
    end
  end)

  it("is right with what is commented out, in the whole one", function()
    for _, case in ipairs({
      { "nkey_seed_file", "user", "password" }, { "nkey_seed_file", "token" }, { "nkey_seed_file", "credentials_file" },
      { false, "jwt", "ca_file", "ca_dir", "cert_file", "key_file", "server_name" },
    }) do
      local text = case[1] and whole:gsub("\n(" .. case[1] .. " = )", "\n# %1") or whole
      for place = 2, #case do
        local changed
        text, changed = text:gsub("\n# (" .. case[place] .. " = )", "\n%1")
        assert.equal(1, changed, case[place])
      end
      assert.equal("", read(text).last_error)
    end
  end)
end)
