-- Calls every function of the module with every kind of argument, and has each result judged.
-- PORT is where no broker is, STREAMS where one with JetStream is. WAY is how to call. Returns how much was done.

local unpack = table.unpack
local nats = require("rgw_nats")
local url = "nats://127.0.0.1:" .. PORT
-- A collection would run the finalizers of the kinds below, whose errors Lua 5.3 raises where it happens to be.
collectgarbage("stop")

local function handle() return assert(nats.connect(url)) end
local handle_metatable = debug.getmetatable(handle())

-- What there is only with a server, made anew for each connection: a bucket, a watch, a message, one of a stream.
local function served(connection)
  local js = assert(connection:jetstream({ timeout_ms = 10000 }))
  local bucket = assert(js:create_bucket({ bucket = "kinds", storage = "memory" }))
  assert(js:create_stream({ name = "kinds", subjects = { "kinds.>" }, storage = "memory" }))
  assert(js:publish("kinds.a", "x"))
  local consumer = assert(js:consumer("kinds", { ack_policy = "explicit", deliver_policy = "last" }))
  local subscription = assert(connection:subscribe("plain"))
  assert(connection:flush(10000) and connection:publish("plain", "x", nil, "reply"))
  return {
    bucket = bucket, watch = assert(bucket:watch()), consumer = consumer,
    message = assert(subscription:next(10000)), stream_message = assert(consumer:next(10000)),
  }
end
local broker = "nats://127.0.0.1:" .. STREAMS
local there, gone
do
  there = served(assert(nats.connect(broker)))
  local closed = assert(nats.connect(broker))
  gone = served(closed)
  closed:close()
end

-- One of each class.
local function jetstream() return assert(handle():jetstream({ timeout_ms = 1 })) end
local classes = {
  bucket = function() return there.bucket end,
  watch = function() return there.watch end,
  message = function() return there.message end,
  ["message of a stream"] = function() return there.stream_message end,
  subscription = function() return assert(handle():subscribe("a.>")) end,
  future = function() return assert(handle():request_async("a", "b", { timeout_ms = 0 })) end,
  poller = function() return assert(nats.poller()) end,
  jetstream = jetstream,
  consumer = function() return assert(jetstream():ordered_consumer("events")) end,
}

-- A function that may wait, called so that it does not: its coroutine yields the future, which is cancelled.
local function without_waiting(call)
  return function(...)
    local routine = coroutine.create(function(...)
      nats.yielding(true)
      return call(...)
    end)
    local results = table.pack(coroutine.resume(routine, ...))
    if results[1] and coroutine.status(routine) == "suspended" then
      assert(results[2]:cancel() ~= nil)
      results = table.pack(coroutine.resume(routine))
    end
    if not results[1] then error(results[2], 0) end
    return unpack(results, 2, results.n)
  end
end

-- The kinds ---------------------------------------------------------------------------------------------------------

local function constant(value) return function() return value end end

local function nested(depth)
  local outer = {}
  for _ = 1, depth do outer = { outer } end
  return outer
end

local function cyclic()
  local own = {}
  own.own, own[own] = own, own
  return own
end

local kinds = {
  { "nil", constant(nil) },
  { "true", constant(true) },
  { "false", constant(false) },
  { "0", constant(0) },
  { "-1", constant(-1) },
  { "the largest integer", constant(math.maxinteger) },
  { "the smallest integer", constant(math.mininteger) },
  { "1.5", constant(1.5) },
  { "1e300", constant(1e300) },
  { "NaN", constant(0 / 0) },
  { "inf", constant(math.huge) },
  { "-inf", constant(-math.huge) },
  { "empty string", constant("") },
  { "string", constant("text") },
  { "subject", constant("a.b") },
  { "url", constant(url) },
  { "string with NUL", constant("a\0b") },
  { "string that is no UTF-8", constant("\xff\xfe\xc0\x80") },
  { "string of line breaks", constant("\r\n\r\n") },
  { "string of directives", constant("%s%n%p{key}{") },
  { "empty table", function() return {} end },
  { "list", function() return { 1, "two", {}, true } end },
  { "configuration", function() return { url = url } end },
  { "table of odd keys", function()
    return { [true] = 1, [1.5] = 2, [print] = 3, [{}] = 4, ["\0"] = 5, [-1] = 6 }
  end },
  { "table nested 100 deep", function() return nested(100) end },
  { "cyclic table", cyclic },
  { "function", constant(print) },
  { "Lua function", function() return function() error("called") end end },
  { "coroutine", function() return coroutine.create(function() end) end },
  { "running coroutine", function() return (coroutine.running()) end },
  { "light userdata", function() return light_userdata() end },
  { "foreign userdata", constant(io.stdout) },
  { "handle", handle },
  { "closed handle", function()
    local closed = handle()
    closed:close()
    return closed
  end },
  { "collected handle", function()
    local collected = handle()
    handle_metatable.__gc(collected)
    return collected
  end },
  { "metatable of handles", constant(handle_metatable) },
  { "the module", constant(nats) },
  { "globals", constant(_G) },
  { "Request", constant(Request) },
  { "a table of Request", function() return Request.HTTP end },
  { "a map of Request", function() return Request.Tags end },
  { "table that calls itself Request", function()
    return setmetatable({}, { __name = "Request", __index = function() return {} end })
  end },
  { "table with a handle's metatable", function() return setmetatable({}, handle_metatable) end },
  { "table that is all tables", function()
    local all = {}
    return setmetatable(all, { __index = function() return all end, __pairs = function() return next, all, nil end })
  end },
}

local raising = {
  ["a string"] = function() error("raised") end,
  ["a string that is no UTF-8"] = function() error("\xff\0", 0) end,
  ["a table"] = function() error({}) end,
  ["nil"] = function() error(nil) end,
  ["a handle"] = function() error(handle()) end,
  ["yield"] = function() coroutine.yield("yielded") end,
}
-- Two ways to be the wrong receiver: of another class, and of a connection that was closed.
for _, class in ipairs({ "bucket", "watch", "consumer", "message", "stream_message" }) do
  kinds[#kinds + 1] = { class, function() return there[class] end, rare = true }
  kinds[#kinds + 1] = { class .. " of a closed connection", function() return gone[class] end, rare = true }
end
for way, raise in pairs(raising) do
  -- Two ways are enough where every kind meets every other.
  local rare = way ~= "a table" and way ~= "yield"
  for _, event in ipairs({ "__index", "__pairs", "__len", "__tostring", "__gc", "__eq", "__lt", "__call", "__name" }) do
    local name = event .. " raises " .. way
    kinds[#kinds + 1] = { name, function() return setmetatable({}, { [event] = raise }) end, rare = rare }
  end
  -- One that gives all that is asked for, until a map is walked.
  kinds[#kinds + 1] = { "a request whose maps raise " .. way, function()
    local fields = { RGWOp = "put_obj", Response = { HTTPStatusCode = 200 }, Object = { Name = "key" } }
    fields.HTTP = { Metadata = setmetatable({}, { __pairs = raise }) }
    fields.Tags = setmetatable({}, { __pairs = function() return raise end })
    return fields
  end }
  kinds[#kinds + 1] = { "a request whose keys raise " .. way, function()
    local key = setmetatable({}, { __tostring = raise, __index = raise })
    local walk = { __pairs = function() return function(_, last) if not last then return key, "value" end end end }
    return {
      RGWOp = "put_obj",
      Response = { HTTPStatusCode = 200 },
      Object = { Name = "key" },
      HTTP = { Metadata = setmetatable({}, walk) },
    }
  end }
end

local long = ("x"):rep(1024 * 1024)
local million = {}
for n = 1, 1000000 do million[n] = n end
local heavy = {
  { "1 MiB string", constant(long) },
  { "table with a million entries", constant(million) },
  { "table of 1 MiB strings", constant({ [long] = long, url = long, name = long }) },
}

-- The functions -----------------------------------------------------------------------------------------------------

local functions = {}
local seen = {}
local maker
local function walk(place, value)
  if type(value) == "function" then
    -- These never wait; the coroutine of one that does must not be another than its caller's.
    local plain = place == "nats.yielding" or place:find("%.__gc$")
    functions[#functions + 1] = { place, plain and value or without_waiting(value), maker }
  elseif type(value) == "table" and not seen[value] then
    seen[value] = true
    for key, inner in pairs(value) do walk(place .. "." .. tostring(key), inner) end
    walk(place .. "'s metatable", debug.getmetatable(value))
  end
end
walk("nats", nats)
walk("handle", handle_metatable)
for class, make in pairs(classes) do
  maker = make
  walk(class, debug.getmetatable(make()))
end
-- Fewer would say that the walk fails to find what there is.
assert(#functions >= 96, "only " .. #functions .. " functions were found")

-- The calls ---------------------------------------------------------------------------------------------------------

local function by_pcall(what, call, count, arguments)
  local results = table.pack(pcall(call, unpack(arguments, 1, count)))
  if not results[1] then
    judge(what .. " raised " .. tostring(results[2]), false)
  else
    judge(what, unpack(results, 2, results.n))
  end
end
local ways = {
  ["directly"] = function(what, call, count, arguments) judge(what, call(unpack(arguments, 1, count))) end,
  ["by pcall"] = by_pcall,
  ["in a coroutine"] = function(what, call, count, arguments)
    -- A yield that came through would end the first resume with what is no result of ours.
    coroutine.wrap(function() judge(what, call(unpack(arguments, 1, count))) end)()
  end,
  -- There an error goes nowhere, so it has to be caught to be seen.
  ["at close"] = by_pcall,
}
local try = assert(ways[WAY], WAY)

-- Arguments that are well, so that what is bad in one place is met wherever a function looks.
local bases = {
  function() return {} end,
  function() return { handle() } end,
  function() return { handle(), "a.b", "payload", { name = "value" } } end,
  function() return { url, { name = "kinds" } } end,
  function() return { Request, { url = url } } end,
}

-- Lua 5.3.6 can loop for ever in a collection that a finalizer asks for at close, with no module of ours around.
local function collect()
  if WAY ~= "at close" then pcall(collectgarbage) end
end

local function every()
  for _, entry in ipairs(functions) do
    local name, call = entry[1], entry[2]
    try(name .. "()", call, 0, {})
    for _, kind in ipairs(kinds) do
      local many = {}
      for n = 1, 250 do many[n] = kind[2]() end
      try(name .. " with 250 times " .. kind[1], call, 250, many)
    end
    for place = 1, 4 do
      -- What only one class has is met with one of it.
      local own = entry[3] and { function() return { entry[3](), "name", {} } end }
      for base, arguments in ipairs(own or bases) do
        for _, list in ipairs({ kinds, heavy }) do
          for _, kind in ipairs(list) do
            local given = arguments()
            given[place] = kind[2]()
            local what = ("%s with %s as argument %d, the others as in %d"):format(name, kind[1], place, base)
            try(what, call, math.max(place, #given), given)
            try(what .. ", and up to there", call, place, given)
          end
        end
      end
    end
    collect()
  end
end

-- Every pair of kinds in every two places.
local function pairs_of_kinds()
  local frequent = {}
  for _, kind in ipairs(kinds) do
    if not kind.rare then frequent[#frequent + 1] = kind end
  end
  for _, entry in ipairs(functions) do
    local name, call = entry[1], entry[2]
    for first = 1, entry[3] and 0 or 4 do
      for second = first + 1, 4 do
        for _, one in ipairs(frequent) do
          for _, other in ipairs(frequent) do
            local given = { handle() }
            given[first], given[second] = one[2](), other[2]()
            try(name .. " with " .. one[1] .. " and " .. other[1], call, 4, given)
          end
        end
      end
      collect()
    end
  end
end

if WAY == "at close" then
  -- Made first, so that it is finalized last: by then all handles here are gone too.
  local late = nil
  setmetatable({}, { __gc = function() judge("late", late:status()) every() end })
  late = handle()
  AT_CLOSE = setmetatable({}, { __gc = every })
else
  every()
end
if WAY == "by pcall" then pairs_of_kinds() end
return #functions .. " functions, " .. #kinds + #heavy .. " kinds"
