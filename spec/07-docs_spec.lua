-- docs/api.md against the module: its functions, options, rules, fields, variables and codes.
local helpers = require("helpers")
local nats = require("rgw_nats")
local fails = helpers.fails

local docs = assert(helpers.read("docs/api.md"), "run the specs with scripts/run-specs.sh")
local URL = "nats://127.0.0.1:4222"

local function keys(map)
  local list = {}
  for key in pairs(map) do list[#list + 1] = key end
  table.sort(list)
  return list
end

-- The part of a text below a heading, up to the next one of that level or above.
local function section(heading, level)
  local start = docs:find("\n" .. level .. " " .. heading .. "\n", 1, true)
  assert(start, "docs/api.md has no " .. heading)
  local body = docs:sub(start + #level + #heading + 3)
  for length = 2, #level do
    local stop = body:find("\n" .. ("#"):rep(length) .. " ")
    if stop then body = body:sub(1, stop) end
  end
  return body
end

-- The cells of a line of a table.
local function cells(line)
  local found = {}
  for cell in line:gmatch("|%s*([^|]-)%s*%f[|]") do found[#found + 1] = cell end
  return found
end

-- The rows of all tables whose first column has this name, as { name = { column = cell } }; names without backticks.
local function rows(text, column)
  local found, columns = {}, nil
  for line in text:gmatch("[^\n]*") do
    if line:sub(1, 1) ~= "|" then
      columns = nil
    elseif cells(line)[1] == column then
      columns = cells(line)
    elseif columns and not line:find("^| %-%-%-") then
      local row = {}
      for place, cell in ipairs(cells(line)) do row[columns[place]] = cell end
      found[row[column]:gsub("`", "")] = row
    end
  end
  assert(next(found), "no table with the column " .. column)
  return found
end

-- A request that is no event, for calls that are to check their configuration and do nothing else.
local nothing = { RGWOp = "list_bucket" }

-- What a call says it knows, when it is asked for what nobody knows.
local function known(message)
  local names = {}
  for name in message:match("known are ([%w_, ]+)"):gmatch("[%w_]+") do names[name] = true end
  return names
end

local options = rows(section("Options of a connection", "##"), "option")
local notify_keys = rows(section("`notify(Request, configuration)`", "###"), "key")
local codes = rows(section("Codes", "##"), "code")
local functions = {}
for heading in docs:gmatch("\n### `([^\n]-)`\n") do
  functions[heading:match("^[%w_:]+")] = section("`" .. heading .. "`", "###")
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

  it("has each option of connect(), and no other", function()
    local message = fails("bad_config", nats.connect(URL, { unheard_of_by_anyone = 1 }))
    assert.same(keys(known(message)), keys(options))
  end)

  it("has each key of notify(), and no other", function()
    local documented = {}
    for name in pairs(options) do documented[name] = true end
    for name in pairs(notify_keys) do documented[name] = true end
    local message = fails("bad_config", nats.notify(nothing, { url = URL, unheard_of_by_anyone = 1 }))
    assert.same(keys(known(message)), keys(documented))
  end)

  it("has the range of each option", function()
    local function try(name, value)
      return nats.notify(nothing, { url = name ~= "url" and URL or value, [name] = value })
    end
    local values = {
      integer = function(number) return number end,
      -- A subject is made of tokens, and the rest of any letters.
      string = function(number) return ("x"):rep(number) end,
      ["string or list"] = function(number)
        local list = {}
        for n = 1, number do list[n] = "h" .. n end
        return list
      end,
    }
    for _, table_of_options in ipairs({ options, notify_keys }) do
      for name, row in pairs(table_of_options) do
        if row.type == "boolean" then
          assert.equal("`true`, `false`", row.range)
          for _, value in ipairs({ true, false }) do assert.is_true(try(name, value)) end
        elseif values[row.type] then
          local low, high = row.range:gsub(",", ""):match("^(%d+) to (%d+)")
          low, high = math.tointeger(low), math.tointeger(high)
          local make = values[row.type]
          assert.is_true(try(name, make(low)), name)
          assert.is_true(try(name, make(high)), name)
          fails("bad_config", try(name, make(high + 1)))
          if low > 0 then fails("bad_config", try(name, make(low - 1))) end
        end
        -- No other type is taken. The spec of the rules has what has no range here.
        fails("bad_config", try(name, row.type == "boolean" and "true" or print))
      end
    end
  end)

  it("has the default of each option of connect(), which is the same connection as none", function()
    local url = helpers.server():url()
    local plain = assert(nats.connect(url))
    local given = {}
    for name, row in pairs(options) do
      local text = row.default:gsub("`", ""):gsub(",", "")
      local default = assert(load("return " .. text))()
      given[name] = default
      assert(nats.connect(url, { [name] = default })):publish("a", "b")
    end
    assert(nats.connect(url, given)):publish("a", "b")
    assert.equal(#keys(options) + 1, plain:status().accepted)
  end)

  it("has the defaults of notify()", function()
    local server = helpers.server()
    local subscriber = server:subscribe(">")
    local request = { RGWOp = "put_obj", Response = { HTTPStatusCode = 200 }, Object = { Name = "k" }, Id = "1" }
    local given = { url = server:url() }
    for name, row in pairs(notify_keys) do
      local text = row.default:match("^`(.*)`$")
      if text then given[name] = assert(load("return " .. text))() end
    end
    local plain
    for _, configuration in ipairs({ { url = server:url() }, given }) do
      assert.is_true(nats.notify(request, configuration))
      local message
      repeat message = subscriber:next() until not message.subject:find("_INBOX", 1, true)
      -- What differs from one event to the next.
      message.payload = message.payload:gsub('"sequencer":"%x+"', ""):gsub('"event[TI][^,]*,', "")
      plain = plain or message
      assert.same(plain, message)
    end
  end)

  it("has the event of each operation", function()
    local server = helpers.server()
    local subscriber = server:subscribe("e.>")
    local events = rows(section("Events", "###"), "event")
    local message = fails("bad_config", nats.notify(nothing, { url = URL, events = { "x" } }))
    assert.matches("the nearest is", message)
    for event, row in pairs(events) do
      local cell = row["`Request.RGWOp`"]
      local operation, method = cell:match("^`([%l_]+)`"), cell:match("method `(%u+)`")
      local request = {
        RGWOp = operation, Response = { HTTPStatusCode = 204 }, Object = { Name = "k" }, Bucket = { Name = "b" },
        HTTP = { Method = method or "POST" },
      }
      for _, asked in ipairs({ { event }, { "s3:" .. event:match("^%a+:") .. "*" } }) do
        local configuration = { url = server:url(), subject = "e.{event}", events = asked }
        assert.is_true(nats.notify(request, configuration))
        assert.equal("e." .. event, subscriber:next().subject)
      end
      local ignored = nats.status().ignored
      assert.is_true(nats.notify(request, { url = server:url() }))
      assert.equal(row["RGW's own"] == "yes", nats.status().ignored == ignored, event)
    end
  end)

  it("has each filter, with its range", function()
    local filters = rows(section("Filters", "###"), "filter")
    local function try(filter) return nats.notify(nothing, { url = URL, filter = filter }) end
    assert.same(keys(known(fails("bad_config", try({ unheard_of_by_anyone = 1 })))), keys(filters))
    for name, row in pairs(filters) do
      fails("bad_config", try({ [name] = 1 }))
      local high = row.range:gsub(",", ""):match("to (%d+) bytes")
      if high then
        assert.is_true(try({ [name] = ("x"):rep(math.tointeger(high)) }))
        fails("bad_config", try({ [name] = ("x"):rep(math.tointeger(high) + 1) }))
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
    nats.notify(nothing, "/nothing/there.toml")
    assert.same(keys(nats.status().configurations[1]), keys(rows(section("A file", "###"), "state")))
  end)

  it("has the variables of a subject", function()
    local variables = {}
    for name in pairs(rows(section("Subjects", "##"), "variable")) do variables[name:match("^{(.*)}$")] = true end
    local message = fails("bad_config", nats.notify(nothing, { url = URL, subject = "{x}" }))
    assert.same(keys(known(message)), keys(variables))
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
    -- The server says this of what was accepted long before.
    returned.denied = true
    assert.same(keys(existing), keys(returned))
  end)

  it("has a spec for each code but those that need a defect or a Lua without memory", function()
    local specs = ""
    for _, name in ipairs({ "01-module", "02-connect", "03-publish", "04-notify", "06-options", "08-rules" }) do
      specs = specs .. assert(helpers.read("spec/" .. name .. "_spec.lua"))
    end
    for code in pairs(codes) do
      if code ~= "internal" and code ~= "memory" then
        assert(specs:find('fails("' .. code .. '"', 1, true) or specs:find(code .. "[: ]"), code)
      end
    end
  end)
end)
