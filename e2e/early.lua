-- Writes what a preRequest script is shown of a request; test_emulator.py compares a gateway's with the emulator's.
local OUT = "/ceph/written.txt"
local out = assert(io.open(OUT, "a"))

local function write(...)
  local values = table.pack(...)
  for place = 1, values.n do
    local value = values[place]
    values[place] = type(value) == "string" and ("%q"):format(value) or tostring(value)
  end
  out:write("  ", table.concat(values, " "), "\n")
end

-- What 16 shows nothing of without a crash.
local function source()
  local from = RGW and Request.CopyFrom
  return from and from.Bucket, from and from.Object.Size, from and from.Object.MTime
end

local object, bucket, owner, response = Request.Object, Request.Bucket, Request.ObjectOwner, Request.Response
out:write(Request.RGWOp, "\n")
write(object and object.Name, object and object.Instance, object and object.Id, object and object.Size)
write(object and object.MTime)
write(bucket ~= nil, bucket and bucket.Name, bucket and bucket.Id, bucket and bucket.Tenant, bucket and bucket.User)
write(owner.DisplayName, RGW_ABORT_REQUEST and owner.User or owner.User.Id)
if RGW then
  local user = Request.User
  write(user ~= nil, user and user.Tenant, user and user.Id, Request.Trace.Enable)
end
write(Request.ZoneGroup.Name, #Request.Environment, #Request.Tags, #Request.GenericAttributes)
write(Request.HTTP.Method, Request.HTTP.URI, Request.HTTP.Metadata["x-amz-meta-foo"], #Request.HTTP.Parameters)
write(response.HTTPStatusCode, response.RGWCode, response.HTTPStatus, response.Message)
write(Request.UserACL ~= nil, Request.BucketACL ~= nil, Request.ObjectACL ~= nil, Request.Policy)
write(#Request.UserPolicies, Request.CopyFrom ~= nil, Request.Dialect)
write(source())
out:close()
