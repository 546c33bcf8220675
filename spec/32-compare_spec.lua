-- docs/compare.md: what this module is said to have names tests that are there; and what has no spec elsewhere.
local Reference = require("reference")
local helpers = require("helpers")
local nats = require("rgw_nats")

local page = Reference.new("docs/compare.md")

-- The cells of each row of the tables of features.
local function rows()
  local found = {}
  for line in page.text:gmatch("[^\n]+") do
    local cells = {}
    for cell in line:gmatch("|([^|]*)") do cells[#cells + 1] = cell:match("^%s*(.-)%s*$") end
    if #cells >= 7 and cells[1] ~= "feature" and not cells[1]:find("^%-%-") then found[#found + 1] = cells end
  end
  return found
end

describe("docs/compare.md", function()
  it("names tests of each thing that this module has, and a reason where it has it not", function()
    local list, files = rows(), {}
    assert.is_true(#list > 70, #list)
    for _, cells in ipairs(list) do
      -- The line's end makes an eighth.
      assert.equal(8, #cells, cells[1])
      local own = cells[3]
      if own:find("^%*%*yes%*%*") then
        local count = 0
        for file in own:gmatch("`([%w_./-]+/[%w_.-]+)`") do
          count, files[file] = count + 1, true
        end
        assert.is_true(count > 0, cells[1] .. " names no test")
      elseif own:find("^no") then
        assert.matches("^no: .", own, cells[1])
      else
        assert.matches("^by .", own, cells[1])
      end
      for place = 4, 7 do assert.is_true(#cells[place] > 0, cells[1]) end
    end
    for file in pairs(files) do assert.is_string(helpers.read(file), file) end
  end)

  it("has the version of async-nats that the module is made of, and the module's own", function()
    local version = helpers.read("Cargo.lock"):match('name = "async%-nats"\nversion = "([%d.]+)"')
    assert.matches("| async-nats | " .. version .. " |", page.text, 1, true)
    assert.matches("| rgw_nats | " .. nats._VERSION:match("[%d.]+$") .. " |", page.text, 1, true)
  end)
end)

describe("what goes through to the server", function()
  local program = assert(helpers.nats_server(2, 11), "no nats-server of 2.11 or newer is here")
  local js, connection
  setup(function()
    local server = helpers.server('jetstream { store_dir: "DIRECTORY" }', program)
    connection = assert(nats.connect(server:url()))
    js = assert(connection:jetstream({ timeout_ms = 5000 }))
  end)
  teardown(helpers.stop)

  it("has an effect: transforms, compression, metadata, republishing", function()
    local seen = assert(connection:subscribe("seen.>"))
    local config = assert(js:create_stream({
      name = "all", subjects = { "in.*" }, compression = "s2", metadata = { owner = "größe" },
      subject_transform = { src = "in.*", dest = "kept.{{wildcard(1)}}" }, republish = { src = ">", dest = "seen.>" },
    })).config
    assert.same({ "s2", "größe" }, { config.compression, config.metadata.owner })
    assert(js:publish("in.a", "x"))
    assert.equal("kept.a", assert(js:get_message("all", { sequence = 1 })).subject)
    assert.equal("seen.kept.a", assert(seen:next(5000)).subject)
  end)

  it("pauses a consumer, and lets it go on", function()
    assert(js:create_stream({ name = "paused", subjects = { "paused" } }))
    local consumer = assert(js:consumer("paused", { durable_name = "d", ack_policy = "explicit" }))
    assert(js:publish("paused", "x"))
    local answer = assert(js:api("CONSUMER.PAUSE.paused.d", { pause_until = "2100-01-01T00:00:00Z" }))
    assert.is_true(answer.paused)
    helpers.fails("timeout", consumer:next(200))
    assert.is_false(assert(js:api("CONSUMER.PAUSE.paused.d", {})).paused)
    assert.equal("x", assert(consumer:next(5000)).payload)
  end)
end)
