-- A certificate authority of a spec's own, made by openssl while the spec runs. Nothing in here uses the module under
-- test.
local helpers = require("helpers")

local Authority = {}
Authority.__index = Authority

local CONFIGURATION = [[
  [ca]
  default_ca = here
  [here]
  database = DIRECTORY/issued
  new_certs_dir = DIRECTORY
  rand_serial = yes
  default_md = sha256
  unique_subject = no
  policy = names
  [names]
  commonName = supplied
]]

local function run(command, ...)
  local log = os.tmpname()
  local done = os.execute(command:format(...) .. " > " .. log .. " 2>&1")
  local told = helpers.read(log)
  os.remove(log)
  return done or error(told, 2)
end

-- Makes an authority with a directory of its own; `certificate` is the path of its certificate.
function Authority.new()
  local authority = setmetatable({ directory = helpers.directory() }, Authority)
  local file = authority.directory .. "/authority"
  authority.certificate, authority.key = file .. ".pem", file .. ".key"
  helpers.write(file .. ".cnf", (CONFIGURATION:gsub("DIRECTORY", authority.directory)))
  helpers.write(authority.directory .. "/issued", "")
  run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj '/CN=%s'"
    .. " -keyout %s -out %s", helpers.name(), authority.key, authority.certificate)
  return authority
end

-- Issues a certificate for these names, such as "IP:127.0.0.1"; returns the paths of it and of its key. `expired` makes
-- one whose time is over.
function Authority:issue(names, expired)
  local file = self.directory .. "/" .. helpers.name()
  helpers.write(file .. ".ext", "subjectAltName = " .. names .. "\n")
  run("openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=x -keyout %s.key -out %s.csr",
    file, file)
  run("openssl ca -batch -notext -config %s/authority.cnf -cert %s -keyfile %s -startdate 20200101000000Z -enddate %s"
    .. " -extfile %s.ext -in %s.csr -out %s.pem", self.directory, self.certificate, self.key,
    expired and "20210101000000Z" or "20400101000000Z", file, file, file)
  return { certificate = file .. ".pem", key = file .. ".key" }
end

return Authority
