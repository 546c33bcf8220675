-- Tries the rules of a file without Ceph: prints what a subscriber gets of requests as a release of Ceph shows them.
--
--   nats-server -a 127.0.0.1 -p 4222 &
--   lua5.3 try_rules.lua /etc/ceph/rgw_nats.toml [16.2|18.2|19.2|20.2|main] [PORT]
--
-- All goes to that nats-server, whatever `url` in the file is. What is for that broker alone (logins, TLS, streams, a
-- spool) is left out.
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

-- The same rules, for the nats-server on this machine. Each line stays where it is, for what is said of it.
local url = "nats://127.0.0.1:" .. port
local elsewhere = { auth = true, tls = true, stream = true, ensure_stream = true, spool = true, inbox_prefix = true }
local lines, section, in_list, has_url = {}, nil, false, false
for line in assert(io.open(rules)):lines() do
  section = line:match("^%s*%[+%s*([%w_]+)") or section
  local key = section or line:match("^%s*([%w_]+)%s*=")
  if in_list then
    in_list, line = not line:find("]", 1, true), ""
  elseif key == "url" then
    in_list = line:find("[", 1, true) and not line:find("]", 1, true)
    has_url, line = true, ("url = %q"):format(url)
  elseif elsewhere[key] then
    line = ""
  end
  lines[#lines + 1] = line
end
assert(has_url, "the file has no line with its url")
local path = os.tmpname()
assert(io.open(path, "w")):write(table.concat(lines, "\n")):close()

local broker = assert(nats.connect(url, { name = "try_rules" }))
local messages = assert(broker:subscribe(">"))
assert(broker:flush(5000))
local function print_messages()
  assert(broker:flush(5000))
  for message in function() return messages:next(0) end do
    if not message.subject:find("^[_$]") then
      print("    " .. message.subject .. "\n      " .. message.payload)
    end
  end
end

-- Notifies, and waits until the server has all; with the first one, until the file is in force.
local function notify(request)
  assert(nats.notify(request, path))
  for _ = 1, 1000 do
    local state, pending = nats.status(), 0
    for _, connection in ipairs(state.connections) do pending = pending + connection.pending end
    local file = state.configurations[1] or { notifications = 0, last_error = "" }
    assert(file.last_error == "", file.last_error)
    if pending == 0 and file.notifications > 0 then return end
    nats.sleep(10)
    if file.notifications == 0 then assert(nats.notify(request, path)) end
  end
  error("the server does not take what the rules make: " .. nats.status().connections[1].last_error)
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
