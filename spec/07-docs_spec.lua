-- docs/api.md and docs/client.md against the module: its functions, fields, headers and codes. docs/configuration.md has its
-- own spec, and docs/async.md too.
local helpers = require("helpers")
local nats = require("rgw_nats")
local Reference = require("reference")
local keys, rows = Reference.keys, Reference.rows

-- What each page says of each function, by its name.
local PAGES = { "docs/api.md", "docs/client.md" }
local api = Reference.new("docs/api.md")
local codes = rows(api:section("Codes", "##"), "code")
local functions, page_of = {}, {}
for _, path in ipairs(PAGES) do
  local page = Reference.new(path)
  for heading in page.text:gmatch("\n### `([^\n]-)`\n") do
    local name = heading:match("^[%w_:]+")
    assert(not functions[name], name .. " is there twice")
    functions[name], page_of[name] = page:section("`" .. heading .. "`", "###"), path
  end
end

-- The methods of each class that scripts get without a server, and of messages.
local function classes()
  local connection = assert(nats.connect("127.0.0.1:" .. helpers.port()))
  local future = assert(connection:request_async("a", "", { timeout_ms = 0 }))
  local handles = {
    connection = connection, subscription = assert(connection:subscribe("a")), future = future,
    poller = assert(nats.poller()),
  }
  local found = {}
  for class, handle in pairs(handles) do
    for name in pairs(debug.getmetatable(handle).__index) do found[class .. ":" .. name] = true end
  end
  local server = helpers.server()
  local own = assert(nats.connect(server:url()))
  local subscription = assert(own:subscribe("a"))
  assert(own:publish("a", "", nil, "b") and own:flush(5000))
  for name in pairs(getmetatable(assert(subscription:next(5000))).__index) do found["message:" .. name] = true end
  return found
end

describe("docs/api.md and docs/client.md", function()
  teardown(helpers.stop)

  it("have each function and method, and no other", function()
    local existing = classes()
    for name in pairs(nats) do existing[name] = true end
    assert.same(keys(existing), keys(functions))
    assert.matches(nats._VERSION, functions._VERSION, 1, true)
    assert.equal("userdata", type(nats.null))
  end)

  it("say the same things of each function, in the same order", function()
    -- The client's page says once what is the same for all.
    local parts = {
      ["docs/api.md"] = {
        "```lua\nlocal ", "**Contexts:**", "**Blocks:**", "**Parameters:**", "**Returns:**", "*fail*",
        "**Success means:**", "**Codes:**", "**Raises:** nothing", "**Example:**", "```lua\n-- runs", "**Since:**",
      },
      ["docs/client.md"] = {
        "```lua\nlocal ", "**Blocks:**", "**Parameters:**", "**Returns:**", "*fail*", "**Codes:**", "**Example:**",
        "```lua\n-- runs",
      },
    }
    for name, text in pairs(functions) do
      local place = 1
      for _, part in ipairs(parts[page_of[name]]) do
        if name ~= "_VERSION" and name ~= "null" then
          local found = text:find(part, place, true)
          place = assert(found, ("%s has no %s after what comes before it"):format(name, part))
        end
      end
    end
  end)

  it("have the options, with their defaults and ranges, and the fields of results", function()
    local server = helpers.server()
    local connection = assert(nats.connect(server:url()))
    assert(connection:flush(5000))
    local calls = {
      request = function(options) return connection:request("a", "", options) end,
      request_many = function(options) return connection:request_many("a", "", options) end,
      subscribe = function(options) return connection:subscribe("a", options) end,
    }
    for name, call in pairs(calls) do
      local documented = rows(functions["connection:" .. name], "option")
      local known = Reference.known(select(2, call({ unheard_of = 1 })))
      assert.same(keys(known), keys(documented))
      for option, row in pairs(documented) do
        local low, high = row.range:match("^([%d,]+) to ([%d,]+)$")
        if low then
          low, high = Reference.number(low), Reference.number(high)
          for value, good in pairs({ [low] = true, [high] = true, [low - 1] = false, [high + 1] = false }) do
            local _, _, code = call({ [option] = value, [option ~= "timeout_ms" and "timeout_ms" or "x"] = nil })
            assert.equal(good, code ~= "bad_config", option .. " = " .. value)
          end
        end
      end
    end
    local subscription = assert(connection:subscribe("a"))
    for place, result in pairs({
      ["connection:server_info"] = { "information", assert(connection:server_info()) },
      ["subscription:status"] = { "number", assert(subscription:status()) },
    }) do
      local fields = rows(functions[place], result[1])
      assert.same(keys(result[2]), keys(fields))
      for name, row in pairs(fields) do
        assert.equal(row.type, math.type(result[2][name]) or type(result[2][name]), name)
      end
    end
    assert(connection:publish("a", "x", { A = "b" }, "c"))
    local message = assert(subscription:next(5000))
    local fields = rows(Reference.new("docs/client.md"):section("Messages", "##"), "field")
    assert.same(keys(message), keys(fields))
    for name, row in pairs(fields) do
      local kind = type(message[name])
      assert.equal(row.type, kind == "userdata" and "handle" or kind, name)
    end
  end)

  it("has the fields of status()", function()
    local connection = assert(nats.connect("127.0.0.1:" .. helpers.port()))
    for text, status in pairs({
      [functions["connection:status"]] = connection:status(), [functions.status] = nats.status(),
    }) do
      local fields = rows(text, "field")
      assert.same(keys(status), keys(fields))
      for name, row in pairs(fields) do
        assert.equal(row.type, math.type(status[name]) or type(status[name]), name)
      end
    end
  end)

  it("has the headers of an event, each where it says that it is there", function()
    local server = helpers.server()
    local subscriber = server:subscribe("s3.>")
    local request = {
      RGWOp = "put_obj", Id = "1", Response = { HTTPStatusCode = 200 }, Object = { Name = "k" },
      Bucket = { Name = "b" },
    }
    local headers = rows(functions.notify, "header")
    local function sent(configuration)
      configuration.url = server:url()
      assert.is_true(nats.notify(request, configuration))
      return subscriber:next().headers
    end
    local always = {}
    for name, row in pairs(headers) do
      if row.there == "always" then always[name] = true end
    end
    assert.same(keys(always), keys(sent({})))
    request.Bucket.Tenant = "t"
    request.Tags = { k = ("x"):rep(70000) }
    request.HTTP = { Metadata = {
      ["x-amz-meta-traceparent"] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      ["x-amz-meta-tracestate"] = "a=b",
    } }
    local all = {}
    for name in pairs(sent({ format = "cloudevents", key_encoding = "aws" })) do
      all[name:gsub("^ce%-.*", "ce-…")] = true
    end
    assert.same(keys(headers), keys(all))
  end)

  it("has each code of the library, and says which function returns it", function()
    local existing = {}
    for code in assert(helpers.read("src/error.rs")):gmatch('=> "([%l_]+)"') do existing[code] = true end
    assert.same(keys(existing), keys(codes))
    local returned = {}
    for _, text in pairs(functions) do
      for code in (text:match("%*%*Codes:%*%*(.-)%.\n") or ""):gmatch("`([%l_]+)`") do
        if code ~= "publish" then returned[code] = true end
      end
    end
    -- These are said of what was accepted long before; those of JetStream are on a page of their own.
    returned.not_stored, returned.expired = true, true
    returned.not_found, returned.conflict, returned.jetstream = true, true, true
    assert.same(keys(existing), keys(returned))
  end)

  it("has a spec for each code but those that need a defect or a Lua without memory", function()
    local specs = ""
    local listed = io.popen("ls spec/*_spec.lua")
    for path in listed:lines() do
      if not path:find("07-docs", 1, true) then specs = specs .. assert(helpers.read(path)) end
    end
    listed:close()
    for code in pairs(codes) do
      local of_jetstream = code == "not_found" or code == "conflict" or code == "jetstream"
      if code ~= "internal" and code ~= "memory" and not of_jetstream then
        assert(specs:find('fails("' .. code .. '"', 1, true) or specs:find(code .. "[: ]"), code)
      end
    end
  end)
end)

describe("a link of the docs", function()
  local pages = {}
  for name in io.popen("ls docs/*.md README.md"):lines() do pages[name] = Reference.new(name).text end

  -- The anchor that a heading has, as GitHub makes it.
  local function anchors(text)
    local found = {}
    for heading in ("\n" .. text):gmatch("\n#+ ([^\n]+)") do
      found[heading:lower():gsub("[^%w _-]", ""):gsub(" ", "-")] = true
    end
    return found
  end

  for page, text in pairs(pages) do
    it("leads somewhere: those of " .. page, function()
      for target in text:gmatch("%]%(([^)%s]+)%)") do
        if not target:find("^https?:") then
          local path, anchor = target:match("^([^#]*)#?(.*)$")
          path = path == "" and page or (page:match("^(.*/)") or "") .. path
          path = path:gsub("[^/]+/%.%./", "")
          -- A directory can be opened, but not read.
          local file = assert(io.open(path), page .. " leads to " .. target)
          file:close()
          if anchor ~= "" then
            assert(anchors(assert(pages[path], target))[anchor], page .. " leads to " .. target)
          end
        end
      end
    end)
  end
end)
