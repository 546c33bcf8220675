-- A worker for the events that nats_notify.lua publishes: a program for a plain Lua 5.3 or 5.4, outside of RGW.
--
--   lua5.3 nats_worker.lua URL DIRECTORY [once]
--
-- For each event it writes a line to DIRECTORY/<bucket>/events.log; put your own work in its place. With `once` it ends
-- when there is nothing left to do. nats_worker.md tells what becomes of events that fail.
local nats = require("rgw_nats")

local URL, DIRECTORY, MODE = arg[1] or "nats://127.0.0.1:4222", arg[2] or ".", arg[3]
local STREAM, SUBJECTS, WORKERS = "s3events", { "s3.>" }, "workers"
-- Where it is told of events that were given up.
local GIVEN_UP = "given_up.s3"
local ATTEMPTS = 5
-- How long an event may take until another worker gets it: in_progress begins that time anew.
local ACK_WAIT_S = 30
local BATCH = 100
local SECOND = 1000000000 -- the server's unit

-- The work: true, or nil and what is wrong. An event can come twice, so that to do it twice must do no harm.
local function work(record)
  local object = record.s3.object
  local file, wrong = io.open(("%s/%s/events.log"):format(DIRECTORY, record.s3.bucket.name), "a")
  if not file then return nil, wrong end
  local ok
  ok, wrong = file:write(("%s %s %d\n"):format(record.eventName, object.key, object.size))
  return file:close() and ok, wrong
end

local function log(...) io.stderr:write("nats_worker: ", table.concat({ ... }, " "), "\n") end

-- How long to wait before the next attempt, in milliseconds: 1 s, 2 s, 4 s, …
local function delay(attempts) return math.min(1000 * 2 ^ (attempts - 1), 60000) end

local function give_up(connection, message, why)
  log("gave up", message.subject, tostring(message.sequence) .. ":", why)
  -- Told first: what is told twice is better than what is not told.
  assert(connection:publish(GIVEN_UP, message.payload, { ["Given-Up-Because"] = (why:gsub("%c", " ")) }))
  assert(connection:flush(5000))
  assert(message:term(why))
end

local function handle(connection, message)
  local event, wrong = nats.decode(message.payload)
  local record = type(event) == "table" and type(event.Records) == "table" and event.Records[1]
  -- It will be no better the next time.
  if not record then return give_up(connection, message, wrong or "no record") end
  -- An error of the work is a failure of this event, and not of the worker.
  local fine, done, why = pcall(work, record)
  if fine and done then return assert(message:ack()) end
  why = tostring(fine and why or done)
  if message.delivered >= ATTEMPTS then return give_up(connection, message, why) end
  log("attempt", tostring(message.delivered), "at", message.subject, "failed:", why)
  assert(message:nak(delay(message.delivered)))
end

local connection = assert(nats.connect(URL, { name = "nats_worker" }))
local js = assert(connection:jetstream({ timeout_ms = 10000 }))
-- A stream that is there already, with whatever configuration, is fine.
local info, _, code = js:stream_info(STREAM)
if code == "not_found" then info = assert(js:create_stream({ name = STREAM, subjects = SUBJECTS })) end
assert(info, "no stream")
-- Each worker that is started shares this one; what one of them does not acknowledge goes to another.
local workers = assert(js:consumer(STREAM, {
  durable_name = WORKERS, ack_policy = "explicit", ack_wait = ACK_WAIT_S * SECOND, max_ack_pending = 1000,
}))

while true do
  local messages, text, failure = workers:fetch(BATCH, { timeout_ms = 5000, no_wait = MODE == "once" })
  if messages then
    local touched = os.time()
    for place, message in ipairs(messages) do
      handle(connection, message)
      -- The others of the batch wait here, while their time runs.
      if os.time() - touched >= ACK_WAIT_S / 3 then
        for later = place + 1, #messages do assert(messages[later]:in_progress()) end
        touched = os.time()
      end
    end
    if MODE == "once" and #messages == 0 then
      local left = assert(workers:info())
      if left.num_pending + left.num_ack_pending == 0 then break end
      nats.sleep(100)
    end
  elseif failure == "disconnected" or failure == "timeout" then
    -- The connection is made anew by itself.
    log(text)
    nats.sleep(500)
  else
    error(text)
  end
end
assert(connection:drain(5000))
