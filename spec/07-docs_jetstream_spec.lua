-- The tables of docs/jetstream.md against the module: options with their ranges, fields of results.
local helpers = require("helpers")
local Reference = require("reference")
local keys, rows = Reference.keys, Reference.rows
local functions = Reference.functions()
local page = Reference.new("docs/jetstream.md")

describe("docs/jetstream.md", function()
  local handles
  setup(function() handles = Reference.handles() end)
  teardown(helpers.stop)

  it("has the options, and their ranges", function()
    local js, bucket = handles.jetstream, handles.bucket
    local free = assert(js:consumer("s", { name = "free", ack_policy = "none" }))
    local function with(name)
      return function(options)
        options.bucket = options.bucket or name
        return js:create_bucket(options)
      end
    end
    local calls = {
      ["connection:jetstream"] = function(options) return handles.connection:jetstream(options) end,
      ["jetstream:publish"] = function(options) return js:publish("s", "", options) end,
      ["jetstream:stream_names"] = function(options) return js:stream_names(options) end,
      ["jetstream:purge_stream"] = function(options) return js:purge_stream("nothing", options) end,
      ["jetstream:get_message"] = function(options) return js:get_message("s", options) end,
      ["jetstream:ordered_consumer"] = function(options) return js:ordered_consumer("s", options) end,
      ["consumer:fetch"] = function(options) return free:fetch(1, options) end,
      ["jetstream:create_bucket"] = with(helpers.name()),
      ["bucket:create"] = function(options) return bucket:create(helpers.name(), "", options) end,
      ["bucket:watch"] = function(options) return bucket:watch("a", options) end,
    }
    local tables = {}
    for name, text in pairs(functions) do
      if text:find("\n| option |", 1, true) and page.text:find("### `" .. name .. "(", 1, true) then
        tables[name] = true
      end
    end
    assert.same(keys(calls), keys(tables))
    for name, call in pairs(calls) do
      local documented = rows(functions[name], "option")
      local known = Reference.known(select(2, call({ nobody_has_heard_of_this = 1 })))
      assert.same(keys(known), keys(documented), name)
      for option, row in pairs(documented) do
        local low, high = (row.range or ""):match("^([%d,]+) to ([%d,]+)$")
        if low then
          low, high = Reference.number(low), Reference.number(high)
          for value, good in pairs({ [low] = true, [high] = true, [low - 1] = false, [high + 1] = false }) do
            local _, message, code = call({ [option] = value })
            assert.equal(good, code ~= "bad_config", ("%s: %s = %d: %s"):format(name, option, value, message))
          end
        end
        -- What is no table of JSON has one type.
        local wrong = row.type == "string" and 1 or "x"
        assert.equal("bad_config", select(3, call({ [option] = wrong })) == "bad_argument" and "bad_config"
          or select(3, call({ [option] = wrong })), name .. ": " .. option)
      end
    end
  end)

  it("has the fields of results, and of messages", function()
    local js, bucket = handles.jetstream, handles.bucket
    assert(bucket:put("a", "1"))
    local cases = {
      { "acknowledgement", functions["jetstream:publish"], js:publish("s", "x") },
      { "entry", functions["bucket:entry"], bucket:entry("a") },
      { "entry", functions["bucket:entry"], handles.watch:next(5000) },
      { "entry", functions["bucket:entry"], bucket:history("a")[1] },
      { "bucket field", functions["bucket:status"], bucket:status() },
      { "stream field", page:section("Messages of a stream", "##"), handles.stream_message },
    }
    for _, case in ipairs(cases) do
      local fields = rows(case[2], case[1])
      assert.same(keys(case[3]), keys(fields))
      for name, row in pairs(fields) do
        local kind = math.type(case[3][name]) or type(case[3][name])
        assert.equal(row.type, kind == "userdata" and "handle" or kind, name)
      end
    end
    local found = assert(js:get_message("s", { sequence = 1 }))
    local said = functions["jetstream:get_message"]:match("%*%*Returns:%*%*(.-)\n2%.")
    for name in pairs(found) do assert(said:find("`" .. name .. "`", 1, true), name) end
  end)

  it("names what the server tells, as it tells it", function()
    local js = handles.jetstream
    for name, result in pairs({
      ["jetstream:account_info"] = js:account_info(), ["jetstream:stream_info"] = js:stream_info("s"),
      ["consumer:info"] = handles.consumer:info(),
    }) do
      local said = functions[name]:match("%*%*Returns:%*%*(.-)\n2%.")
      for word in said:gmatch("`([%l_]+)`") do
        assert(result[word] ~= nil or (result.state or {})[word] ~= nil or word == "domain" or word == "cluster",
          name .. " has no " .. word)
      end
    end
  end)

  it("has the defaults that a bucket is made with", function()
    local js = handles.jetstream
    local name = helpers.name()
    assert(js:create_bucket({ bucket = name }))
    local config = js:stream_info("KV_" .. name).config
    local documented = rows(functions["jetstream:create_bucket"], "option")
    for option, key in pairs({
      history = "max_msgs_per_subject", ttl_s = "max_age", storage = "storage", replicas = "num_replicas",
    }) do
      assert.equal(documented[option].default:gsub('[`"]', ""), tostring(config[key]), option)
    end
    assert.same({ -1, -1 }, { config.max_bytes, config.max_msg_size })
  end)
end)
