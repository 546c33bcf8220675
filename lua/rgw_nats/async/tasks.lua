-- The tasks of one call of run, and how they have their turns.
local nats = require("rgw_nats")
local check = require("rgw_nats.async.check")

local fail, is_future, is_task, raised, wrong_limit =
  check.fail, check.is_future, check.is_task, check.raised, check.wrong_limit
local create, resume, running, yield = coroutine.create, coroutine.resume, coroutine.running, coroutine.yield
local pack, unpack = table.pack, table.unpack

-- How long one look for futures that have ended takes at most, in milliseconds.
local LOOK = 60000
-- How many tasks one run has at a time.
local MAX_TASKS = 100000
-- How often a task that was cancelled goes on before it is given up.
local MAX_STRIKES = 1000

---A function that runs beside others, within `run`.
---@class rgw_nats.Task
---@field private thread thread
---@field private run rgw_nats.async.Run
---@field private results? table What it has come to, once it has ended.
---@field private parked? table Stands for what it waits for, if that is no future.
---@field private future? rgw_nats.Future What it waits for.
---@field private cancelled? boolean
---@field private has_begun? boolean
---@field private strikes integer How often it has gone on since it was cancelled.
---@field private waiters? function[]
local Task = {}
Task.__index = Task
Task.__name = "rgw_nats.task"
Task.__metatable = "rgw_nats.task"

---What goes on in one call of `run`.
---@class (exact) rgw_nats.async.Run
---@field poller rgw_nats.Poller
---@field ready table[] Tasks, each with why it goes on, from `head` to `tail`.
---@field head integer
---@field tail integer
---@field tasks table<thread, rgw_nats.Task> Those that have not ended.
---@field live integer How many these are.
---@field watched table<integer, rgw_nats.Task|function> What goes on when a future ends.
---@field count integer How many of these there are.
---@field own integer How many of these are of no task: the timer that ends the run.
---@field number integer The last number given to one.
---@field over boolean Whether its time is over.
---@field on_error? function

local tasks = {
  ---@type rgw_nats.async.Run?
  current = nil,
}

local function enqueue(run, task, reason)
  run.tail = run.tail + 1
  run.ready[run.tail] = { task, reason }
end

-- Has a task, or a function, go on when a future has ended; returns its number.
local function watch(run, future, what)
  run.number = run.number + 1
  local number = run.number
  local ok, message, code = run.poller:add(future, number)
  if not ok then return nil, message, code end
  run.watched[number], run.count = what, run.count + 1
  return number
end

local function unwatch(run, number)
  local what = run.watched[number]
  if what then run.watched[number], run.count = nil, run.count - 1 end
  return what
end

local function sleeping(ms)
  nats.yielding(true)
  return nats.sleep(ms)
end

-- Calls a function after some time; returns what ends the timer.
local function after(run, ms, call)
  local _, future = resume(create(sleeping), ms)
  local number = is_future(future) and watch(run, future, call)
  if not number then
    -- The time is over at once, or there is no memory for a timer.
    call()
    return function() end
  end
  return function()
    if unwatch(run, number) then future:cancel() end
  end
end

-- Has a task go on that waits for what `token` stands for.
local function wake(task, token, reason)
  if not token or task.parked ~= token then return end
  task.parked = nil
  enqueue(task.run, task, reason)
end

-- Holds the running task until it is woken, or until a time limit; returns why it goes on.
local function park(task, token, ms)
  task.parked = token
  local stop = ms and after(task.run, ms, function() wake(task, token, "timeout") end)
  if task.cancelled then wake(task, token, "cancelled") end
  local reason = yield(token)
  if stop then stop() end
  return reason
end

local function finish(task, ...)
  local run = task.run
  task.results = pack(...)
  task.future, task.parked = nil, nil
  run.tasks[task.thread], run.live = nil, run.live - 1
  local waiters = task.waiters
  task.waiters = nil
  for _, waiter in ipairs(waiters or {}) do waiter() end
  if not waiters and task.results[3] == "raised" and run.on_error then pcall(run.on_error, task.results[2]) end
end

-- Gives a task up that does not end. Lua 5.4 closes what it has to close.
local function abandon(task, code, text)
  if task.future then task.future:cancel() end
  if coroutine.close and coroutine.status(task.thread) == "suspended" then pcall(coroutine.close, task.thread) end
  finish(task, fail(code, text))
end

-- Takes up how a task has stopped: at its end, by an error, or to wait.
local function stopped(task, ok, ...)
  local value = ...
  if not ok then return finish(task, fail("raised", raised(value))) end
  if coroutine.status(task.thread) == "dead" then return finish(task, ...) end
  if task.parked and value == task.parked then return end
  if is_future(value) then
    -- One that can't be watched is waited for by the call that goes on.
    if not watch(task.run, value, task) then return enqueue(task.run, task) end
    task.future = value
    if task.cancelled then value:cancel() end
    return
  end
  -- A yield of the script's own: the others have their turn.
  enqueue(task.run, task)
end

local function step(task, reason)
  if task.results then return end
  task.future = nil
  if task.cancelled then
    if not task.has_begun then return abandon(task, "cancelled", "this task was cancelled") end
    task.strikes = task.strikes + 1
    if task.strikes > MAX_STRIKES then return abandon(task, "cancelled", "this task was cancelled, and did not end") end
  end
  task.has_begun = true
  stopped(task, resume(task.thread, reason))
end

-- Goes on until all tasks have ended.
local function go_on(run)
  while run.live > 0 do
    -- What these make ready has its turn after a look at the futures.
    for place = run.head, run.tail do
      local entry = run.ready[place]
      run.ready[place], run.head = nil, place + 1
      step(entry[1], entry[2])
    end
    local idle = run.head > run.tail
    if idle and run.live > 0 and run.count <= run.own then
      for _, task in pairs(run.tasks) do wake(task, task.parked, "deadlock") end
    elseif run.live > 0 then
      local ended, message = run.poller:wait(idle and LOOK or 0)
      if not ended then error(message, 0) end
      for _, number in ipairs(ended) do
        local what = unwatch(run, number)
        if type(what) == "function" then what() elseif what then enqueue(run, what) end
      end
    end
  end
end

local function body(fn, given)
  nats.yielding(true)
  return fn(unpack(given, 1, given.n))
end

local function start(run, fn, ...)
  if run.live >= MAX_TASKS then return fail("queue_full", ("this run has %d tasks"):format(MAX_TASKS)) end
  if run.over then return fail("timeout", "the time of this run is over") end
  local given = pack(...)
  local thread = create(function() return body(fn, given) end)
  local task = setmetatable({ thread = thread, run = run, strikes = 0 }, Task)
  run.tasks[thread], run.live = task, run.live + 1
  enqueue(run, task)
  return task
end

-- The running task, or why there is none.
local function own_task(what)
  local task = tasks.current and tasks.current.tasks[running()]
  if task then return task end
  local where = tasks.current and "in a coroutine that is no task" or "outside of run"
  return fail("bad_argument", what .. " is called " .. where)
end

local function waited(reason, ms)
  if reason == "timeout" then return fail("timeout", ("it has not ended within %s ms"):format(ms)) end
  if reason == "deadlock" then return fail("cancelled", "all tasks wait for one another") end
  return fail("cancelled", "this task was cancelled")
end

local function add_waiter(task, waiter)
  task.waiters = task.waiters or {}
  table.insert(task.waiters, waiter)
end

---Waits for the end of a task, and returns what its function returned; what it raised comes as `raised`.
---@param timeout_ms? number For how long; until its end, if that is not given.
---@return any ...
function Task:wait(timeout_ms)
  if not is_task(self) then return fail("bad_argument", "a task is wanted as first argument; write a colon") end
  local wrong = timeout_ms ~= nil and wrong_limit(timeout_ms)
  if wrong then return fail("bad_argument", wrong) end
  if not self.results then
    local waiting, message, code = own_task("wait")
    if not waiting then return nil, message, code end
    if waiting == self then return fail("bad_argument", "a task can't wait for itself") end
    local token = {}
    add_waiter(self, function() wake(waiting, token) end)
    local reason = park(waiting, token, timeout_ms)
    if not self.results then return waited(reason, timeout_ms) end
  end
  return unpack(self.results, 1, self.results.n)
end

---What a task has come to, without waiting.
---@return any ...
function Task:result()
  if not is_task(self) then return fail("bad_argument", "a task is wanted as first argument; write a colon") end
  if not self.results then return fail("timeout", "this task has not ended yet") end
  return unpack(self.results, 1, self.results.n)
end

---`true` if a task has ended; fails with `timeout` if it has not, as a future's `done` does.
---@return true? done, string? message, rgw_nats.Code? code
function Task:done()
  if not is_task(self) then return fail("bad_argument", "a task is wanted as first argument; write a colon") end
  if not self.results then return fail("timeout", "this task has not ended yet") end
  return true
end

---Cancels a task that has not ended: what it waits for, and each further call that would wait, fails with `cancelled`.
---@return true? ok, string? message, rgw_nats.Code? code
function Task:cancel()
  if not is_task(self) then return fail("bad_argument", "a task is wanted as first argument; write a colon") end
  if self.results or self.cancelled then return true end
  self.cancelled = true
  if self.future then
    self.future:cancel()
  elseif self.parked then
    wake(self, self.parked, "cancelled")
  end
  return true
end

for name, fn in pairs({
  watch = watch, unwatch = unwatch, after = after, wake = wake, park = park, go_on = go_on, start = start,
  own_task = own_task, waited = waited, add_waiter = add_waiter,
}) do tasks[name] = fn end

return tasks
