"""The files of deploy/ as data."""

from pathlib import Path

import yaml

PROJECT = Path(__file__).resolve().parent.parent.parent
DEPLOY = PROJECT / "deploy"
ROOK = DEPLOY / "rook"
#: Values of NATS's Helm chart, no manifest.
VALUES = ROOK / "nats-values.yaml"
#: What an administrator replaces, and what a test puts there.
PLACEHOLDERS = {
    "CEPH_IMAGE": "registry.example/ceph:v20",
    "LIBRARY_IMAGE": "registry.example/rgw_nats",
    "GATEWAY_NKEY": "UCM6JPG2KJOJEPV6PMPTHOQID6BIEWNMIYCTZQY6QCE2ND2DHSJELCM3",
    "GATEWAY_SEED": "SUAF5CI5YAEJVZY2BK4CTMXAY7YONFHDKRAJIU4RCL24RYFD2KHC4WECYI",
    "ADMIN_PASSWORD": "0123456789abcdef",
}


def filled(path):
    """The text of a file with something in the place of each placeholder."""
    text = path.read_text()
    for name, value in PLACEHOLDERS.items():
        text = text.replace(name, value)
    return text


def documents(path):
    """The documents of a file of YAML, filled."""
    return list(yaml.safe_load_all(filled(path)))


#: All manifests for Kubernetes: the file's name and the document.
MANIFESTS = [
    (path.name, document) for path in sorted(ROOK.glob("*.yaml")) if path != VALUES for document in documents(path)
]


def manifest(kind, name):
    """The one manifest of a kind and name."""
    (found,) = [one for _, one in MANIFESTS if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def containers(document):
    """The containers of a Job or a Deployment."""
    return document.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])


def shell(name):
    """The shell program of a Job."""
    (container,) = containers(manifest("Job", name))
    assert container["command"] == ["sh", "-ec"]
    (program,) = container["args"]
    return program


def job_environment(name, values=None):
    """The environment of a Job's container, with `values` for what is in Secrets of others."""
    (container,) = containers(manifest("Job", name))
    found = {}
    for variable in container.get("env", []):
        reference = variable.get("valueFrom", {}).get("secretKeyRef")
        if not reference:
            found[variable["name"]] = variable["value"]
        elif variable["name"] in (values or {}):
            found[variable["name"]] = values[variable["name"]]
        else:
            found[variable["name"]] = manifest("Secret", reference["name"])["stringData"][reference["key"]]
    return found


#: The configuration of the gateways, their script, and the stream and its consumer.
TOML = manifest("ConfigMap", "rgw-nats")["data"]["rgw_nats.toml"]
SCRIPT = manifest("ConfigMap", "rgw-nats-script")["data"]["notify.lua"]
STREAM = manifest("ConfigMap", "rgw-nats-stream")["data"]["stream.json"]
CONSUMER = manifest("ConfigMap", "rgw-nats-stream")["data"]["consumer.json"]
#: Where Rook mounts the volumes, by their sources.
MOUNTS = {
    "/var/rgw/" + one["subPath"]: one["volumeSource"]
    for one in manifest("CephObjectStore", "my-store")["spec"]["gateway"]["additionalVolumeMounts"]
}


def mounted_files(mount):
    """The files of a projected volume of the gateways: their names and contents."""
    files = {}
    for source in MOUNTS[mount]["projected"]["sources"]:
        ((kind, value),) = source.items()
        found = {"configMap": ("ConfigMap", "data"), "secret": ("Secret", "stringData")}[kind]
        files |= manifest(found[0], value["name"])[found[1]]
    return files


def cephadm():
    """The specification for cephadm."""
    (specification,) = documents(DEPLOY / "cephadm/gateways.yaml")
    return specification


#: The configuration and the script of cephadm's gateways.
(CEPHADM_FILE,) = cephadm()["custom_configs"]
CEPHADM_TOML = CEPHADM_FILE["content"]
CEPHADM_SCRIPT = (DEPLOY / "cephadm/notify.lua").read_text()
