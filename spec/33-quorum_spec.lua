-- A stream on three servers whose leader has lost its peers: what it says of a message then is worth nothing.
local helpers = require("helpers")
local nats = require("rgw_nats")
local wait_until = helpers.wait_until

describe("a message to a leader without peers", function()
  local servers
  setup(function()
    -- 2.9 is silent, and 2.11 says what it is; 2.10 acknowledges.
    local program = assert(helpers.nats_server(2, 10, 11), "no nats-server of 2.10 is here")
    servers = helpers.cluster(helpers.STORE, program)
  end)
  teardown(helpers.stop)

  it("does not count as delivered before they have it, though the leader has acknowledged its repetition", function()
    local config = { name = "events", subjects = { "s3.>" }, num_replicas = 3 }
    local js = assert(nats.connect(servers[1]:url(), { name = "maker" }):jetstream({ timeout_ms = 2000 }))
    wait_until(function() return js:create_stream(config) end, "a stream on three servers", 60)
    local leader, peers
    wait_until(function()
      leader, peers = nil, {}
      local found = js:stream_info("events")
      for _, server in ipairs(servers) do
        if found and found.cluster.leader == server.name then leader = server else table.insert(peers, server) end
      end
      return leader
    end, "a leader", 60)
    local connection = assert(nats.connect(leader:url(), {
      name = "publisher", stream = "events", ack_timeout_ms = 300, exit_timeout_ms = 0,
    }))
    assert(connection:publish("s3.a", "", { ["Nats-Msg-Id"] = "first" }))
    wait_until(function() return connection:status().delivered == 1 end, "the first message", 30)
    for _, peer in ipairs(peers) do peer:pause() end
    for n = 1, 10 do assert(connection:publish("s3.a", "", { ["Nats-Msg-Id"] = tostring(n) })) end
    wait_until(function() return connection:status().retried >= 30 end, "some repetitions", 30)
    local meanwhile = connection:status()
    for _, peer in ipairs(peers) do peer:resume() end
    assert.same({ 1, 10 }, { meanwhile.delivered, meanwhile.pending })
    wait_until(function() return connection:status().pending == 0 end, "all of them", 60)
    wait_until(function()
      local found = js:stream_info("events")
      return found and found.state.messages == 11
    end, "eleven messages", 60)
  end)
end)
