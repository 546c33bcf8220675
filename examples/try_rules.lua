-- Tries the rules of a file without Ceph: prints what a subscriber gets of requests as a release of Ceph shows them.
--
--   nats-server -a 127.0.0.1 -p 4222 &
--   lua5.3 try_rules.lua /etc/ceph/rgw_nats.toml [16.2|18.2|20.2] [PORT]
--
-- All goes to that nats-server, whatever `url` in the file is, which must have a line of its own. Needs luasocket.
local socket = require("socket")
local emulator = require("rgw_nats.emulator")
local nats = require("rgw_nats")
local rules, release, port = assert(arg[1], "which file?"), arg[2] or "18.2", arg[3] or "4222"

-- What is tried. Put here what your rules are about.
local tries = {
  { "put_obj", { Bucket = { Name = "photos" }, Object = { Name = "2026/a.jpg" }, Tags = { stage = "raw" } } },
  { "put_obj", { HTTP = { Metadata = { ["x-amz-meta-color"] = "red" } } } },
  { "upload_part", { Object = { Name = "film.mp4" } } },
  { "complete_multipart", { Object = { Name = "film.mp4" } } },
  { "copy_obj", { Bucket = { Name = "album", Tenant = "acme" }, Object = { Name = "b.jpg" } } },
  { "delete_obj" },
  { "put_obj", { Response = { HTTPStatusCode = 403 } } },
  { "get_obj" },
}

-- The same rules, for the nats-server on this machine.
local path, url = os.tmpname(), ('\nurl = "nats://127.0.0.1:%s"\n'):format(port)
local text, replaced = ("\n" .. assert(io.open(rules)):read("a")):gsub("\n%s*url%s*=[^\n]*\n", url, 1)
assert(replaced == 1, "the file has no line with its url")
assert(io.open(path, "w")):write(text):close()

local broker = assert(socket.connect("127.0.0.1", port))
broker:send('CONNECT {"verbose": false, "headers": true}\r\nSUB > 1\r\n')
local function print_messages()
  broker:send("PING\r\n")
  for line in function() return broker:receive("*l") end do
    if line == "PONG" then return end
    local subject, head, size = line:match("^HMSG (%S+) 1 (%d+) (%d+)$")
    if subject then print("    " .. subject .. "\n      " .. broker:receive(size + 2):sub(head + 1, -3)) end
  end
end

-- Notifies, and waits until the server has all; with the first one, until the file is in force.
local function notify(request)
  assert(nats.notify(request, path))
  local state, pending = nats.status(), 0
  for _, connection in ipairs(state.connections) do pending = pending + connection.pending end
  local file = state.configurations[1] or { notifications = 0, last_error = "" }
  assert(file.last_error == "", file.last_error)
  if pending == 0 and file.notifications > 0 then return end
  socket.sleep(0.01)
  return notify({ RGWOp = "list_bucket" })
end
notify({ RGWOp = "list_bucket" })
local gateway = emulator.new(release)
for _, try in ipairs(tries) do
  local request = gateway:request(try[1], try[2])
  print(try[1] .. " " .. request.HTTP.URI .. " " .. request.Response.HTTPStatusCode)
  assert(gateway:run(function() notify(Request) end, request))
  print_messages()
end
os.remove(path)
