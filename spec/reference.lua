-- A page of docs/ as data: its sections and tables, for the specs that hold them against the module.
local helpers = require("helpers")

local Reference = {}
Reference.__index = Reference

-- The names in a table, in order.
function Reference.keys(map)
  local list = {}
  for key in pairs(map) do list[#list + 1] = key end
  table.sort(list)
  return list
end

-- What a call says it knows, when it is asked for what nobody knows, as a set.
function Reference.known(message)
  local names = {}
  for name in message:match("known are ([%w_, ]+)"):gmatch("[%w_]+") do names[name] = true end
  return names
end

-- A number as the pages write it: 1,000.
function Reference.number(text)
  return math.tointeger((text:gsub(",", "")))
end

function Reference.new(path)
  local text = assert(helpers.read(path), "run the specs with scripts/run-specs.sh")
  return setmetatable({ path = path, text = text }, Reference)
end

-- What is below a heading, up to the next one of that level or above.
function Reference:section(heading, level)
  local start = self.text:find("\n" .. level .. " " .. heading .. "\n", 1, true)
  assert(start, self.path .. " has no " .. heading)
  local body = self.text:sub(start + #level + #heading + 3)
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

-- The rows of all tables in a text whose first column has this name, as { name = { column = cell } }; names without
-- backticks.
function Reference.rows(text, column)
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

-- The codes of the page, as blocks of a language.
function Reference:blocks(language)
  return self.text:gmatch("```" .. language .. "\n(.-)```")
end

-- The module ----------------------------------------------------------------------------------------------------------

-- The pages that have functions.
local PAGES = { "docs/api.md", "docs/client.md", "docs/jetstream.md", "docs/async.md" }
local headings

-- What the pages say of each function, by its name, such as connection:close; and which page does.
function Reference.functions()
  local functions, page_of = {}, {}
  headings = {}
  for _, path in ipairs(PAGES) do
    local page = Reference.new(path)
    for heading in page.text:gmatch("\n### `([^\n]-)`\n") do
      local name = heading:match("^[%w_:.]+")
      assert(not functions[name], name .. " is there twice")
      functions[name], page_of[name] = page:section("`" .. heading .. "`", "###"), path
      headings[name] = heading
    end
  end
  return functions, page_of
end

-- The names of a function's parameters, as its heading has them.
function Reference.parameters(name)
  local list = {}
  for parameter in (headings[name]:match("%((.*)%)") or ""):gmatch("[^%s,]+") do list[#list + 1] = parameter end
  return list
end

-- One of each class that the module has, by the class' name, with a server that has JetStream.
function Reference.handles()
  local nats = require("rgw_nats")
  local server = helpers.server('jetstream { store_dir: "DIRECTORY" }')
  local connection = assert(nats.connect(server:url()))
  local subscription = assert(connection:subscribe("a"))
  assert(connection:flush(5000) and connection:publish("a", "x", { A = "b" }, "c"))
  local js = assert(connection:jetstream({ timeout_ms = 5000 }))
  assert(js:create_stream({ name = "s", subjects = { "s" } }))
  for _ = 1, 20 do assert(js:publish("s", "x", { headers = { A = "b" } })) end
  local consumer = assert(js:consumer("s", { durable_name = "d", ack_policy = "explicit" }))
  local bucket = assert(js:create_bucket({ bucket = "b" }))
  return {
    connection = connection, subscription = subscription, jetstream = js, consumer = consumer, bucket = bucket,
    watch = assert(bucket:watch()), poller = assert(nats.poller()), future = assert(js:publish_async("s")),
    message = assert(subscription:next(5000)), stream_message = assert(consumer:next(5000)),
  }
end

-- All functions and methods there are, by their names in the docs, as a set. Both kinds of messages are messages.
function Reference.registered()
  local nats, async = require("rgw_nats"), require("rgw_nats.async")
  local found = {}
  for name in pairs(nats) do found[name] = true end
  for name in pairs(async) do found["async." .. name] = true end
  for class, handle in pairs(Reference.handles()) do
    class = class:gsub("^stream_", "")
    for name in pairs(debug.getmetatable(handle).__index) do found[class .. ":" .. name] = true end
  end
  local task = async.run(function() return async.spawn(print) end)
  for name, method in pairs(debug.getmetatable(task).__index) do
    if type(method) == "function" then found["task:" .. name] = true end
  end
  return found
end

return Reference
