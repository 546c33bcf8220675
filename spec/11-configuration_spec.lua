-- The keys in docs/configuration.md against the module: each with its type, its default, its range and what comes of a
-- wrong one.
local helpers = require("helpers")
local nats = require("rgw_nats")
local Reference = require("reference")
local fails = helpers.fails
local keys, rows, known, number = Reference.keys, Reference.rows, Reference.known, Reference.number

local page = Reference.new("docs/configuration.md")
local URL = "nats://127.0.0.1:4222"
-- A request that is no event, for calls that are to check their configuration and do nothing else.
local nothing = { RGWOp = "list_bucket" }

local options = rows(page:section("Endpoint", "##"), "option")
local own = {}
for name, row in pairs(rows(page:section("Endpoint", "##"), "key")) do
  -- The table of secrets is in this section too.
  if not name:find("…", 1, true) then own[name] = row end
end
local rule = rows(page:section("notification", "##"), "key")
local forms = rows(page:section("Secrets", "###"), "key")

local function try(configuration)
  configuration.url = configuration.url or URL
  return nats.notify(nothing, configuration)
end

-- The places where keys can stand, and the tables that have them.
local places = {
  { "the top level", { options, own, rule }, function(keys_of) return try(keys_of) end },
  { "auth", { rows(page:section("auth", "##"), "key") }, function(keys_of)
    return try({ auth = keys_of, allow_cleartext_secrets = true })
  end },
  { "tls", { rows(page:section("tls", "##"), "key") }, function(keys_of) return try({ tls = keys_of }) end },
  { "notification", { rule }, function(keys_of) return try({ notification = { keys_of } }) end },
  { "filter", { rows(page:section("Filters", "###"), "filter") }, function(keys_of)
    return try({ filter = keys_of })
  end },
  { "ensure_stream", { rows(page:section("ensure_stream", "##"), "key") }, function(keys_of)
    keys_of.subjects = keys_of.subjects or "s3.>"
    return try({ stream = "events", ensure_stream = keys_of })
  end },
}

-- The names that a row stands for: a secret's are three.
local function names(name, row)
  if row.type ~= "secret" then return { name } end
  local found = {}
  for form in pairs(forms) do found[#found + 1] = (form:gsub("…", name)) end
  return found
end

-- Other keys that one needs to be taken.
local COMPANIONS = {
  user = { password = "x" }, password = { user = "x" }, jwt = { nkey_seed = "x" }, cert = { key = "x" },
  key = { cert = "x" },
}

local function with(name, value, of)
  local given = { [name] = value }
  for companion, text in pairs(COMPANIONS[of or name] or {}) do given[companion] = text end
  return given
end

-- A value of a type that is so long.
local MAKE = {
  integer = function(size) return size end,
  -- A subject is made of tokens, and the rest of any letters.
  string = function(size) return ("x"):rep(size) end,
  path = function(size) return ("/"):rep(size) end,
  ["pattern or list of patterns"] = function(size) return { ("x"):rep(size) } end,
  ["subject or list of subjects"] = function(size) return { ("x"):rep(size) } end,
  ["string or list"] = function(size)
    local list = {}
    for n = 1, size do list[n] = "h" .. n end
    return list
  end,
  ["list of tables"] = function(size)
    local list = {}
    for n = 1, size do list[n] = { id = "i" .. n } end
    return list
  end,
}

describe("docs/configuration.md", function()
  teardown(helpers.stop)

  for _, place in ipairs(places) do
    local name, tables, give = place[1], place[2], place[3]

    it("has each key of " .. name .. ", and no other", function()
      local documented = {}
      for _, table_of_keys in ipairs(tables) do
        for key, row in pairs(table_of_keys) do
          for _, each in ipairs(names(key, row)) do documented[each] = true end
        end
      end
      -- The text of a whole table may be longer than what a message shows at once; this one is asked for alone.
      local message = fails("bad_config", give({ unheard_of_by_anyone = 1 }))
      assert.same(keys(known(message)), keys(documented))
    end)

    it("has the types, ranges and choices of the keys of " .. name, function()
      for _, table_of_keys in ipairs(tables) do
        for key, row in pairs(table_of_keys) do
          local low, high = row.range:match("^([%d,]+) to ([%d,]+)")
          local kind = row.meaning:find("^The absolute path") and "path" or row.type
          if row.type == "boolean" then
            assert.equal("`true`, `false`", row.range)
            for _, value in ipairs({ true, false }) do assert.is_true(give({ [key] = value }), key) end
          elseif row.range:find('^`"') then
            for choice in row.range:gmatch('`"(.-)"`') do assert.is_true(give({ [key] = choice }), choice) end
            local message = fails("bad_config", give({ [key] = "unheard of" }))
            assert.equal(message:match("must be one of (.-), not unheard of"), (row.range:gsub('[`"]', "")))
          elseif low then
            low, high = number(low), number(high)
            local make = assert(MAKE[kind], key)
            assert.is_true(give(with(key, make(low))), key)
            -- A table of Lua has room for fewer rules than a file.
            if key ~= "notification" then
              assert.is_true(give(with(key, make(high))), key)
              fails("bad_config", give(with(key, make(high + 1))))
            end
            if low > 0 then fails("bad_config", give(with(key, make(low - 1)))) end
          else
            assert.equal("", row.range, key)
          end
          for _, each in ipairs(names(key, row)) do
            fails("bad_config", give(with(each, row.type == "boolean" and "true" or print, key)))
          end
        end
      end
    end)
  end

  it("has the range of each form of a secret", function()
    local makes = {
      ["…"] = MAKE.string, ["…_file"] = MAKE.path, ["…_env"] = MAKE.string,
    }
    for form, row in pairs(forms) do
      local low, high = row.range:match("^([%d,]+) to ([%d,]+) bytes$")
      assert.equal("refused", row["if wrong"])
      for _, place in ipairs({ places[2], places[3] }) do
        for key, of in pairs(place[2][1]) do
          if of.type == "secret" then
            local name, make = form:gsub("…", key), makes[form]
            for _, size in ipairs({ number(low), number(high) }) do
              assert.is_true(place[3](with(name, make(size), key)), name)
            end
            for _, size in ipairs({ number(low) - 1, number(high) + 1 }) do
              local message = fails("bad_config", place[3](with(name, make(size), key)))
              assert.matches(place[1] .. "." .. name, message, 1, true)
            end
          end
        end
      end
    end
    assert.equal(3, #keys(forms))
  end)

  it("has each kind of login", function()
    local documented = {}
    for _, row in pairs(rows(page:section("auth", "##"), "login")) do
      documented[row.keys:gsub("`", ""):gsub(", ", " and ")] = true
    end
    local existing = {}
    local message = fails("bad_config", places[2][3]({}))
    for kind in message:match("one kind of login, whole: (.*)"):gsub(" or ", " "):gmatch("[^,]+") do
      existing[kind:match("^%s*(.-)$")] = true
    end
    assert.same(keys(existing), keys(documented))
  end)

  it("says of each key whether a wrong one is refused, or found by connecting", function()
    local words = rows(page:section("When something is wrong", "##"), "if wrong")
    assert.same({ "not connected", "refused" }, keys(words))
    for _, place in ipairs(places) do
      for _, table_of_keys in ipairs(place[2]) do
        for key, row in pairs(table_of_keys) do
          -- What a secret must be nobody knows before the server has seen it. All else is refused: see the ranges.
          local late = row.type == "secret" or key == "server_name"
          assert.equal(late and "not connected" or "refused", row["if wrong"], key)
        end
      end
    end
    assert.is_true(places[3][3]({ server_name = "no name of a host" }))
  end)

  it("has the default of each option of connect(), which is the same connection as none", function()
    local url = helpers.server():url()
    local plain = assert(nats.connect(url))
    local given, number_of_defaults = {}, 0
    for name, row in pairs(options) do
      -- What has no default value is a table, and is told in words.
      if row.type ~= "table" then
        local default = assert(load("return " .. row.default:gsub("`", ""):gsub(",", "")))()
        given[name], number_of_defaults = default, number_of_defaults + 1
        assert(nats.connect(url, { [name] = default })):publish("a", "b")
      end
    end
    assert(nats.connect(url, given)):publish("a", "b")
    assert.equal(number_of_defaults + 1, plain:status().accepted)
    -- This one has no part in telling connections apart.
    assert.is_false(given.allow_cleartext_secrets)
    fails("bad_config", nats.connect("nats://token@127.0.0.1"))
  end)

  it("has the defaults of tls, which is the same connection as an empty table", function()
    local plain = assert(nats.connect(URL, { tls = {}, exit_timeout_ms = 0 }))
    for name, row in pairs(places[3][2][1]) do
      local text = row.default:match("^`(.*)`$")
      if text then
        local tls = { [name] = assert(load("return " .. text))() }
        assert(nats.connect(URL, { tls = tls, exit_timeout_ms = 0 })):publish("a", "b")
      end
    end
    assert.equal(2, plain:status().accepted)
  end)

  it("has the defaults of a rule and of its filter", function()
    local server = helpers.server()
    local subscriber = server:subscribe("s3.>")
    local request = { RGWOp = "put_obj", Response = { HTTPStatusCode = 200 }, Object = { Name = "k" }, Id = "1" }
    local given = { url = server:url(), filter = {} }
    for to, table_of_keys in pairs({ [given] = rule, [given.filter] = places[5][2][1] }) do
      for name, row in pairs(table_of_keys) do
        local text = row.default:match("^`(.*)`$")
        if text then to[name] = assert(load("return " .. text))() end
      end
    end
    local plain
    for _, configuration in ipairs({ { url = server:url() }, given }) do
      assert.is_true(nats.notify(request, configuration))
      local message = subscriber:next()
      -- What differs from one event to the next.
      message.payload = message.payload:gsub('"sequencer":"%x+"', ""):gsub('"event[TI][^,]*,', "")
      plain = plain or message
      assert.same(plain, message)
    end
  end)
end)
