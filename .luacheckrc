std = "lua53+lua54"
max_line_length = 120
exclude_files = { "build", "dist", "target" }
-- Functions without bodies, for editors.
files["lua/rgw_nats/types.lua"] = { ignore = { "212", "241" } }
files["lua/rgw_nats/types/*.lua"] = { ignore = { "212", "241" } }
files["spec"] = { std = "lua53+lua54+busted" }
files["examples"] = { globals = { "RGW" }, read_globals = { "Request", "RGWDebugLog", "RGW_ABORT_REQUEST" } }
-- Scripts for RGW; they look for the module where a container has it.
files["deploy"] = { globals = { "package" }, read_globals = { "Request" } }
files["e2e"] = { read_globals = { "Request", "RGW", "RGWDebugLog", "RGW_ABORT_REQUEST" } }
-- It writes to what it can, and breaks off its walks.
files["e2e/probes.lua"] = { globals = { "Request", "RGW" }, ignore = { "512" } }
-- What the host gives to its scripts.
files["tests/host"] = {
  read_globals = { "PORT", "STREAMS", "WAY", "Request", "judge", "light_userdata" },
  globals = { "AT_CLOSE" },
}
files["**/*.rockspec"] = { std = "+rockspec" }
