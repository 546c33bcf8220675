-- The rest of docs/configuration.md against the module: events, formats, the variables of a subject, files.
local helpers = require("helpers")
local nats = require("rgw_nats")
local Reference = require("reference")
local fails = helpers.fails
local keys, rows, known, number = Reference.keys, Reference.rows, Reference.known, Reference.number

local page = Reference.new("docs/configuration.md")
local URL = "nats://127.0.0.1:4222"
-- A request that is no event, for calls that are to check their configuration and do nothing else.
local nothing = { RGWOp = "list_bucket" }

describe("docs/configuration.md", function()
  teardown(helpers.stop)

  it("has the event of each operation", function()
    local server = helpers.server()
    local subscriber = server:subscribe("e.>")
    local events, existing = rows(page:section("Events", "###"), "event"), {}
    for event in helpers.read("src/event/operation.rs"):gmatch('"(%a+:%a+)"') do existing[event] = true end
    assert.same(keys(existing), keys(events))
    for event, row in pairs(events) do
      local cell = row["`Request.RGWOp`"]
      local operation, method = cell:match("^`([%l_]+)`"), cell:match("method `(%u+)`")
      local versioned = cell:find("`versioned`", 1, true) and "*" or {}
      local request = {
        RGWOp = operation, Response = { HTTPStatusCode = 204 }, Object = { Name = "k" }, Bucket = { Name = "b" },
        HTTP = { Method = method or "POST" },
      }
      local function ask(asked)
        return { url = server:url(), subject = "e.{event}", events = asked, versioned = versioned }
      end
      for _, asked in ipairs({ { event }, { "s3:" .. event:match("^%a+:") .. "*" } }) do
        assert.is_true(nats.notify(request, ask(asked)))
        assert.equal("e." .. event, subscriber:next().subject)
      end
      local ignored = nats.status().ignored
      assert.is_true(nats.notify(request, ask(nil)))
      assert.equal(row["RGW's own"] == "yes", nats.status().ignored == ignored, event)
      if row["RGW's own"] == "yes" then subscriber:next() end
    end
  end)

  it("has the attributes of a CloudEvent, in both modes", function()
    local server = helpers.server()
    local subscriber = server:subscribe("s3.>")
    local request = { RGWOp = "put_obj", Response = { HTTPStatusCode = 200 }, Object = { Name = "k" }, Id = "1" }
    local documented = keys(rows(page:section("Formats", "###"), "attribute"))
    local formats = rows(page:section("Formats", "###"), "format")
    local choices = {}
    local range = rows(page:section("notification", "##"), "key").format.range
    for choice in range:gmatch('"(.-)"') do choices[choice] = true end
    assert.same(keys(choices), keys(formats))
    for format, row in pairs(formats) do
      assert.is_true(nats.notify(request, { url = server:url(), format = format }))
      local message, found = subscriber:next(), {}
      assert.equal(row["`Content-Type`"], "`" .. message.headers["Content-Type"] .. "`")
      for name in pairs(message.headers) do found[#found + 1] = name:match("^ce%-(.*)") end
      if format == "cloudevents-structured" then
        for name in message.payload:gsub('"data":.-}%]}', ""):gmatch('"([%l]+)":"') do found[#found + 1] = name end
      end
      table.sort(found)
      assert.same(format == "s3" and {} or documented, found)
    end
  end)

  it("has the state of a file", function()
    nats.notify(nothing, "/nothing/there.toml")
    assert.same(keys(nats.status().configurations[1]), keys(rows(page:section("A file", "##"), "state")))
  end)

  it("has the variables of a subject", function()
    local variables = {}
    for name in pairs(rows(page:section("Subjects", "###"), "variable")) do
      variables[name:match("^{(.*)}$")] = true
    end
    assert.same(keys(known(fails("bad_config", nats.notify(nothing, { url = URL, subject = "{x}" })))), keys(variables))
  end)

  it("has the number of rules that a file can have", function()
    local range = rows(page:section("Endpoint", "##"), "key").notification.range
    local number_of_rules = number(range:match("to ([%d,]+) rules"))
    local path = helpers.server().directory .. "/rules.toml"
    for count = number_of_rules, number_of_rules + 1 do
      local text = { ("url = %q"):format(URL) }
      for n = 1, count do text[n + 1] = ("[[notification]]\nid = '%d'"):format(n) end
      helpers.write(path .. count, table.concat(text, "\n"))
      nats.notify(nothing, path .. count)
      local state = helpers.wait_until(function()
        for _, state in ipairs(nats.status().configurations) do
          if state.path == path .. count and (state.notifications > 0 or state.last_error ~= "") then return state end
        end
      end, "the reading of many rules")
      assert.equal(count == number_of_rules and count or 0, state.notifications)
    end
  end)
end)
