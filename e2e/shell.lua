-- A Lua program that runs what e2e/harness/lua.py sends it: chunks on standard input, each with its length before it.
-- What a chunk returns goes back as one line of JSON, each byte of a string as a character of its own.
local function quote(text)
  return '"' .. text:gsub('[%c"\\\x7f-\xff]', function(byte) return ("\\u%04x"):format(byte:byte()) end) .. '"'
end

local write

local function members(value)
  local parts = {}
  for n = 1, #value do parts[n] = write(value[n]) end
  if #parts > 0 then return "[" .. table.concat(parts, ",") .. "]" end
  for key, member in pairs(value) do
    -- The handle of a message does not go anywhere.
    if type(member) ~= "userdata" then parts[#parts + 1] = quote(tostring(key)) .. ":" .. write(member) end
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

function write(value)
  local kind = type(value)
  if kind == "table" then return members(value) end
  if kind == "string" then return quote(value) end
  if kind == "nil" then return "null" end
  if kind == "number" or kind == "boolean" then return tostring(value) end
  return quote(tostring(value))
end

-- Whatever the module prints, standard output is for answers alone.
io.stdout:setvbuf("line")
for length in io.lines() do
  local chunk = io.read(math.tointeger(tonumber(length)))
  local fn, wrong = load(chunk, "=chunk")
  local results = table.pack(pcall(fn or error, wrong))
  local parts = {}
  for n = 2, results.n do parts[n - 1] = write(results[n]) end
  io.write(('{"ok":%s,"results":[%s]}\n'):format(results[1], table.concat(parts, ",")))
end
