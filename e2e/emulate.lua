-- Runs a script in the emulator, on requests to objects of these names: what test_emulator.py holds against a gateway.
--
--   lua5.3 emulate.lua RELEASE CONTEXT SCRIPT OPERATION:NAME:TAGS …
local release, context, path = arg[1], arg[2], arg[3]
package.path = arg[0]:gsub("[^/]*$", "") .. "../lua/?.lua;" .. package.path
local emulator = require("rgw_nats.emulator")

local file = assert(io.open(path))
local script = file:read("a")
file:close()
local gateway = emulator.new(release)
for place = 4, #arg do
  local operation, name, tags = arg[place]:match("^([%w_]+):(%w[%w_]*):(.*)$")
  local pairs_of_tags = {}
  for key, value in tags:gmatch("(%w+)=(%w+)") do table.insert(pairs_of_tags, { key, value }) end
  local request = gateway:request(operation, {
    Bucket = { Name = "bkt" },
    Object = { Name = name, Size = 5 },
    HTTP = { Metadata = { ["x-amz-meta-foo"] = "bar" } },
    Tags = pairs_of_tags,
  })
  local ok, problem = gateway:run(script, request, context)
  if not ok then io.stderr:write(name, ": ", problem, "\n") end
end
