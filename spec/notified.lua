-- Notifications of one request, and what their connections count.
local helpers = require("helpers")
local nats = require("rgw_nats")

local notified = {}

-- A put, as a script is shown it.
notified.REQUEST = {
  RGWOp = "put_obj", Id = "z.1.2", Response = { HTTPStatusCode = 200 }, HTTP = { Method = "PUT" },
  Bucket = { Name = "photos" }, Object = { Name = "a.jpg" },
}

-- The state of the connection to a server that a configuration is for, found by its name.
function notified.state(configuration)
  for _, connection in ipairs(nats.status().connections) do
    if connection.name == configuration.name then return connection end
  end
end

function notified.notify(configuration) assert(nats.notify(notified.REQUEST, configuration)) end

-- Waits until a counter has a value, and checks that it is this one.
function notified.counts(configuration, counter, number)
  local what = ("%s to be %d"):format(counter, number)
  helpers.wait_until(function() return notified.state(configuration)[counter] >= number end, what)
  local found = notified.state(configuration)[counter]
  if found ~= number then error(("%s is %d, not %d"):format(counter, found, number), 2) end
end

return notified
