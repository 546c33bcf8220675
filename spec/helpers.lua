-- What the specs share: a real nats-server, waiting for conditions with a deadline, and Lua programs of their own.
-- Nothing in here uses the module under test.
local json = require("dkjson")
local mime = require("mime")
local socket = require("socket")
local http = require("socket.http")
local Subscriber = require("subscriber")

http.TIMEOUT = 5

local helpers = {}

-- Where servers keep their files. scripts/run-specs.sh gives the directory and ends what is left in it.
local directory = assert(os.getenv("RGW_NATS_SPEC_DIR"), "run the specs with scripts/run-specs.sh")
local NATS_SERVER = os.getenv("NATS_SERVER") or "/usr/sbin/nats-server"
local CACHE = os.getenv("RGW_NATS_CACHE") or "/var/cache/rgw_nats"
local LUA = assert(os.getenv("RGW_NATS_LUA"))
local LIMIT = 10

local count = 0
local random = assert(io.open("/dev/urandom", "rb"))
math.randomseed((string.unpack("<I4", random:read(4))))
random:close()

-- A name that no other spec has.
function helpers.name()
  count = count + 1
  return ("spec-%08x-%d"):format(math.random(0, 0x7fffffff), count)
end

function helpers.read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("a")
  file:close()
  return text
end

function helpers.write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

-- A new directory for files.
function helpers.directory()
  local path = directory .. "/" .. helpers.name()
  assert(os.execute("mkdir -p " .. path))
  return path
end

-- Waits until the condition holds, and returns what it returned. `what` says what was waited for.
function helpers.wait_until(condition, what, limit)
  local deadline = socket.gettime() + (limit or LIMIT)
  while true do
    local result = condition()
    if result then return result end
    if socket.gettime() > deadline then error("waited in vain: " .. what, 2) end
    socket.sleep(0.01)
  end
end

-- A listener of 127.0.0.1 that says nothing, and its port. The port is below those that the system gives out, so that
-- clients of other tests, who look for a server that is away, do not come here.
function helpers.listener()
  while true do
    local port = math.random(10240, 32000)
    local listener = socket.bind("127.0.0.1", port)
    if listener then return listener, port end
  end
end

-- A port of 127.0.0.1 that nobody listens on.
function helpers.port()
  local listener, port = helpers.listener()
  listener:close()
  return port
end

-- The server ----------------------------------------------------------------------------------------------------------

local Server = {}
Server.__index = Server
local servers = {}

-- A nats-server of this version or a newer one: the one of the specs, or one of the root file systems that e2e/setup.sh
-- makes; nil if there is none. `before` is a minor version that is too new.
function helpers.nats_server(major, minor, before)
  local programs = { NATS_SERVER }
  local listed = io.popen("ls -d " .. CACHE .. "/rootfs/*/usr/sbin/nats-server 2> /dev/null")
  for program in listed:lines() do programs[#programs + 1] = program end
  listed:close()
  for _, program in ipairs(programs) do
    local asked = io.popen(program .. " --version 2>&1")
    local first, second = asked:read("a"):match("v(%d+)%.(%d+)")
    asked:close()
    local version = first and tonumber(first) * 1000 + tonumber(second)
    local is_new = version and version >= major * 1000 + minor
    if is_new and (not before or version < major * 1000 + before) then return program end
  end
end

-- What makes a server one with JetStream.
helpers.STORE = 'jetstream { store_dir: "DIRECTORY" }\n'

-- Starts a nats-server with these lines of configuration besides its ports; DIRECTORY in them is one of its own.
-- `program` is another one than that of the specs.
function helpers.server(configuration, program)
  local server = setmetatable({ name = helpers.name(), subscribers = {}, program = program or NATS_SERVER }, Server)
  server.directory = helpers.directory()
  server.configuration = (configuration or ""):gsub("DIRECTORY", server.directory)
  servers[#servers + 1] = server
  for _ = 1, 5 do
    server.port, server.monitoring = helpers.port(), helpers.port()
    -- Another program may have taken a port in between.
    if server:try() then return server end
  end
  error("no nats-server: " .. server:log())
end

-- Ends all servers and subscribers; for `teardown` and `after_each`, which busted runs after a failed spec too.
function helpers.stop()
  for _, server in ipairs(servers) do
    for _, subscriber in ipairs(server.subscribers) do subscriber:close() end
    server:stop()
  end
  servers = {}
end

-- Starts the server again, on the same ports.
function Server:start()
  -- A killed process lets its ports go when the last of its threads has ended, a moment after it counts as gone.
  local limit = socket.gettime() + LIMIT
  while not self:try() do
    if socket.gettime() > limit or not self:log():find("address already in use", 1, true) then
      error("no nats-server again: " .. self:log(), 2)
    end
    socket.sleep(0.05)
  end
end

function Server:log()
  return helpers.read(self.directory .. "/nats.log") or NATS_SERVER .. " does not start"
end

-- Writes the server's configuration.
function Server:configure()
  helpers.write(self.directory .. "/nats.conf", ([[
    server_name: %q, host: "127.0.0.1", port: %d, http: "127.0.0.1:%d", log_file: "%s/nats.log"
    %s
  ]]):format(self.name, self.port, self.monitoring, self.directory, self.configuration))
end

-- Has the running server take over another configuration; it ends the connections that this one does not allow.
function Server:reload(configuration)
  self.configuration = configuration
  self:configure()
  self:signal("HUP")
end

-- Starts the server; returns whether it is up.
function Server:try()
  local file = self.directory .. "/nats"
  self:configure()
  -- The shell is through when the file is whole; a pid_file of the server's own could be read while it is written.
  os.execute(("%s -c %s.conf >> %s.log 2>&1 & echo $! > %s.pid"):format(self.program, file, file, file))
  self.pid = assert(helpers.read(file .. ".pid"):match("^(%d+)\n$"))
  return helpers.wait_until(function()
    if not self:state() then return "ended" end
    local probe = socket.connect("127.0.0.1", self.port)
    if not probe then return false end
    probe:settimeout(1)
    -- A server that wants TLS first says nothing.
    local first = self.configuration:find("handshake_first", 1, true)
    local info = first and self.name or probe:receive("*l") or ""
    probe:close()
    return info:find(self.name, 1, true) and (self:monitor("varz") or {}).server_name == self.name and "up"
  end, "a nats-server that answers") == "up"
end

-- The state of the server's process, such as "S" or "T"; nil if it has ended.
function Server:state()
  local stat = self.pid and helpers.read("/proc/" .. self.pid .. "/stat") or ""
  -- It is a shell until the shell has become the server. A zombie has ended.
  local name, state = stat:match("%((.-)%) (%a)")
  local ours = name == "nats-server" or name == "sh" or name == "dash"
  return ours and state ~= "Z" and state or nil
end

function Server:signal(signal)
  if self:state() then os.execute(("kill -%s %s"):format(signal, self.pid)) end
end

-- Ends the server at once.
function Server:stop()
  self:signal("KILL")
  helpers.wait_until(function() return not self:state() end, "the end of a nats-server")
end

-- Keeps the server from running, with all its connections up.
function Server:pause()
  self:signal("STOP")
  helpers.wait_until(function() return self:state() == "T" end, "a nats-server that stands still")
end

-- Lets it go on.
function Server:resume()
  self:signal("CONT")
end

function Server:url(user)
  return ("nats://%s127.0.0.1:%d"):format(user and user .. "@" or "", self.port)
end

function Server:subscribe(...)
  local subscriber = Subscriber.new(self.port, ...)
  table.insert(self.subscribers, subscriber)
  return subscriber
end

-- What the monitoring port tells, as a table; nil if it does not answer.
function Server:monitor(what)
  local text, status = http.request(("http://127.0.0.1:%d/%s"):format(self.monitoring, what))
  return text and status == 200 and json.decode(text) or nil
end

-- The open connections of this name, with who they are.
function Server:connections(name)
  local found = {}
  for _, connection in ipairs((self:monitor("connz?auth=1") or {}).connections or {}) do
    if connection.name == name then found[#found + 1] = connection end
  end
  return found
end

-- Waits until there are so many of them.
function Server:wait_for_connections(name, number, limit)
  local what = ("%d connections of the name %s"):format(number, name)
  helpers.wait_until(function() return #self:connections(name) == number end, what, limit)
end

-- Asks JetStream, and returns the answer.
function Server:api(call, question)
  local inbox = self:subscribe("inbox." .. helpers.name() .. ".>")
  local reply = inbox.subject:gsub(">$", "1")
  question = question and json.encode(question) or ""
  inbox:send(("PUB $JS.API.%s %s %d\r\n%s\r\n"):format(call, reply, #question, question))
  local answer = json.decode(assert(inbox:next(), "JetStream does not answer").payload)
  inbox:close()
  if answer.error then error(answer.error.description) end
  return answer
end

-- A server with a stream, which keeps what is published while nobody listens and while the server is away.
function helpers.stream(subjects)
  local server = helpers.server(helpers.STORE)
  server:api("STREAM.CREATE.kept", { name = "kept", subjects = { subjects }, storage = "file" })
  return server
end

-- JetStream of a server of its own: a handle, the connection that it is by, which is soon back, and the server.
function helpers.jetstream()
  local server = helpers.server(helpers.STORE)
  local connection = assert(require("rgw_nats").connect(server:url(), { max_reconnect_wait_ms = 100 }))
  return assert(connection:jetstream({ timeout_ms = 5000 })), connection, server
end

-- Three servers that are one cluster, each with this configuration besides.
function helpers.cluster(configuration, program)
  local ports, routes, members = { helpers.port(), helpers.port(), helpers.port() }, {}, {}
  for n = 1, 3 do routes[n] = ('"nats://127.0.0.1:%d"'):format(ports[n]) end
  for n = 1, 3 do
    local own = ('cluster { name: three, listen: "127.0.0.1:%d", routes: [%s] }\n%s'):format(
      ports[n], table.concat(routes, ", "), configuration or "")
    members[n] = helpers.server(own, program)
  end
  return members
end

-- Waits until the stream has so many messages, and returns them.
function Server:kept(number)
  helpers.wait_until(function()
    return self:api("STREAM.INFO.kept").state.messages >= number
  end, ("%d messages in the stream"):format(number))
  local messages = {}
  for n = 1, self:api("STREAM.INFO.kept").state.messages do
    local message = self:api("STREAM.MSG.GET.kept", { seq = n }).message
    messages[n] = { subject = message.subject, payload = mime.unb64(message.data or "") }
    messages[n].headers = Subscriber.parse_headers(message.hdrs and mime.unb64(message.hdrs))
  end
  return messages
end

-- Programs ------------------------------------------------------------------------------------------------------------

-- Runs a script in a Lua of its own, with these arguments: what it wrote, its exit status, how long it took.
-- `before` is a shell command that runs first; `errors` is a file for standard error, instead of reading it.
function helpers.run(script, arguments, before, errors)
  local file = directory .. "/" .. helpers.name()
  helpers.write(file .. ".lua", script)
  local command = ("%s\nexec timeout -k 1 60 %s %s.lua"):format(before or "", LUA, file)
  for _, argument in ipairs(arguments or {}) do
    command = command .. " '" .. tostring(argument):gsub("'", "'\\''") .. "'"
  end
  local start = socket.gettime()
  local _, _, status = os.execute(("%s > %s.out 2> %s"):format(command, file, errors or file .. ".err"))
  return {
    status = status,
    seconds = socket.gettime() - start,
    out = helpers.read(file .. ".out"),
    err = helpers.read(file .. ".err"),
  }
end

-- Publishes the message that ends what a spec waits for. It would overtake events of one object, which go out one after
-- another; so these go first.
function helpers.publish_end(connection)
  helpers.wait_until(function() return connection:status().pending == 0 end, "an empty queue")
  assert(connection:publish("s3.end", "end"))
end

-- Results -------------------------------------------------------------------------------------------------------------

-- Checks that a call came back as `nil, "code: message", "code"`, and returns the message.
function helpers.fails(code, ...)
  local result, message, given = ...
  local good = select("#", ...) == 3 and result == nil and given == code and type(message) == "string"
  if good and message:sub(1, #code + 2) == code .. ": " then return message end
  local results = table.pack(...)
  for n = 1, results.n do results[n] = tostring(results[n]) end
  error(("wanted nil, %q and %q, got %s"):format(code .. ": …", code, table.concat(results, ", ")), 2)
end

-- A spec of something that is still a defect (docs/api.md, Known defects); it fails as soon as it holds.
function helpers.known_defect(it, name, reason, test)
  it(name, function()
    if pcall(test) then error("this holds now; make it an `it`", 0) end
    require("busted.core")().pending(reason)
  end)
end

return helpers
