-- What the parts of rgw_nats.async have in common: failures, and what an argument may be.

-- The longest time limit that rgw_nats knows, in milliseconds.
local MAX_WAIT = 3600000

local check = {}

function check.fail(code, text)
  return nil, code .. ": " .. text, code
end

function check.is_future(value)
  return type(value) == "userdata" and getmetatable(value) == "rgw_nats.future"
end

function check.is_task(value)
  return type(value) == "table" and getmetatable(value) == "rgw_nats.task"
end

-- What is wrong with a time limit, if something is.
function check.wrong_limit(ms)
  if type(ms) == "number" and ms >= 0 and ms <= MAX_WAIT then return nil end
  return ("a time limit is a number of milliseconds from 0 to %d"):format(MAX_WAIT)
end

-- An error as text: what is no string could have a metamethod that raises.
function check.raised(problem)
  if type(problem) == "number" then problem = tostring(problem) end
  return type(problem) == "string" and problem or "an error that is no string, but a " .. type(problem)
end

return check
