-- Tasks: one script with many requests in the air. A call of rgw_nats that would wait lets other tasks go on instead.
-- docs/async.md tells more. Nothing here raises, but what Lua itself raises when it has no memory: a string.
local nats = require("rgw_nats")
local check = require("rgw_nats.async.check")
local tasks = require("rgw_nats.async.tasks")

local fail, is_future, is_task, raised, wrong_limit =
  check.fail, check.is_future, check.is_task, check.raised, check.wrong_limit
local pack, unpack = table.pack, table.unpack

-- How long run goes on where nothing else is said, in milliseconds.
local LIMIT = 60000

---@class rgw_nats.async
local async = {}

---How `run` goes on.
---@class (exact) rgw_nats.async.Options
---@field timeout_ms? number After how many milliseconds all tasks are cancelled; 60,000, if it is not given.
---@field on_error? fun(message: string) Is told of each error that a task has raised and nobody waits for.

---What one item of `gather` has come to: its results from 1 to `n`, and whether it is a success.
---@class rgw_nats.async.Result
---@field ok boolean
---@field n integer
---@field message? string
---@field code? rgw_nats.Code
---@field [integer] any

---Starts a function as a task, within `run`. It begins when the running task waits or ends.
---@param fn function
---@param ... any What it gets.
---@return rgw_nats.Task? task, string? message, rgw_nats.Code? code
function async.spawn(fn, ...)
  if type(fn) ~= "function" then return fail("bad_argument", "spawn wants a function, got " .. type(fn)) end
  if not tasks.current then return fail("bad_argument", "spawn is called outside of run") end
  return tasks.start(tasks.current, fn, ...)
end

local function options(given)
  local limit, on_error = LIMIT, nil
  for key, value in next, given do
    if key == "timeout_ms" then
      local wrong = value ~= math.huge and wrong_limit(value)
      if wrong then return nil, "timeout_ms: " .. wrong .. ", or math.huge" end
      limit = value
    elseif key == "on_error" then
      if type(value) ~= "function" then return nil, "on_error must be a function, got " .. type(value) end
      on_error = value
    else
      return nil, ("run has no option %s; known are timeout_ms, on_error"):format(raised(key))
    end
  end
  return limit, on_error
end

-- Ends what an error has left.
local function clear(run)
  for _, task in pairs(run.tasks) do
    if task.future then task.future:cancel() end
    task.results = pack(fail("cancelled", "the run of this task has ended by an error"))
  end
end

---Runs a function as a task, and all tasks that it spawns, until all have ended; returns what the function returned.
---@overload fun(options: rgw_nats.async.Options, fn: function, ...: any): ...
---@overload fun(fn: function, ...: any): ...
---@param ... any The options, the function, and what it gets.
---@return any ...
function async.run(...)
  local given = pack(...)
  local first = type(given[1]) == "table" and 2 or 1
  local fn = given[first]
  if type(fn) ~= "function" then return fail("bad_argument", "run wants a function, got " .. type(fn)) end
  local limit, on_error = options(first == 2 and given[1] or {})
  if not limit then return fail("bad_config", on_error) end
  if tasks.current then return fail("bad_argument", "run is called within run; take spawn, gather or timeout") end
  local poller, message, code = nats.poller()
  if not poller then return nil, message, code end
  local run = {
    poller = poller, ready = {}, head = 1, tail = 0, tasks = {}, live = 0, watched = {}, count = 0, number = 0,
    own = 0, over = false, on_error = on_error,
  }
  local main = tasks.start(run, fn, unpack(given, first + 1, given.n))
  tasks.add_waiter(main, function() end)
  tasks.current = run
  local is_late = false
  if limit ~= math.huge then run.own = 1 end
  local stop = limit ~= math.huge and tasks.after(run, limit, function()
    run.own, run.over, is_late = 0, true, not main.results
    for _, task in pairs(run.tasks) do task:cancel() end
  end)
  local ok, problem = pcall(tasks.go_on, run)
  tasks.current = nil
  if stop then stop() end
  if not ok then
    clear(run)
    return fail("raised", raised(problem))
  end
  if is_late then return fail("timeout", ("it has not ended within %s ms"):format(limit)) end
  return unpack(main.results, 1, main.results.n)
end

---Lets other tasks go on for some time; outside of `run`, waits.
---@type fun(milliseconds: number): true?, string?, rgw_nats.Code?
async.sleep = nats.sleep

-- Results with what tells success from failure.
local function entry(...)
  local result = pack(...)
  result.ok = not (result[1] == nil and type(result[3]) == "string")
  if not result.ok then result.message, result.code = result[2], result[3] end
  return result
end

---Waits for all of a list of functions, tasks and futures, and returns what each has come to, in the same order.
---@param list (function|rgw_nats.Task|rgw_nats.Future)[]
---@param timeout_ms? number For how long, in milliseconds.
---@return rgw_nats.async.Result[]? results, string? message, rgw_nats.Code? code
function async.gather(list, timeout_ms)
  if type(list) ~= "table" or is_task(list) then
    return fail("bad_argument", "gather wants a list, got " .. (is_task(list) and "a task" or type(list)))
  end
  local wrong = timeout_ms ~= nil and wrong_limit(timeout_ms)
  if wrong then return fail("bad_argument", wrong) end
  local total = rawlen(list)
  for place = 1, total do
    local item = rawget(list, place)
    if type(item) ~= "function" and not is_task(item) and not is_future(item) then
      local text = "gather wants functions, tasks and futures, got a %s at %d"
      return fail("bad_argument", text:format(type(item), place))
    end
  end
  if not tasks.current then
    return async.run({ timeout_ms = timeout_ms and math.huge or LIMIT }, async.gather, list, timeout_ms)
  end
  local waiting, message, code = tasks.own_task("gather")
  if not waiting then return nil, message, code end
  local results, left, token, started, numbers = {}, total, {}, {}, {}
  local is_over = false
  local function ended(place, ...)
    if is_over then return end
    results[place], left = entry(...), left - 1
    if left == 0 then tasks.wake(waiting, token) end
  end
  for place = 1, total do
    local item, task, problem = rawget(list, place), nil, nil
    if type(item) == "function" then
      task, message, problem = tasks.start(waiting.run, item)
      started[#started + 1] = task
    elseif is_task(item) then
      task = item
    elseif item:done() then
      ended(place, item:result())
    else
      local number
      number, message, problem = tasks.watch(waiting.run, item, function() ended(place, item:result()) end)
      numbers[#numbers + 1] = number
    end
    if problem then
      ended(place, nil, message, problem)
    elseif task == waiting then
      ended(place, fail("bad_argument", "a task can't wait for itself"))
    elseif task and task.results then
      ended(place, unpack(task.results, 1, task.results.n))
    elseif task then
      tasks.add_waiter(task, function() ended(place, unpack(task.results, 1, task.results.n)) end)
    end
  end
  local reason = left > 0 and tasks.park(waiting, token, timeout_ms) or nil
  is_over = true
  if not reason then return results end
  -- The caller's own tasks and futures go on.
  for _, number in ipairs(numbers) do tasks.unwatch(waiting.run, number) end
  for _, task in ipairs(started) do task:cancel() end
  if reason ~= "timeout" then return tasks.waited(reason) end
  for place = 1, total do results[place] = results[place] or entry(tasks.waited(reason, timeout_ms)) end
  return results
end

---Runs a function as a task for some time; cancels it if it has not ended by then.
---@param timeout_ms number For how long, in milliseconds.
---@param fn function
---@param ... any What it gets.
---@return any ...
function async.timeout(timeout_ms, fn, ...)
  local wrong = wrong_limit(timeout_ms)
  if wrong then return fail("bad_argument", wrong) end
  if type(fn) ~= "function" then return fail("bad_argument", "timeout wants a function, got " .. type(fn)) end
  if not tasks.current then return async.run({ timeout_ms = timeout_ms }, fn, ...) end
  local waiting, message, code = tasks.own_task("timeout")
  if not waiting then return nil, message, code end
  local task
  task, message, code = tasks.start(tasks.current, fn, ...)
  if not task then return nil, message, code end
  local results = pack(task:wait(timeout_ms))
  task:cancel()
  return unpack(results, 1, results.n)
end

-- Without run ---------------------------------------------------------------------------------------------------------

-- What waits for poll: futures with functions, by numbers.
local poller, last, awaited = nil, 0, {}

---Has `poll` call a function with what a future has come to, once it has ended.
---@param future rgw_nats.Future
---@param fn fun(...)
---@return true? ok, string? message, rgw_nats.Code? code
function async.on_ready(future, fn)
  if not is_future(future) then return fail("bad_argument", "on_ready wants a future, got " .. type(future)) end
  if type(fn) ~= "function" then return fail("bad_argument", "on_ready wants a function, got " .. type(fn)) end
  local message, code
  if not poller then
    poller, message, code = nats.poller()
    if not poller then return nil, message, code end
  end
  local ok
  ok, message, code = poller:add(future, last + 1)
  if not ok then return nil, message, code end
  last = last + 1
  awaited[last] = { future, fn }
  return true
end

---Calls the functions of `on_ready` whose futures have ended; waits for the first one, if there is none yet.
---@param timeout_ms? number For how long; 0, if that is not given.
---@return boolean? more, string? message, rgw_nats.Code? code Whether some have not ended.
function async.poll(timeout_ms)
  timeout_ms = timeout_ms == nil and 0 or timeout_ms
  local wrong = wrong_limit(timeout_ms)
  if wrong then return fail("bad_argument", wrong) end
  if not poller then return false end
  local ended, message, code = poller:wait(timeout_ms)
  if not ended then return nil, message, code end
  local problem
  for _, number in ipairs(ended) do
    local future, fn = unpack(awaited[number])
    awaited[number] = nil
    local ok, what = pcall(fn, future:result())
    if not ok then problem = problem or raised(what) end
  end
  if problem then return fail("raised", problem) end
  return next(awaited) ~= nil
end

return async
