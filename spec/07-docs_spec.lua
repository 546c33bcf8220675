-- The pages of the reference against the module: functions, options, fields, headers, codes. docs/configuration.md has
-- its own spec, and so have the tables of docs/jetstream.md (07-docs_jetstream_spec.lua).
local helpers = require("helpers")
local nats = require("rgw_nats")
local Reference = require("reference")
local keys, rows = Reference.keys, Reference.rows

local api = Reference.new("docs/api.md")
local codes = rows(api:section("Codes", "##"), "code")
-- What is said of each function, by its name, and on which page.
local functions, page_of = Reference.functions()

describe("the reference", function()
  teardown(helpers.stop)

  it("has each function and method, and no other", function()
    assert.same(keys(Reference.registered()), keys(functions))
    assert.matches(nats._VERSION, functions._VERSION, 1, true)
    assert.equal("userdata", type(nats.null))
  end)

  it("says the same things of each function, in the same order", function()
    -- The other pages say once what is the same for all.
    local short = {
      "```lua\nlocal ", "**Blocks:**", "**Parameters:**", "**Returns:**", "*fail*", "**Codes:**", "**Example:**",
      "```lua\n-- runs",
    }
    local parts = {
      ["docs/api.md"] = {
        "```lua\nlocal ", "**Contexts:**", "**Blocks:**", "**Parameters:**", "**Returns:**", "*fail*",
        "**Success means:**", "**Codes:**", "**Raises:** nothing", "**Example:**", "```lua\n-- runs", "**Since:**",
      },
      ["docs/client.md"] = short, ["docs/jetstream.md"] = short, ["docs/async.md"] = short,
    }
    for path in pairs(parts) do
      local head = Reference.new(path).text:match("^(.-)\n### ")
      for _, word in ipairs({ "contexts?", "[Nn]o[nt]h?i?n?g?e? raises", "0%.1%.0" }) do
        assert(head:lower():find(word:lower()), path .. " does not begin with " .. word)
      end
    end
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

  it("has a number for each parameter, in the order of the heading", function()
    for name, text in pairs(functions) do
      local listed = text:match("%*%*Parameters:%*%*\n(.-)\n%*%*Returns")
      local count = #Reference.parameters(name)
      if count > 0 then
        local last = 0
        for number, rest in ("\n" .. (listed or "")):gmatch("\n(%d+)%. ([^\n]*)") do
          last = math.tointeger(rest:match("^to (%d)%.") or number)
        end
        assert.equal(count, last, name)
      elseif text:find("**Parameters:**", 1, true) then
        assert(text:find("**Parameters:** none.", 1, true), name)
      end
    end
  end)

  it("has the client's options, with their ranges, and the fields of results", function()
    local server = helpers.server()
    local connection = assert(nats.connect(server:url()))
    assert(connection:flush(5000))
    local calls = {
      request = function(options) return connection:request("a", "", options) end,
      request_many = function(options) return connection:request_many("a", "", options) end,
      subscribe = function(options) return connection:subscribe("b", options) end,
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
    request.TransactionId = "tx1"
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
    -- Tasks have one more.
    local known = { raised = true }
    for code in pairs(rows(Reference.new("docs/async.md").text, "code")) do
      assert(existing[code] or known[code], code)
    end
    for code in pairs(existing) do known[code] = true end
    local returned = {}
    for name, text in pairs(functions) do
      -- What is in brackets says when.
      for word in (text:match("%*%*Codes:%*%*(.-)%.\n") or ""):gsub("%b()", ""):gmatch("`([^`]+)`") do
        if known[word] then
          returned[word] = true
        else
          -- Otherwise it is the function whose codes these are too.
          assert(functions[word] or functions[name:match("^.*[:.]") .. word], name .. " has the code " .. word)
        end
      end
      if page_of[name] ~= "docs/async.md" and name ~= "_VERSION" and name ~= "null" then
        for _, code in ipairs({ "memory", "internal" }) do
          assert(text:match("%*%*Codes:%*%*(.-)\n\n"):find("`" .. code .. "`", 1, true)
            or text:find("**Codes:** those of", 1, true), name .. " has no " .. code)
        end
      end
    end
    -- These are said of what was accepted long before.
    returned.not_stored, returned.expired = true, true
    assert.same(keys(known), keys(returned))
  end)

  it("has a spec for each code but those that need a defect or a Lua without memory", function()
    local specs = ""
    local listed = io.popen("ls spec/*_spec.lua")
    for path in listed:lines() do
      if not path:find("07-docs", 1, true) then specs = specs .. assert(helpers.read(path)) end
    end
    listed:close()
    for code in pairs(codes) do
      if code ~= "internal" and code ~= "memory" then
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
