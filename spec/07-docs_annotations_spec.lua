-- What editors are told (LuaCATS, lua/rgw_nats/types.lua and beside it) against the reference and the module.
local helpers = require("helpers")
local Reference = require("reference")
local keys, rows = Reference.keys, Reference.rows
local functions = Reference.functions()
local configuration = Reference.new("docs/configuration.md")
local jetstream = Reference.new("docs/jetstream.md")

-- The annotations as the rock has installed them, and what begins the names of a table's functions in the docs.
local FILES = {
  "rgw_nats.types", "rgw_nats.types.configuration", "rgw_nats.types.jetstream", "rgw_nats.async",
  "rgw_nats.async.tasks",
}
local PLACES = {
  rgw_nats = "", Connection = "connection:", Subscription = "subscription:", Message = "message:", Future = "future:",
  Poller = "poller:", JetStream = "jetstream:", Consumer = "consumer:", StreamMessage = "message:", Bucket = "bucket:",
  Watch = "watch:", async = "async.", Task = "task:",
}

-- Each function's parameters as annotated and as written, and its results; each class' fields with their types.
local annotated, classes, aliases = {}, {}, {}
for _, module in ipairs(FILES) do
  local path = assert(package.searchpath(module, package.path))
  local params, returns, class, whole = {}, nil, nil, nil
  for line in io.lines(path) do
    local alias = line:match("^%-%-%-@alias ([%w_.]+)")
    local name, rest = line:match("^%-%-%-@param (%S+) ?(.*)$")
    local field, kind = line:match("^%-%-%-@field ([%w_]+%??) (%S+)")
    local owner, own, given = line:match("^function ([%w_]+)[.:]([%w_]+)%((.-)%)")
    if line:find("^%-%-%-@class") then
      class = line:match("^%-%-%-@class ([%w_.]+)") or line:match("^%-%-%-@class %(exact%) ([%w_.]+)")
      classes[class] = { base = line:match(": (.+)$") }
    elseif alias then
      class, aliases[alias] = alias, {}
    elseif line:find('^%-%-%-| "') then
      aliases[class][line:match('"(.-)"')] = true
    elseif field then
      classes[class][field:gsub("%?", "")] = { type = kind, optional = field:sub(-1) == "?" }
    elseif name then
      params[#params + 1] = { name = name:gsub("%?$", ""), optional = name:sub(-1) == "?", about = rest }
    elseif line:find("^%-%-%-@return ") then
      returns = line
    elseif line:find("^%-%-%-@overload fun%(") then
      -- What can be called in two ways has the longer one first.
      whole = whole or line:match("%((.*)%):")
    elseif line:find("^%-%-%-@type fun%(") then
      for parameter in line:match("%((.-)%)"):gmatch("([%w_]+)%??:") do params[#params + 1] = { name = parameter } end
      returns = line
    elseif line:find("^async%.sleep = ") then
      annotated["async.sleep"] = { params = params, returns = returns }
      params, returns = {}, nil
    elseif owner and PLACES[owner] then
      if whole then
        params = {}
        for parameter in (whole .. ","):gmatch("([%w_.]+)%??: [^,]*,") do params[#params + 1] = { name = parameter } end
        whole = nil
      end
      annotated[PLACES[owner] .. own] = { params = params, returns = returns, given = given, module = module }
      params, returns = {}, nil
    elseif line:find("^local ") or line:find("^function ") then
      params, returns = {}, nil
    end
  end
end

local function names(params)
  local list = {}
  for place, param in ipairs(params) do list[place] = param.name end
  return list
end

describe("the annotations", function()
  teardown(helpers.stop)

  it("have each function that is registered, and no other", function()
    local registered = Reference.registered()
    registered._VERSION, registered.null = nil, nil
    assert.same(keys(registered), keys(annotated))
    assert.same({ "_VERSION", "base", "null" }, keys((function()
      local own = classes.rgw_nats
      own.base = true
      return own
    end)()))
  end)

  it("have each function's parameters, with the names that the docs give them", function()
    for name, own in pairs(annotated) do
      assert.same(Reference.parameters(name), names(own.params), name)
      if own.module and own.module:find("types", 1, true) then
        assert.equal(table.concat(names(own.params), ", "), own.given, name)
      end
    end
  end)

  it("say which parameters can be left out, as the docs do", function()
    for name, own in pairs(annotated) do
      local listed = functions[name]:match("%*%*Parameters:%*%*\n(.-)\n\n%*%*Returns") or ""
      for place, param in ipairs(own.params) do
        local said = ("\n" .. listed):match("\n" .. place .. "%. `" .. param.name:gsub("%.", "%%.") .. "`:([^\n]*)")
        local free = said and (said:find("or nothing", 1, true) or said:find("if it is not given", 1, true)
          or said:find("can be left out", 1, true) or said:find("nothing is either", 1, true)) ~= nil
        if said and not said:find("^ as for") and param.optional ~= nil then
          assert.equal(free, param.optional, name .. ": " .. param.name)
        end
      end
    end
  end)

  it("have three results of each function that can fail", function()
    for name, own in pairs(annotated) do
      local whole = own.returns:find(", string%??[ %w]*, rgw_nats%.Code%??") or own.returns:find("any %.%.%.")
      assert(whole, name .. ": " .. own.returns)
    end
  end)

  it("name only classes that there are", function()
    for _, module in ipairs(FILES) do
      for line in io.lines(package.searchpath(module, package.path)) do
        for name in (line:match("^%-%-%-@(.*)$") or ""):gmatch("rgw_nats%.[%w.]*%u%w*") do
          assert(classes[name] or aliases[name], module .. " has no " .. name)
        end
      end
    end
  end)

  it("have each code, and each event", function()
    local wanted = { raised = true }
    for code in pairs(rows(Reference.new("docs/api.md"):section("Codes", "##"), "code")) do wanted[code] = true end
    assert.same(keys(wanted), keys(aliases["rgw_nats.Code"]))
    wanted = {}
    for event in pairs(rows(configuration.text, "event")) do
      wanted["s3:" .. event], wanted["s3:" .. event:gsub(":.*$", ":*")] = true, true
    end
    assert.same(keys(wanted), keys(aliases["rgw_nats.Event"]))
  end)

  it("have each option, key and field, with its type", function()
    local auth, tls = configuration:section("auth", "##"), configuration:section("tls", "##")
    local endpoint = configuration:section("Endpoint", "##")
    local cases = {
      Options = { endpoint, "option" }, Notification = { configuration:section("notification", "##"), "key" },
      Configuration = { endpoint, "key" }, Auth = { auth, "key" }, Tls = { tls, "key" },
      EnsureStream = { configuration:section("ensure_stream", "##"), "key" },
      Spool = { configuration:section("spool", "##"), "key" },
      Filter = { configuration:section("Filters", "###"), "filter" },
      FileState = { configuration:section("A file", "##"), "state" },
      AdmitOptions = { functions.admit, "option" }, Status = { functions.status, "field" },
      ConnectionStatus = { functions["connection:status"], "field" },
      RequestOptions = { functions["connection:request"], "option" },
      RequestManyOptions = { functions["connection:request_many"], "option" },
      SubscribeOptions = { functions["connection:subscribe"], "option" },
      ServerInfo = { functions["connection:server_info"], "information" },
      SubscriptionStatus = { functions["subscription:status"], "number" },
      Message = { Reference.new("docs/client.md"):section("Messages", "##"), "field" },
      JetStreamOptions = { functions["connection:jetstream"], "option" },
      JetStreamPublishOptions = { functions["jetstream:publish"], "option" },
      Acknowledgement = { functions["jetstream:publish"], "acknowledgement" },
      StreamNamesOptions = { functions["jetstream:stream_names"], "option" },
      PurgeStreamOptions = { functions["jetstream:purge_stream"], "option" },
      GetMessageOptions = { functions["jetstream:get_message"], "option" },
      OrderedConsumerOptions = { functions["jetstream:ordered_consumer"], "option" },
      FetchOptions = { functions["consumer:fetch"], "option" },
      StreamMessage = { jetstream:section("Messages of a stream", "##"), "stream field" },
      BucketConfiguration = { functions["jetstream:create_bucket"], "option" },
      Entry = { functions["bucket:entry"], "entry" }, WatchOptions = { functions["bucket:watch"], "option" },
      BucketStatus = { functions["bucket:status"], "bucket field" },
      ["async.Options"] = { functions["async.run"], "option" },
    }
    -- These are of the server, of RGW, have no table, or no fields.
    for _, name in ipairs({
      "StreamConfiguration", "StreamInfo", "ConsumerConfiguration", "Request", "KeptMessage", "DeadLetter",
      "AdmitStatus", "DeadLetterOptions",
      "Null", "async.Result", "async.Run", "Task", "Connection", "Subscription", "Future",
      "Poller", "JetStream", "Consumer", "Bucket", "Watch", "async",
    }) do
      assert(classes["rgw_nats." .. name], name)
      cases[name] = false
    end
    for class, fields in pairs(classes) do
      local name = class:gsub("^rgw_nats%.", "")
      local case = cases[name]
      assert(case ~= nil or class == "rgw_nats", class .. " is not in the docs")
      if case then
        local wanted = {}
        for key, row in pairs(rows(case[1], case[2])) do
          if row.type == "secret" then
            for _, form in ipairs({ "", "_file", "_env" }) do wanted[key .. form] = "string" end
          elseif not key:find("…", 1, true) then
            wanted[key] = row.type or row.is
          end
        end
        fields.base = nil
        assert.same(keys(wanted), keys(fields), class)
        for key, kind in pairs(wanted) do
          local own = fields[key].type
          if kind == "integer" or kind == "boolean" or kind == "number" then
            assert.equal(kind, own, class .. "." .. key)
          end
          if kind == "string" then assert(own == "string" or own:find('^"'), class .. "." .. key) end
        end
      end
    end
  end)

  it("are found by editors, and harm no script", function()
    local text = assert(helpers.read(package.searchpath("rgw_nats.types", package.path)))
    assert.matches("^%-%-%-@meta rgw_nats\n", text)
    for _, module in ipairs({ "rgw_nats.types.configuration", "rgw_nats.types.jetstream" }) do
      assert.matches("^%-%-%-@meta _\n", helpers.read(package.searchpath(module, package.path)))
    end
    local run = helpers.run([[
      require("rgw_nats.types") require("rgw_nats.types.configuration") require("rgw_nats.types.jetstream")
      local nats = require("rgw_nats")
      io.write(type(nats.connect("127.0.0.1:1")))
    ]])
    assert.same({ 0, "userdata" }, { run.status, run.out })
  end)
end)
