-- docs/api.md against the module: its functions, fields, headers and codes. docs/configuration.md has its own spec.
local helpers = require("helpers")
local nats = require("rgw_nats")
local Reference = require("reference")
local keys, rows = Reference.keys, Reference.rows

local api = Reference.new("docs/api.md")
local codes = rows(api:section("Codes", "##"), "code")
local functions = {}
for heading in api.text:gmatch("\n### `([^\n]-)`\n") do
  functions[heading:match("^[%w_:]+")] = api:section("`" .. heading .. "`", "###")
end

describe("docs/api.md", function()
  teardown(helpers.stop)

  it("has each function and method, and no other", function()
    local existing = {}
    for name in pairs(nats) do existing[name] = true end
    local connection = assert(nats.connect("127.0.0.1:" .. helpers.port()))
    for name in pairs(debug.getmetatable(connection).__index) do existing["connection:" .. name] = true end
    assert.same(keys(existing), keys(functions))
    assert.matches(nats._VERSION, functions._VERSION, 1, true)
  end)

  it("says the same things of each function, in the same order", function()
    for name, text in pairs(functions) do
      local place = 1
      for _, part in ipairs({
        "```lua\nlocal ", "**Contexts:**", "**Blocks:**", "**Parameters:**", "**Returns:**", "*fail*",
        "**Success means:**", "**Codes:**", "**Raises:** nothing", "**Example:**", "```lua\n-- runs", "**Since:**",
      }) do
        if name ~= "_VERSION" then
          local found = text:find(part, place, true)
          place = assert(found, ("%s has no %s after what comes before it"):format(name, part))
        end
      end
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
    -- These are said of what was accepted long before.
    returned.denied, returned.not_stored, returned.expired = true, true, true
    assert.same(keys(existing), keys(returned))
  end)

  it("has a spec for each code but those that need a defect or a Lua without memory", function()
    local specs = ""
    local names = { "01-module", "02-connect", "03-publish", "04-notify", "06-options", "08-rules", "20-delivery" }
    for _, name in ipairs(names) do
      specs = specs .. assert(helpers.read("spec/" .. name .. "_spec.lua"))
    end
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
