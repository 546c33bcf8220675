-- Made by scripts/rockspec.sh; change rgw_nats-scm-1.rockspec instead.
rockspec_format = "3.0"
package = "rgw_nats"
version = "0.1.0-1"
source = {
  -- The source rock has it beside this file.
  url = "file://rgw_nats-0.1.0.tar.gz",
  dir = "rgw_nats-0.1.0",
}
description = {
  summary = "NATS notifications and a NATS client for the Lua scripts of Ceph's RADOS Gateway",
  detailed = [[
    A script of two lines sends each S3 event of a gateway to NATS or JetStream, in the format of RGW's own
    notifications. One library serves Lua 5.3 (Debian, Ubuntu) and 5.4 (EL, containers).
  ]],
  license = "MIT OR Apache-2.0",
  labels = { "nats", "ceph", "rgw", "s3", "notifications" },
}
supported_platforms = { "linux" }
dependencies = { "lua >= 5.3, < 5.5" }
build = {
  -- This machine's cargo: a build back-end would be one more rock to have where there is no network.
  type = "command",
  -- One library serves Lua 5.3 and 5.4; no headers of Lua are read.
  build_command = "scripts/rock-build.sh",
  install = {
    lib = {
      rgw_nats = "build/rock/rgw_nats.so",
    },
    -- A line for each file in lua/.
    lua = {
      ["rgw_nats.async"] = "lua/rgw_nats/async.lua",
      ["rgw_nats.async.check"] = "lua/rgw_nats/async/check.lua",
      ["rgw_nats.async.tasks"] = "lua/rgw_nats/async/tasks.lua",
      ["rgw_nats.emulator"] = "lua/rgw_nats/emulator.lua",
      ["rgw_nats.emulator.contexts"] = "lua/rgw_nats/emulator/contexts.lua",
      ["rgw_nats.emulator.fields"] = "lua/rgw_nats/emulator/fields.lua",
      ["rgw_nats.emulator.maps"] = "lua/rgw_nats/emulator/maps.lua",
      ["rgw_nats.emulator.merge"] = "lua/rgw_nats/emulator/merge.lua",
      ["rgw_nats.emulator.proxies"] = "lua/rgw_nats/emulator/proxies.lua",
      ["rgw_nats.emulator.requests"] = "lua/rgw_nats/emulator/requests.lua",
      ["rgw_nats.emulator.state"] = "lua/rgw_nats/emulator/state.lua",
      ["rgw_nats.types"] = "lua/rgw_nats/types.lua",
      ["rgw_nats.types.configuration"] = "lua/rgw_nats/types/configuration.lua",
      ["rgw_nats.types.jetstream"] = "lua/rgw_nats/types/jetstream.lua",
    },
  },
}
