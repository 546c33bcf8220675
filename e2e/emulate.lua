-- Runs scripts in the emulator, each in its context, on requests to objects of these names: what test_emulator.py holds
-- against a gateway.
--
--   lua5.3 emulate.lua RELEASE CONTEXT:SCRIPT … -- OPERATION:NAME:TAGS:STATUS …
package.path = arg[0]:gsub("[^/]*$", "") .. "../lua/?.lua;" .. package.path
local emulator = require("rgw_nats.emulator")

-- The operations that test_emulator.py sends metadata with.
local WITH_METADATA = { put_obj = true, copy_obj = true, init_multipart = true }

local scripts, place = {}, 2
while arg[place] ~= "--" do
  local context, path = arg[place]:match("^(%a+):(.*)$")
  local file = assert(io.open(path))
  table.insert(scripts, { context, file:read("a") })
  file:close()
  place = place + 1
end
local gateway = emulator.new(arg[1])
for number = place + 1, #arg do
  local operation, name, tags, status = arg[number]:match("^([%w_]+):([%w_]*):(.*):(%w*)$")
  local pairs_of_tags = {}
  for key, value in tags:gmatch("(%w+)=(%w+)") do table.insert(pairs_of_tags, { key, value }) end
  local request = gateway:request(operation, {
    Bucket = { Name = "bkt" },
    Object = name ~= "" and { Name = name, Size = 5 } or nil,
    HTTP = { Metadata = WITH_METADATA[operation] and { ["x-amz-meta-foo"] = "bar" } or nil },
    Tags = pairs_of_tags,
    Response = status ~= "" and { HTTPStatus = status } or nil,
  })
  for _, script in ipairs(scripts) do
    local ok, problem = gateway:run(script[2], request, script[1])
    if not ok then io.stderr:write(operation, " ", name, ": ", problem, "\n") end
  end
end
