-- notify()'s rules, and the files that they can stand in.
local helpers = require("helpers")
local nats = require("rgw_nats")
local socket = require("socket")
local fails, wait_until = helpers.fails, helpers.wait_until

local function request(changes)
  local whole = {
    RGWOp = "put_obj", Id = helpers.name(), Response = { HTTPStatusCode = 200 }, Object = { Name = "in/a.jpg" },
    Bucket = { Name = "photos", Tenant = "acme" }, Tags = { colour = "red", size = "l" },
    HTTP = { Method = "PUT", Metadata = { ["x-amz-meta-kind"] = "raw", ["x-amz-meta-n"] = "1" } },
  }
  for key, value in pairs(changes or {}) do whole[key] = value end
  return whole
end

local OPERATIONS = {
  { "put_obj", "ObjectCreated:Put" }, { "post_obj", "ObjectCreated:Post" }, { "copy_obj", "ObjectCreated:Copy" },
  { "complete_multipart", "ObjectCreated:CompleteMultipartUpload" }, { "delete_obj", "ObjectRemoved:Delete" },
  { "put_obj_tags", "ObjectTagging:Put" }, { "delete_obj_tags", "ObjectTagging:Delete" },
  { "put_acls", "ObjectAcl:Put" }, { "restore_obj", "ObjectRestore:Post" },
  { "put_obj_retention", "ObjectRetention:Put" }, { "put_obj_legal_hold", "ObjectLegalHold:Put" },
  { "put_obj_metadata", "ObjectMetadata:Put" }, { "get_obj", "ObjectAccessed:Get", "GET" },
  { "get_obj", "ObjectAccessed:Head", "HEAD" }, { "create_bucket", "BucketCreated:Put" },
  { "delete_bucket", "BucketRemoved:Delete" },
}

describe("a rule of notify()", function()
  local server, subscriber
  setup(function()
    server = helpers.server()
    subscriber = server:subscribe("s3.>")
  end)
  teardown(helpers.stop)

  -- The subjects of what is published for a request.
  local function subjects(configuration, changes)
    configuration.url = server:url()
    assert.is_true(nats.notify(request(changes), configuration))
    helpers.publish_end(assert(nats.connect(server:url())))
    local messages = subscriber:messages("end")
    messages[#messages] = nil
    for n, message in ipairs(messages) do messages[n] = message.subject end
    return messages
  end

  local function fits(rule, changes)
    return #subjects(rule, changes) == 1
  end

  -- The events, of all operations, that a list of events asks for.
  local function chosen(events)
    local found = {}
    for _, operation in ipairs(OPERATIONS) do
      local changes = { RGWOp = operation[1], HTTP = { Method = operation[3] or "PUT" } }
      for _, subject in ipairs(subjects({ events = events, subject = "s3.{event}" }, changes)) do
        assert.equal("s3." .. operation[2], subject)
        found[#found + 1] = operation[2]
      end
    end
    return found
  end

  it("has RGW's own events if it names none", function()
    local own = {}
    for n = 1, 5 do own[n] = OPERATIONS[n][2] end
    assert.same(own, chosen(nil))
    assert.same(own, chosen({}))
    assert.same(own, chosen({ "s3:ObjectCreated:*", "s3:ObjectRemoved:*" }))
  end)

  it("has the events that it names, one by one or by their kind", function()
    for _, operation in ipairs(OPERATIONS) do
      assert.same({ operation[2] }, chosen({ "s3:" .. operation[2] }))
    end
    assert.same({ "ObjectRemoved:Delete" }, chosen({ "ObjectRemoved:Delete" }))
    assert.same({ "ObjectTagging:Put", "ObjectTagging:Delete", "BucketCreated:Put" },
      chosen({ "s3:ObjectTagging:*", "BucketCreated:Put" }))
  end)

  it("refuses events that do not exist, and those that no script is shown", function()
    local function events(name) return nats.notify(request(), { url = server:url(), events = name }) end
    assert.matches("the nearest is s3:ObjectCreated:Put", fails("bad_config", events({ "s3:ObjectCreated:Putt" })))
    assert.matches("shows no script", fails("bad_config", events({ "s3:ObjectLifecycle:Expiration:Current" })))
    local markers = { "s3:ObjectRemoved:DeleteMarkerCreated" }
    assert.matches("versioned must list the buckets", fails("bad_config", events(markers)))
    fails("bad_config", events("s3:ObjectCreated:*"))
    fails("bad_config", events({ 1 }))
    fails("bad_config", events({ "*" }))
  end)

  it("is for the buckets and tenants that it names, by patterns", function()
    for _, key in ipairs({ "bucket", "tenant" }) do
      local name = request().Bucket[key == "bucket" and "Name" or "Tenant"]
      for _, pattern in ipairs({
        name, "*", name:sub(1, 2) .. "*", "?" .. name:sub(2), { "no", name }, "{no," .. name .. "}",
      }) do
        assert.is_true(fits({ [key] = pattern }), key)
      end
      for _, pattern in ipairs({ "no", name:sub(1, 2), name .. "?", { "no", "nor" }, name:upper() }) do
        assert.is_false(fits({ [key] = pattern }), key)
      end
      fails("bad_config", nats.notify(request(), { url = server:url(), [key] = 1 }))
      fails("bad_config", nats.notify(request(), { url = server:url(), [key] = "a[" }))
    end
    assert.is_false(fits({ bucket = "photos", tenant = "other" }))
    assert.is_false(fits({ tenant = "" }))
    assert.is_true(fits({ tenant = "" }, { Bucket = { Name = "photos", Tenant = "" } }))
  end)

  it("is for keys by prefix, suffix and regular expression, which is for the whole key", function()
    for _, filter in ipairs({
      { prefix = "in/" }, { prefix = "" }, { suffix = ".jpg" }, { regex = "in/.*" }, { regex = "in/[ab]\\.jpg|no" },
      { prefix = "in/", suffix = ".jpg", regex = ".+" },
    }) do
      assert.is_true(fits({ filter = filter }))
    end
    for _, filter in ipairs({
      { prefix = "out/" }, { suffix = ".png" }, { regex = "in/" }, { regex = "a.jpg" },
      { prefix = "in/", suffix = "x" },
    }) do
      assert.is_false(fits({ filter = filter }))
    end
    for _, filter in ipairs({ { regex = "(" }, { regex = 1 }, { prefix = 1 }, { sufix = "x" }, "text" }) do
      assert.matches("filter", fails("bad_config", nats.notify(request(), { url = server:url(), filter = filter })))
    end
  end)

  it("is for metadata and tags, all that it names", function()
    for _, filter in ipairs({
      { metadata = { ["x-amz-meta-kind"] = "raw" } }, { metadata = { ["X-Amz-Meta-Kind"] = "raw" } },
      { metadata = { ["x-amz-meta-kind"] = "raw", ["x-amz-meta-n"] = "1" } }, { metadata = {} },
      { tags = { colour = "red" } }, { tags = { colour = "red", size = "l" } },
    }) do
      assert.is_true(fits({ filter = filter }))
    end
    for _, filter in ipairs({
      { metadata = { ["x-amz-meta-kind"] = "other" } },
      { metadata = { ["x-amz-meta-kind"] = "raw", ["x-amz-meta-m"] = "1" } },
      { tags = { colour = "blue" } }, { tags = { colour = "red", size = "s" } }, { tags = { Colour = "red" } },
    }) do
      assert.is_false(fits({ filter = filter }))
    end
    for _, filter in ipairs({ { metadata = { ["x-amz-date"] = "now" } }, { tags = { a = 1 } }, { tags = "a" } }) do
      fails("bad_config", nats.notify(request(), { url = server:url(), filter = filter }))
    end
  end)

  it("is one of a list, each with a message of its own", function()
    local both = { notification = { { id = "one", subject = "s3.{id}" }, { id = "two", subject = "s3.{id}" } } }
    assert.same({ "s3.one", "s3.two" }, subjects(both))
    both.notification[1].bucket = "other"
    assert.same({ "s3.two" }, subjects(both))
    both.notification[2].events = { "ObjectRemoved:Delete" }
    local before = nats.status().ignored
    assert.same({}, subjects(both))
    assert.equal(before + 1, nats.status().ignored)
  end)

  it("is told by its place when something is wrong with it", function()
    local message = fails("bad_config", nats.notify(request(), {
      url = server:url(), notification = { { id = "a" }, { id = "a", subjet = "x", filter = { prefix = 1 } } },
    }))
    for _, part in ipairs({
      "notification[2].id", "notification[2]: unknown key subjet; did you mean subject?",
      "notification[2].filter.prefix",
    }) do
      assert.matches(part, message, 1, true)
    end
    fails("bad_config", nats.notify(request(), { url = server:url(), notification = {} }))
    fails("bad_config", nats.notify(request(), { url = server:url(), notification = "x" }))
    fails("bad_config", nats.notify(request(), { url = server:url(), notification = { { id = "a" } }, subject = "x" }))
  end)
end)

describe("a file of notify()", function()
  local server, subscriber, path

  setup(function()
    server = helpers.server()
    subscriber = server:subscribe("s3.>")
  end)
  before_each(function() path = server.directory .. "/" .. helpers.name() .. ".toml" end)
  teardown(helpers.stop)

  local function write(text)
    -- A new file in the place of the old one, so that no half of it can be read.
    helpers.write(path .. ".new", text:gsub("URL", server:url()))
    assert(os.rename(path .. ".new", path))
  end

  local function shown()
    for _, configuration in ipairs(nats.status().configurations) do
      if configuration.path == path then return configuration end
    end
  end

  it("has the same keys as the table, in TOML, and the first requests wait for it", function()
    write([=[
      url = ["URL"]
      ack_timeout_ms = 4000
      [[notification]]
      id = "one"
      subject = "s3.one"
      filter = { prefix = "in/", metadata = { x-amz-meta-kind = "raw" } }
      [[notification]]
      id = "two"
      subject = "s3.two"
      events = ["s3:ObjectRemoved:*"]
    ]=])
    for n = 1, 3 do assert.is_true(nats.notify(request({ Id = "id-" .. n }), path)) end
    for n = 1, 3 do
      local message = subscriber:next()
      assert.equal("s3.one", message.subject)
      assert.matches("^id%-" .. n .. "/", message.headers["Nats-Msg-Id"])
    end
    assert.same({ path = path, notifications = 2, last_error = "" }, shown())
    assert.is_true(nats.notify(request({ RGWOp = "delete_obj" }), path))
    assert.equal("s3.one", subscriber:next().subject)
    assert.equal("s3.two", subscriber:next().subject)
  end)

  it("is taken up again when it has changed; while it is wrong, the one before stays", function()
    write('url = "URL"\nsubject = "s3.first"\n')
    assert.is_true(nats.notify(request(), path))
    assert.equal("s3.first", subscriber:next().subject)
    write('url = "URL"\nsubject = "s3..wrong"\n')
    wait_until(function()
      assert.is_true(nats.notify(request(), path))
      assert.equal("s3.first", subscriber:next().subject)
      return shown().last_error ~= ""
    end, "the problem with the file")
    assert.matches(path .. ":2: ", shown().last_error, 1, true)
    assert.equal(1, shown().notifications)
    write('url = "URL"\nsubject = "s3.second"\n')
    wait_until(function()
      assert.is_true(nats.notify(request(), path))
      return subscriber:next().subject == "s3.second"
    end, "the changed file")
    assert.equal("", shown().last_error)
  end)

  it("is taken up while no request comes, even where it is exchanged through a link as Kubernetes does", function()
    local directory = server.directory .. "/" .. helpers.name()
    local function exchange(number)
      assert(os.execute(("mkdir -p %s/..%d"):format(directory, number)))
      path = ("%s/..%d/file"):format(directory, number)
      write(('url = "URL"\nsubject = "s3.%d"\n'):format(number))
      local swap = "cd %s && ln -s ..%d ..data_tmp && mv -T ..data_tmp ..data && ln -sf ..data/file file"
      assert(os.execute(swap:format(directory, number)))
      path = directory .. "/file"
    end
    exchange(1)
    assert.is_true(nats.notify(request(), path))
    assert.equal("s3.1", subscriber:next().subject)
    exchange(2)
    socket.sleep(2)
    assert.is_true(nats.notify(request(), path))
    assert.equal("s3.2", subscriber:next().subject)
  end)

  it("that is wrong or is not there fails with file and line as soon as it was looked at", function()
    local wrong = { ["nothing there"] = false, [":1: "] = "ulr = 1", [":2: "] = 'url = "URL"\nid = 7' }
    for part, text in pairs(wrong) do
      path = server.directory .. "/" .. helpers.name() .. ".toml"
      if text then write(text) end
      wait_until(function() return not nats.notify(request(), path) end, "the problem with the file")
      local message = fails("bad_config", nats.notify(request(), path))
      assert.matches(path .. (text and part or ""), message, 1, true)
      assert.equal(message, shown().last_error)
    end
  end)

  it("must be an absolute path", function()
    for _, value in ipairs({ "", "rgw_nats.toml", "./rgw_nats.toml", "/a\nb", "/" .. ("x"):rep(4096) }) do
      fails("bad_argument", nats.notify(request(), value))
    end
  end)

  it("is one of 16 at most", function()
    local run = helpers.run([[
      local nats = require("rgw_nats")
      local code
      for n = 1, 17 do
        code = select(3, nats.notify({ RGWOp = "put_obj" }, arg[1] .. n))
        if n < 17 then code = nil end
      end
      io.write(tostring(code), " ", #nats.status().configurations)
    ]], { server.directory .. "/nothing" })
    assert.equal("bad_config 16", run.out)
  end)

  it("has the first event too, if it is one that RGW itself does not have", function()
    write('url = "URL"\nsubject = "s3.{event}"\nevents = ["s3:ObjectTagging:*"]\n')
    local run = helpers.run([[
      local nats, socket = require("rgw_nats"), require("socket")
      local request = { RGWOp = "put_obj_tags", Response = { HTTPStatusCode = 200 }, Object = { Name = "k" } }
      request.HTTP = { Method = "PUT" }
      assert(nats.notify(request, arg[1]))
      local limit = socket.gettime() + 5
      repeat socket.sleep(0.01) until nats.status().configurations[1].notifications == 1 or socket.gettime() > limit
      request.RGWOp = "delete_obj_tags"
      assert(nats.notify(request, arg[1]))
    ]], { path })
    assert.equal(0, run.status)
    assert.equal("s3.ObjectTagging:Put", subscriber:next().subject)
  end)
end)
