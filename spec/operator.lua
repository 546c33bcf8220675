-- An operator of NATS with one account, made by openssl while the spec runs: what a server in operator mode trusts, and
-- the users' keys, JWTs and credentials. Nothing in here uses the module under test.
local helpers = require("helpers")
local json = require("dkjson")
local mime = require("mime")

local Operator = {}
Operator.__index = Operator

local BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
-- The first byte of a key, which makes its first letter.
local KINDS = { operator = 14 << 3, account = 0, user = 20 << 3, seed = 18 << 3 }
local UNLIMITED = { subs = -1, data = -1, payload = -1 }
local CREDENTIALS = [[
-----BEGIN NATS USER JWT-----
%s
------END NATS USER JWT------

************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.
NKEYs are sensitive and should be treated as secrets.

-----BEGIN USER NKEY SEED-----
%s
------END USER NKEY SEED------

*************************************************************
]]

local function base32(bytes)
  local text, bits, held = {}, 0, 0
  for byte in bytes:gmatch(".") do
    held, bits = (held << 8 | byte:byte()) & 0xffff, bits + 8
    while bits >= 5 do
      bits = bits - 5
      local digit = (held >> bits) & 31
      text[#text + 1] = BASE32:sub(digit + 1, digit + 1)
    end
  end
  if bits > 0 then
    local digit = (held << (5 - bits)) & 31
    text[#text + 1] = BASE32:sub(digit + 1, digit + 1)
  end
  return table.concat(text)
end

-- CRC-16/XMODEM, lower byte first, as nkeys end in it.
local function checked(bytes)
  local crc = 0
  for byte in bytes:gmatch(".") do
    crc = crc ~ (byte:byte() << 8)
    for _ = 1, 8 do crc = (crc & 0x8000 ~= 0 and (crc << 1) ~ 0x1021 or crc << 1) & 0xffff end
  end
  return base32(bytes .. string.pack("<I2", crc))
end

local function base64url(bytes)
  return (mime.b64(bytes):gsub("[+/=]", { ["+"] = "-", ["/"] = "_", ["="] = "" }))
end

-- A key pair: `public` and `seed` as nkeys are written, `file` for openssl.
local function pair(directory, kind)
  local file = directory .. "/" .. helpers.name()
  for _, command in ipairs({
    "genpkey -algorithm ed25519 -out FILE.pem", "pkey -in FILE.pem -outform DER -out FILE.der",
    "pkey -in FILE.pem -pubout -outform DER -out FILE.pub",
  }) do
    assert(os.execute("openssl " .. command:gsub("FILE", file)))
  end
  local first = KINDS[kind]
  -- The key itself is the end of what openssl wraps around it.
  local seed, public = helpers.read(file .. ".der"):sub(-32), helpers.read(file .. ".pub"):sub(-32)
  return {
    file = file,
    public = checked(string.char(first) .. public),
    seed = checked(string.char(KINDS.seed | first >> 5, (first & 31) << 3) .. seed),
  }
end

-- A JWT about the holder of one key, signed with another.
local function sign(signer, subject, kind, claims, expires)
  claims.type, claims.version = kind, 2
  local now = os.time()
  local body = json.encode({
    jti = helpers.name(), iat = now, iss = signer.public, name = "spec", sub = subject.public, nats = claims,
    exp = expires,
  })
  local text = base64url('{"typ":"JWT","alg":"ed25519-nkey"}') .. "." .. base64url(body)
  local file = subject.file
  helpers.write(file .. ".claims", text)
  assert(os.execute(("openssl pkeyutl -sign -rawin -inkey %s.pem -in %s.claims -out %s.signature"):format(
    signer.file, file, file)))
  return text .. "." .. base64url(helpers.read(file .. ".signature"))
end

-- A pair of keys for a user, without an operator.
function Operator.nkey()
  return pair(helpers.directory(), "user")
end

-- Makes an operator and an account.
function Operator.new()
  local directory = helpers.directory()
  local operator = setmetatable({ directory = directory }, Operator)
  operator.key, operator.account = pair(directory, "operator"), pair(directory, "account")
  operator.jwt = sign(operator.key, operator.key, "operator", {})
  local limits = { imports = -1, exports = -1, wildcards = true, conn = -1, leaf = -1 }
  for name, value in pairs(UNLIMITED) do limits[name] = value end
  operator.account.jwt = sign(operator.key, operator.account, "account", { limits = limits })
  return operator
end

-- The lines of configuration of a server that trusts the operator.
function Operator:configuration()
  return ("operator: %q, resolver: MEMORY, resolver_preload: { %s: %q }"):format(
    self.jwt, self.account.public, self.account.jwt)
end

-- A user of the account: `public`, `seed`, `jwt`, and `credentials` as nsc writes them. `expires` is a time, or nil.
function Operator:user(expires)
  local user = pair(self.directory, "user")
  local claims = {}
  for name, value in pairs(UNLIMITED) do claims[name] = value end
  user.jwt = sign(self.account, user, "user", claims, expires)
  user.credentials = CREDENTIALS:format(user.jwt, user.seed)
  return user
end

return Operator
