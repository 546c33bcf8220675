-- The contexts of scripts: what each shows of a request, and what becomes of a response that a script writes before
-- the operation. preRequest and postRequest were seen on 16.2.15, 18.2.7 and 20.2.4. postAuth was read in Ceph's
-- sources, and the scripts for each key of a multi-object delete in a pull request.
local requests = require("rgw_nats.emulator.requests")

local contexts = {}

-- By what `radosgw-admin script put --context` takes, in any case.
local NAMES = { prerequest = "preRequest", postauth = "postAuth", postrequest = "postRequest" }
-- Failures before the operation begins, with the last context before each, where preRequest follows authentication.
local BEFORE = {
  SignatureDoesNotMatch = "", AccessDenied = "preRequest", NoSuchBucket = "preRequest", NoSuchKey = "preRequest",
}
local DEFAULT = { HTTPStatusCode = 200, RGWCode = 0, HTTPStatus = "", Message = "" }

local function copy(of)
  local all = {}
  for name, value in pairs(of) do all[name] = value end
  return all
end

--- A context by its name; nil if a release lacks it.
---@param release rgw_nats.emulator.Release
---@param name any
---@return string?
function contexts.find(release, name)
  local context = type(name) == "string" and NAMES[name:lower()] or nil
  if context == "postAuth" and release < 21 then return nil end
  return context
end

--- The contexts of a release, as text.
---@param release rgw_nats.emulator.Release
---@return string
function contexts.listed(release)
  return release < 21 and "preRequest or postRequest" or "preRequest, postAuth or postRequest"
end

--- Why a request never gets to a context; nil if it does.
---@param release rgw_nats.emulator.Release
---@param request table
---@param context string
---@return string?
function contexts.unreached(release, request, context)
  local state = getmetatable(request)
  if context == "postRequest" then return nil end
  if state.aborted and context ~= "preRequest" then return "no script ran: the request was aborted" end
  local status = (state.outcome or request.Response).HTTPStatus
  local last = BEFORE[status]
  if release < 20 or not last or last == context then return nil end
  return ("no script ran: a request that ends in %s does not get to %s"):format(status, context)
end

-- preRequest: no permissions are read, and before 20 nobody is known.
local function before_permissions(release, view)
  local none = release >= 19 and requests.acl(release, "", "") or nil
  view.UserACL, view.BucketACL, view.ObjectACL = none, none, none
  view.ZoneGroup, view.Policy, view.UserPolicies = { Name = "", Endpoint = "" }, nil, {}
  view.Environment, view.Objects = {}, nil
  if release < 20 then
    local nobody = { Tenant = "", Id = "" }
    view.User, view.CopyFrom = release > 16 and nobody or nil, nil
    view.ObjectOwner = { DisplayName = "", User = release < 19 and nobody or "" }
  elseif view.CopyFrom then
    local source = view.CopyFrom.Object
    view.CopyFrom = copy(view.CopyFrom)
    view.CopyFrom.Object = requests.object(source.Name, source.Instance)
  end
end

-- A request before its operation.
local function before(release, request, context)
  local view, object, form = copy(request), request.Object, request.RGWOp == "post_obj"
  if context == "preRequest" then before_permissions(release, view) end
  view.Response, view.Tags = getmetatable(request).response, {}
  -- A bucket is created, or loaded, by the operation that creates it.
  if context == "preRequest" or request.RGWOp == "create_bucket" then
    view.Bucket = release > 16 and { Name = request.HTTP.URI:match("^/([^/]*)") } or nil
  end
  -- The operation reads the form, where the key is, and who signed it.
  if form then view.Object = nil end
  if form and release >= 20 then
    view.User, view.ObjectOwner = { Tenant = "", Id = "anonymous" }, { DisplayName = "", User = "anonymous" }
  end
  -- put_acls has read the object when its permissions are verified.
  if view.Object and not (context == "postAuth" and request.RGWOp == "put_acls") then
    view.Object = requests.object(object.Name, requests.value_of(request.HTTP.Parameters, "versionId") or "")
  end
  return view
end

-- preRequest begins a request anew, so that a test can send it several times.
local function begin(request)
  local state = getmetatable(request)
  for name, value in pairs(state.aborted or {}) do request[name] = value end
  request.Response = state.outcome or request.Response
  state.aborted, state.outcome, state.response = nil, nil, nil
end

--- What scripts are shown in a context: one table for each script that is run, and whether that is for each key of a
--- multi-object delete. A gateway that runs a script for each key runs none for the request itself.
---@param release rgw_nats.emulator.Release
---@param request table
---@param context string
---@param multi_delete? "keys"|"list"
---@return table[] views
---@return boolean by_key
function contexts.views(release, request, context, multi_delete)
  local state = getmetatable(request)
  if state.operation == "multi_object_delete" and multi_delete == "keys" then
    local views = {}
    for _, object in ipairs(request.Response.HTTPStatusCode < 400 and request.Objects or {}) do
      local view = copy(request)
      view.Object = object
      table.insert(views, view)
    end
    return views, true
  end
  if context == "postRequest" then return { request }, false end
  if context == "preRequest" then begin(request) end
  if not state.response then state.outcome, state.response = request.Response, copy(DEFAULT) end
  return { before(release, request, context) }, false
end

--- Takes an object out of a multi-object delete whose script had it skipped.
---@param request table
---@param object table
function contexts.skip(request, object)
  for place, one in ipairs(request.Objects) do
    if one == object then table.remove(request.Objects, place) end
  end
end

-- The response after the operation, of the one that it comes to by itself and the one that scripts wrote before it. An
-- operation sets the response if it fails, if its status is not 200, and if it is a get; from 20 on not over a status
-- that is written. A request that fails before its operation gets the response that is written, if that has a status.
local function response_after(release, state)
  local outcome, after = state.outcome, copy(state.response)
  local own = after.HTTPStatusCode ~= DEFAULT.HTTPStatusCode
  local kept = outcome.HTTPStatusCode < 400 and outcome.RGWCode == 0 and state.operation ~= "get_obj"
  if BEFORE[outcome.HTTPStatus] then kept = own end
  if kept then return after end
  after.RGWCode = outcome.RGWCode
  if not own or release < 20 then
    after.HTTPStatusCode, after.HTTPStatus = outcome.HTTPStatusCode, outcome.HTTPStatus
  end
  if outcome.Message ~= "" or state.operation == "post_obj" then after.Message = outcome.Message end
  return after
end

--- What a script before the operation leaves of a request: the response as it wrote it, or, if the request is aborted,
--- what there was at that point.
---@param release rgw_nats.emulator.Release
---@param request table
---@param view table
---@param aborted boolean
function contexts.finish(release, request, view, aborted)
  local state = getmetatable(request)
  local written, untouched = state.response, true
  for name, value in pairs(DEFAULT) do untouched = untouched and written[name] == value end
  if not aborted then
    request.Response = untouched and state.outcome or response_after(release, state)
    return
  end
  state.aborted = copy(request)
  for name in pairs(state.aborted) do request[name] = view[name] end
  if written.HTTPStatusCode == DEFAULT.HTTPStatusCode then
    written.HTTPStatusCode, written.RGWCode, written.HTTPStatus = 403, -1, "AccessDenied"
  end
end

return contexts
