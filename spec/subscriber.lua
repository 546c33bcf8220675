-- A subscriber that speaks NATS' protocol by itself, over a plain socket: what it sees is what the server sends.
local json = require("dkjson")
local socket = require("socket")

local LIMIT = 10

local Subscriber = {}
Subscriber.__index = Subscriber

-- Connects and subscribes; what is published from now on comes. `user` and `password` are for a server that wants them.
function Subscriber.new(port, subject, user, password)
  local connection = assert(socket.connect("127.0.0.1", port))
  local subscriber = setmetatable({ socket = connection, subject = subject, buffer = "" }, Subscriber)
  assert(subscriber:line():match("^INFO "))
  local hello = { verbose = false, headers = true, name = "subscriber", user = user, pass = password }
  subscriber:send(("CONNECT %s\r\nSUB %s 1\r\nPING\r\n"):format(json.encode(hello), subject))
  assert(subscriber:line() == "PONG", "the server does not answer a subscriber")
  return subscriber
end

function Subscriber:close()
  self.socket:close()
end

function Subscriber:send(text)
  self.socket:settimeout(LIMIT)
  assert(self.socket:send(text))
end

-- Takes so many bytes, or a line without its end; nil if that much does not come before the deadline.
function Subscriber:take(deadline, size)
  while true do
    local line_end = not size and self.buffer:find("\r\n", 1, true)
    if line_end or (size and #self.buffer >= size) then
      local taken = self.buffer:sub(1, size or line_end - 1)
      self.buffer = self.buffer:sub(size and size + 1 or line_end + 2)
      return taken
    end
    local left = deadline - socket.gettime()
    if left <= 0 or #socket.select({ self.socket }, nil, left) == 0 then return nil end
    self.socket:settimeout(0)
    local data, problem, partial = self.socket:receive(1 << 20)
    if problem == "closed" and partial == "" then error("the server closed a subscriber's connection", 0) end
    self.buffer = self.buffer .. (data or partial)
  end
end

function Subscriber:line()
  return self:take(socket.gettime() + LIMIT)
end

-- "NATS/1.0\r\nName: value\r\n\r\n" as { Name = "value" }.
function Subscriber.parse_headers(text)
  local headers = {}
  if not text then return headers end
  assert(text:sub(1, 10) == "NATS/1.0\r\n", "no headers of NATS")
  for name, value in text:sub(11):gmatch("([^:\r\n]+): ?([^\r\n]*)\r\n") do
    assert(headers[name] == nil, "a header that is there twice")
    headers[name] = value
  end
  return headers
end

-- The next message: subject, headers, payload; nil if none comes in time.
function Subscriber:next(limit)
  local deadline = socket.gettime() + (limit or LIMIT)
  while true do
    local line = self:take(deadline)
    if not line then return nil end
    if line == "PING" then self:send("PONG\r\n") end
    if line:match("^%-ERR") then error("the server told a subscriber: " .. line, 0) end
    -- MSG subject sid [reply] size; HMSG has the size of the headers before that of the whole.
    local kind, subject, sizes = line:match("^(H?MSG) (%S+) 1 (.+)$")
    if kind then
      local head, size = 0, tonumber(sizes:match("(%d+)$"))
      if kind == "HMSG" then head = tonumber(sizes:match("(%d+) %d+$")) end
      local body = assert(self:take(socket.gettime() + LIMIT, size + 2), "half a message")
      local headers = Subscriber.parse_headers(head > 0 and body:sub(1, head) or nil)
      return { subject = subject, headers = headers, payload = body:sub(head + 1, -3) }
    end
  end
end

-- All messages up to the one whose payload is `last`, that one included. What one connection publishes comes in order,
-- so that nothing that was published before `last` can still be under way.
function Subscriber:messages(last)
  local messages = {}
  repeat
    local message = self:next()
    if not message then error(("waited in vain for %q after %d messages"):format(last, #messages), 2) end
    messages[#messages + 1] = message
  until message.payload == last
  return messages
end

-- Their payloads.
function Subscriber:payloads(last)
  local payloads = self:messages(last)
  for n, message in ipairs(payloads) do payloads[n] = message.payload end
  return payloads
end

return Subscriber
