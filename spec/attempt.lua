-- What becomes of a connection: it delivers, or it does not come to be.
local helpers = require("helpers")

local attempt = {}

-- Waits until a condition on the status of a connection holds, and returns that status.
function attempt.wait(connection, condition, what)
  local status
  local held = pcall(helpers.wait_until, function()
    status = connection:status()
    return condition(status)
  end, what)
  if not held then error(("waited in vain for %s; last_error is %q"):format(what, status.last_error), 3) end
  return status
end

-- Publishes a message over a connection, waits until it is delivered, and returns the status.
function attempt.succeeds(connection)
  local before = connection:status().delivered
  assert(connection:publish("spec", "payload"))
  return attempt.wait(connection, function(status) return status.delivered > before end, "the delivery")
end

-- Waits until a connection that has never been up tells of this trouble, and returns its status.
function attempt.fails(connection, trouble)
  local function told(status) return status.last_error:find(trouble, 1, true) end
  local status = attempt.wait(connection, told, ("%q"):format(trouble))
  assert(not status.connected and status.connects == 0 and status.delivered == 0, "it is connected all the same")
  return status
end

return attempt
