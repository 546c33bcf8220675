package.cpath = "/opt/rgw_nats/?.so;" .. package.cpath
local nats = require("rgw_nats")
assert(nats.notify(Request, "/etc/rgw_nats.toml"))
