-- Asks a service behind NATS whether a request may go on, and refuses it if not.
--
--   radosgw-admin script put --infile=nats_policy.lua --context=preRequest
--
-- nats_policy.md tells what is asked, which releases can refuse, and what happens without an answer.

-- Where the module is in a Lua directory of the host, and not in RGW's list of packages, this finds it:
-- package.cpath = "/usr/local/lib/lua/5.3/?.so;" .. package.cpath

local URL = "nats://127.0.0.1:4222"
local SUBJECT = "policy.check"
-- How long a request waits for the answer. Ceph 20.2 ends a script after a second.
local TIMEOUT_MS = 200
-- Whether requests go on when there is no answer.
local ALLOW_WITHOUT_ANSWER = true
-- For how many seconds nobody is asked after an answer that did not come in time: a service that hangs costs one
-- request its TIMEOUT_MS, and not all of them. Needs the table RGW (18.2, 20.2).
local PAUSE_S = 5
-- Which operations are asked about; those of the object store's own housekeeping are none of them.
local ASKED = { put_obj = true, post_obj = true, copy_obj = true, init_multipart = true, delete_obj = true }

local operation = Request.RGWOp
if not ASKED[operation] then return end

local PAUSE = "nats_policy.asks_again"
local nats = require("rgw_nats")

-- What the service is asked, as JSON. Before 20.2 this is ahead of RGW's own authentication: the user is not known, and
-- whatever is here anybody could have written.
local function question()
  local bucket, object = Request.Bucket, Request.Object
  return nats.encode({
    id = Request.Id,
    operation = operation,
    uri = Request.DecodedURI,
    bucket = bucket and bucket.Name,
    key = object and object.Name,
    -- 16.2 has no such field, and reading it would end the script.
    user = RGW_ABORT_REQUEST and Request.User and Request.User.Id,
  })
end

-- "allow", "deny", or nil and why there is no answer.
local function ask()
  if RGW and (tonumber(RGW[PAUSE]) or 0) > os.time() then return nil, "the service has not answered of late" end
  local text, wrong = question()
  if not text then return nil, wrong end
  local connection, refused = nats.connect(URL, { name = "rgw policy", exit_timeout_ms = 0 })
  if not connection then return nil, refused end
  local answer, message, code = connection:request(SUBJECT, text, { timeout_ms = TIMEOUT_MS })
  if not answer then
    -- That nobody listens is known at once; only what takes time is spared the next ones.
    if RGW and code ~= "no_responders" then RGW[PAUSE] = os.time() + PAUSE_S end
    return nil, message
  end
  local verdict = answer.payload
  if verdict == "allow" or verdict == "deny" then return verdict end
  return nil, "an answer that is neither allow nor deny"
end

local verdict, why = ask()
if not verdict then
  RGWDebugLog("nats_policy: no answer: " .. tostring(why))
  verdict = ALLOW_WITHOUT_ANSWER and "allow" or "deny"
end
if verdict == "deny" then
  RGWDebugLog("nats_policy: " .. operation .. " of " .. Request.DecodedURI .. " is refused")
  -- Nil before 20.2, where a script can't refuse.
  return RGW_ABORT_REQUEST
end
