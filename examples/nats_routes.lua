-- Publishes S3 events to the subject that a key-value bucket of NATS names for their S3 bucket.
--
--   radosgw-admin script put --infile=nats_routes.lua --context=postRequest
--
-- nats_routes.md tells how routes are set, and how soon they count.

-- Where the module is in a Lua directory of the host, and not in RGW's list of packages, this finds it:
-- package.cpath = "/usr/local/lib/lua/5.3/?.so;" .. package.cpath

local URL = "nats://127.0.0.1:4222"
-- The key-value bucket: its keys are names of S3 buckets, its values subjects as of docs/configuration.md.
local ROUTES = "routes"
-- Where events go whose S3 bucket has no route.
local DEFAULT = "s3.{bucket}.{event}"
-- A route of this value: nothing is published.
local NOWHERE = "-"
-- For how many seconds a route is kept. Needs the table RGW (18.2, 20.2); 16.2 asks for each event.
local KEEP_S = 5
-- How long a request waits for a route that is not kept.
local TIMEOUT_MS = 100

-- Only requests that change an object are events; the others need no route.
local EVENTS = {
  put_obj = true, post_obj = true, copy_obj = true, complete_multipart = true, delete_obj = true,
}
local bucket = EVENTS[Request.RGWOp] and Request.Bucket and Request.Bucket.Name
if not bucket or bucket == "" then return end

local nats = require("rgw_nats")
local KEPT = "nats_routes." .. bucket

-- The route that is kept, if it is young enough.
local function kept()
  local text = RGW and RGW[KEPT]
  local expires, route = (text or ""):match("^(%d+) (.+)$")
  return expires and tonumber(expires) > os.time() and route or nil
end

-- The route that the key-value bucket has; DEFAULT if it has none, or can't be asked.
local function asked()
  local connection = assert(nats.connect(URL))
  local js = assert(connection:jetstream({ timeout_ms = TIMEOUT_MS }))
  local routes, message, code = js:bucket(ROUTES)
  local route
  if routes then
    route, message, code = routes:get(bucket)
  end
  if not route and code ~= "not_found" then RGWDebugLog("nats_routes: " .. message) end
  route = route or DEFAULT
  -- Also what could not be asked is kept: an outage costs one request in KEEP_S its wait, and not all of them. The
  -- table RGW has bounds; what it does not take is asked for again.
  if RGW then pcall(function() RGW[KEPT] = ("%d %s"):format(os.time() + KEEP_S, route) end) end
  return route
end

local route = kept() or asked()
if route == NOWHERE then return end
-- What fails is a string that names the problem; RGW writes it to its log, and the request is not affected.
assert(nats.notify(Request, { url = URL, subject = route }))
