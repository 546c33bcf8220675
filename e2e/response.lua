-- Writes the response that a postRequest script is shown, and whether the bucket is loaded; test_emulator.py compares a
-- gateway's with the emulator's.
local OUT = "/ceph/written.txt"
local out, response, bucket = assert(io.open(OUT, "a")), Request.Response, Request.Bucket
local line = "%s %s %d %d %q %q %s\n"
out:write(line:format(Request.RGWOp, Request.HTTP.URI, response.HTTPStatusCode, response.RGWCode, response.HTTPStatus,
  response.Message, tostring(bucket ~= nil and bucket.Id ~= nil)))
out:close()
