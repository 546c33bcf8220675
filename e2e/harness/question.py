"""Questions to the module in a gateway: what its functions return there."""

import json

from .cluster import FIND_MODULE


def ask(cluster, s3, code):
    """What a script of these lines returns, as the next request runs it."""
    report = cluster.machine.path("/ceph/answer.json")
    report.write_text("")
    report.chmod(0o666)
    cluster.put_script(f"""{FIND_MODULE}
if Request.RGWOp ~= "list_bucket" then return end
local nats = require("rgw_nats")
local function show(value)
  if type(value) ~= "table" then return ("%q"):format(tostring(value)):gsub("\\n", "n") end
  local parts, list = {{}}, #value > 0
  for key, one in pairs(value) do
    parts[#parts + 1] = list and show(one) or ('"%s":%s'):format(key, show(one))
  end
  return (list and "[%s]" or "{{%s}}"):format(table.concat(parts, ","))
end
local function answer() {code} end
local file = io.open("/ceph/answer.json", "w")
file:write(show({{ answer() }}))
file:close()
""")
    s3.list_objects(Bucket="bkt")
    # The next request on the connection waits for the script.
    s3.list_buckets()
    return json.loads(report.read_text())
