-- Publishes an S3 event to NATS for each request that changes an object: RGW's own record, under s3.<bucket>.<event>.
--
--   radosgw-admin script put --infile=nats_notify.lua --context=postRequest
--
-- nats_notify.md tells what is needed and what arrives.

-- Where the module is in a Lua directory of the host, and not in RGW's list of packages, this finds it:
-- package.cpath = "/usr/local/lib/lua/5.3/?.so;" .. package.cpath

local nats = require("rgw_nats")

-- What fails is a string that names the problem; RGW writes it to its log, and the request is not affected.
assert(nats.notify(Request, {
  url = "nats://127.0.0.1:4222",
  subject = "s3.{bucket}.{event}",
}))
