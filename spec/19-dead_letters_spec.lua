-- What is told of messages that were given up. With a real nats-server.
local helpers = require("helpers")
local nats = require("rgw_nats")
local wait_until = helpers.wait_until
local notified = require("notified")
local state, notify, counts = notified.state, notified.notify, notified.counts

describe("dead_letter_subject", function()
  teardown(helpers.stop)

  -- Notifies of a request that the named stream never takes, and returns the copy.
  local function copy(server, options)
    local subscriber = server:subscribe("dead.>")
    local configuration = {
      url = server:url(), name = helpers.name(), stream = "nowhere", max_retries = 1, retry_sleep_duration = 1,
      dead_letter_subject = "dead.s3",
    }
    for key, value in pairs(options or {}) do configuration[key] = value end
    notify(configuration)
    counts(configuration, "refused", 1)
    return assert(subscriber:next(), "no copy"), configuration, subscriber
  end

  it("has a copy of what is given up, with the reason, the subject and the time, once", function()
    local server = helpers.server('jetstream { store_dir: "DIRECTORY" }')
    local before = os.time()
    local found, configuration, subscriber = copy(server)
    assert.equal("dead.s3", found.subject)
    assert.matches('"key":"a.jpg"', found.payload, 1, true)
    assert.matches("^expired: max_retries of 1 is over; the last reason: not_stored", found.headers["Rgw-Dead-Reason"])
    assert.equal("s3.photos.ObjectCreated:Put", found.headers["Rgw-Dead-Subject"])
    assert.equal("ObjectCreated:Put", found.headers["Rgw-Event"])
    assert.matches("%.dead$", found.headers["Nats-Msg-Id"])
    assert.is_nil(found.headers["Nats-Expected-Stream"])
    local time = tonumber(found.headers["Rgw-Dead-Time"])
    assert.is_true(time >= before * 1000 and time <= (os.time() + 1) * 1000)
    counts(configuration, "letters", 1)
    assert.same({ 0, 0, 0 }, {
      state(configuration).pending, state(configuration).delivered, state(configuration).letters_lost,
    })
    assert.is_nil(subscriber:next(0.3))
  end)

  it("is acknowledged by the stream that takes it, whichever was named for events", function()
    local stream = helpers.stream("dead.>")
    local _, configuration = copy(stream)
    counts(configuration, "letters", 1)
    local kept = stream:kept(1)
    assert.equal("s3.photos.ObjectCreated:Put", kept[1].headers["Rgw-Dead-Subject"])
    -- Once more under the same id: the stream has it already.
    notify(configuration)
    counts(configuration, "letters", 2)
    assert.equal(1, #stream:kept(1))
  end)

  it("tells of dead letters in the spool, for their age too", function()
    local server = helpers.server('jetstream { store_dir: "DIRECTORY" }')
    local found, configuration = copy(server, {
      spool = { directory = server.directory .. "/spool", sync = "none" },
    })
    assert.matches("^expired: ", found.headers["Rgw-Dead-Reason"])
    wait_until(function() return #assert(nats.dead_letters(configuration)) == 1 end, "a dead letter")
    found, configuration = copy(server, {
      max_retries = 0, spool = { directory = server.directory .. "/aged", sync = "none", max_age_ms = 100 },
    })
    assert.equal("expired: max_age_ms of the spool is over", found.headers["Rgw-Dead-Reason"])
    wait_until(function() return state(configuration).pending == 0 end, "an empty queue")
    assert.equal(1, #assert(nats.dead_letters(configuration)))
  end)

  it("has no payload where that was too large, and no copy of a copy", function()
    local server = helpers.server([[
      max_payload: 500
      authorization { users: [
        { user: "a", password: "a" }
        { user: "b", password: "b", permissions: { publish: ["s3.>", "_INBOX.>"] } }
      ] }
    ]])
    local subscriber = server:subscribe("dead.>", "a", "a")
    local function configuration(user)
      return {
        url = server:url(user .. ":" .. user), allow_cleartext_secrets = true, name = helpers.name(),
        dead_letter_subject = "dead.s3", opaque_data = ("x"):rep(2000),
      }
    end
    local allowed, denied = configuration("a"), configuration("b")
    notify(allowed)
    local found = subscriber:next()
    assert.same({ "", "s3.photos.ObjectCreated:Put" }, { found.payload, found.headers["Rgw-Dead-Subject"] })
    assert.matches("^too_large: ", found.headers["Rgw-Dead-Reason"])
    counts(allowed, "letters", 1)
    notify(denied)
    counts(denied, "letters_lost", 1)
    assert.same({ 1, 0, 0 }, { state(denied).refused, state(denied).letters, state(denied).pending })
    assert.matches("a dead letter is not published: denied: ", state(denied).last_error, 1, true)
    assert.is_nil(subscriber:next(0.3))
  end)
end)
