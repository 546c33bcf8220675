-- docs/api.md against the module: its functions, options, fields, variables and codes, and its examples, which run.
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

-- The rows of the table whose first column has this name, as { name = { column = cell } }; names without backticks.
local function rows(text, column)
  local head, body = text:match("\n?(| " .. column .. " |[^\n]*)\n| %-[^\n]*\n(.*)")
  assert(head, "no table with the column " .. column)
  local columns, found = {}, {}
  for cell in head:gmatch("|%s*([^|]-)%s*%f[|]") do columns[#columns + 1] = cell end
  for line in body:gmatch("([^\n]*)\n") do
    if line:sub(1, 1) ~= "|" then break end
    local row, place = {}, 0
    for cell in line:gmatch("|%s*([^|]-)%s*%f[|]") do
      place = place + 1
      row[columns[place]] = cell
    end
    found[row[column]:gsub("`", "")] = row
  end
  return found
end

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
    local message = fails("bad_config", nats.notify({}, { url = URL, unheard_of_by_anyone = 1 }))
    assert.same(keys(known(message)), keys(documented))
  end)

  it("has the range of each option", function()
    local function try(name, value) return nats.notify({}, { url = name ~= "url" and URL or value, [name] = value }) end
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
        else
          local low, high = row.range:gsub(",", ""):match("^(%d+) to (%d+)")
          low, high = math.tointeger(low), math.tointeger(high)
          local make = assert(values[row.type], row.type)
          assert.is_true(try(name, make(low)), name)
          assert.is_true(try(name, make(high)), name)
          fails("bad_config", try(name, make(high + 1)))
          if low > 0 then fails("bad_config", try(name, make(low - 1))) end
        end
        -- No other type is taken.
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
      if name ~= "url" then given[name] = assert(load("return " .. row.default:gsub("`", "")))() end
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
    local configuration = { url = server:url(), subject = "e.{event}" }
    local operations = rows(functions.notify, "`Request.RGWOp`")
    assert.equal(5, #keys(operations))
    for operation, row in pairs(operations) do
      local request = { RGWOp = operation, Response = { HTTPStatusCode = 204 }, Object = { Name = "k" } }
      assert.is_true(nats.notify(request, configuration))
      assert.equal("`" .. subscriber:next().subject:sub(3) .. "`", row.event)
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

  it("has the variables of a subject", function()
    local variables = {}
    for name in pairs(rows(section("Subjects", "##"), "variable")) do variables[name:match("^{(.*)}$")] = true end
    local message = fails("bad_config", nats.notify({}, { url = URL, subject = "{x}" }))
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
    assert.same(keys(existing), keys(returned))
  end)

  it("has a spec for each code but the one that needs a defect", function()
    local specs = ""
    for _, name in ipairs({ "01-module", "02-connect", "03-publish", "04-notify", "06-options" }) do
      specs = specs .. assert(helpers.read("spec/" .. name .. "_spec.lua"))
    end
    for code in pairs(codes) do
      if code ~= "internal" then
        assert(specs:find('fails("' .. code .. '"', 1, true) or specs:find(code .. " ", 1, true), code)
      end
    end
  end)
end)

describe("an example of docs/api.md", function()
  local server, subscriber
  setup(function()
    server = helpers.server()
    subscriber = server:subscribe(">")
  end)
  teardown(helpers.stop)

  local number = 0
  for block in docs:gmatch("```lua\n(%-%- runs.-)```") do
    number = number + 1
    local _, line = docs:sub(1, docs:find(block, 1, true)):gsub("\n", "")
    it("runs: the one in line " .. line, function()
      local log = {}
      local environment = setmetatable({
        Request = {
          RGWOp = "put_obj", Id = "id-" .. number, Response = { HTTPStatusCode = 200 }, Bucket = { Name = "photos" },
          Object = { Name = "2026/a.jpg", Size = 11 },
        },
        RGWDebugLog = function(text) log[#log + 1] = text end,
      }, { __index = _G })
      local script = block:gsub(URL, server:url())
      assert(load(script, "=docs/api.md", "t", environment))()
      local subject = block:match("^%-%- runs, and publishes to (%S+)\n")
      if subject then
        local message
        repeat
          message = assert(subscriber:next(), "nothing was published to " .. subject)
        until message.subject == subject
        assert.same({}, log)
      else
        assert.matches("^%-%- runs\n", block)
      end
    end)
  end

  it("is there for each function", function()
    assert(number >= #keys(functions) - 1)
  end)
end)
