-- A page of docs/ as data: its sections and tables, for the specs that hold them against the module.
local helpers = require("helpers")

local Reference = {}
Reference.__index = Reference

-- The names in a table, in order.
function Reference.keys(map)
  local list = {}
  for key in pairs(map) do list[#list + 1] = key end
  table.sort(list)
  return list
end

-- What a call says it knows, when it is asked for what nobody knows, as a set.
function Reference.known(message)
  local names = {}
  for name in message:match("known are ([%w_, ]+)"):gmatch("[%w_]+") do names[name] = true end
  return names
end

-- A number as the pages write it: 1,000.
function Reference.number(text)
  return math.tointeger((text:gsub(",", "")))
end

function Reference.new(path)
  local text = assert(helpers.read(path), "run the specs with scripts/run-specs.sh")
  return setmetatable({ path = path, text = text }, Reference)
end

-- What is below a heading, up to the next one of that level or above.
function Reference:section(heading, level)
  local start = self.text:find("\n" .. level .. " " .. heading .. "\n", 1, true)
  assert(start, self.path .. " has no " .. heading)
  local body = self.text:sub(start + #level + #heading + 3)
  for length = 2, #level do
    local stop = body:find("\n" .. ("#"):rep(length) .. " ")
    if stop then body = body:sub(1, stop) end
  end
  return body
end

-- The cells of a line of a table.
local function cells(line)
  local found = {}
  for cell in line:gmatch("|%s*([^|]-)%s*%f[|]") do found[#found + 1] = cell end
  return found
end

-- The rows of all tables in a text whose first column has this name, as { name = { column = cell } }; names without
-- backticks.
function Reference.rows(text, column)
  local found, columns = {}, nil
  for line in text:gmatch("[^\n]*") do
    if line:sub(1, 1) ~= "|" then
      columns = nil
    elseif cells(line)[1] == column then
      columns = cells(line)
    elseif columns and not line:find("^| %-%-%-") then
      local row = {}
      for place, cell in ipairs(cells(line)) do row[columns[place]] = cell end
      found[row[column]:gsub("`", "")] = row
    end
  end
  assert(next(found), "no table with the column " .. column)
  return found
end

-- The codes of the page, as blocks of a language.
function Reference:blocks(language)
  return self.text:gmatch("```" .. language .. "\n(.-)```")
end

return Reference
