"""Each manifest against the schema of its kind, as strictly as `kubectl apply --validate=strict`."""

import copy

import jsonschema
import kubernetes_validate
import pytest
import yaml
from manifests import (
    DEPLOY,
    MANIFESTS,
    MOUNTS,
    PLACEHOLDERS,
    PROJECT,
    SCRIPT,
    TOML,
    containers,
    manifest,
    mounted_files,
)

#: The oldest and the newest release of Kubernetes that the validator knows.
KUBERNETES = ("1.25", kubernetes_validate.latest_version())
CRD = PROJECT.parent / "shared/data/rook-cephobjectstore-crd.yaml"
#: What Rook makes itself.
OF_ROOK = {("Secret", "rook-ceph-mon"), ("ConfigMap", "rook-ceph-mon-endpoints")}
OWN = [one for one in MANIFESTS if one[1]["kind"] != "CephObjectStore"]
#: Fields that people write, and that Kubernetes does not know.
WRONG = {
    "ConfigMap": (("dta",), {}),
    "Secret": (("stringdata",), {}),
    "PersistentVolumeClaim": (("spec", "storageClass"), "x"),
    "Service": (("spec", "port"), 80),
    "Job": (("spec", "template", "spec", "containers", 0, "comand"), ["x"]),
    "Deployment": (("spec", "template", "spec", "containers", 0, "volumeMount"), []),
}


def named(one):
    return f"{one[0]}:{one[1]['kind']}" if isinstance(one, tuple) else str(one)


def changed(document, path, value):
    """A copy with a further field."""
    document = copy.deepcopy(document)
    here = document
    for key in path[:-1]:
        here = here[key]
    here[path[-1]] = value
    return document


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("one", OWN, ids=named)
def test_a_manifest_is_valid(one, version):
    kubernetes_validate.validate(one[1], version, strict=True)


@pytest.mark.parametrize("one", OWN, ids=named)
def test_an_unknown_field_is_found(one):
    wrong = changed(one[1], *WRONG[one[1]["kind"]])
    with pytest.raises(kubernetes_validate.ValidationError, match="was unexpected|were unexpected"):
        kubernetes_validate.validate(wrong, KUBERNETES[-1], strict=True)


def strict(schema):
    """A schema of a CRD in which an unknown field is an error."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        schema.setdefault("additionalProperties", False)
    if schema.pop("x-kubernetes-int-or-string", False):
        schema["type"] = ["integer", "string"]
    return schema


@pytest.fixture(scope="module")
def object_store():
    """What checks a CephObjectStore."""
    if not CRD.exists():
        pytest.skip(f"{CRD} is not there: Rook's definition of CephObjectStore is no part of this repository")
    definition = yaml.safe_load(CRD.read_text())
    (version,) = [one for one in definition["spec"]["versions"] if one["name"] == "v1"]
    schema = strict(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"].pop("additionalProperties", None)
    return jsonschema.Draft202012Validator(schema)


def test_the_object_store_is_valid(object_store):
    object_store.validate(manifest("CephObjectStore", "my-store"))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("spec", "gateway", "additionalVolumeMount"), [], "was unexpected"),
        (("spec", "gateway", "additionalVolumeMounts", 0, "mountPath"), "/x", "was unexpected"),
        (("spec", "gateway", "additionalVolumeMounts", 0, "subPath"), "a:b", "does not match"),
        (("spec", "gateway", "additionalVolumeMounts", 0, "volumeSource", "nfs"), {}, "was unexpected"),
        (("spec", "gateway", "instances"), "2", "is not of type"),
    ],
)
def test_a_wrong_object_store_is_found(object_store, path, value, message):
    with pytest.raises(jsonschema.ValidationError, match=message):
        object_store.validate(changed(manifest("CephObjectStore", "my-store"), path, value))


def references(document):
    """The Secrets, ConfigMaps and claims that a manifest names."""
    if isinstance(document, list):
        for one in document:
            yield from references(one)
    if not isinstance(document, dict):
        return
    for key, value in document.items():
        if key in ("secretKeyRef", "secret") and isinstance(value, dict):
            yield "Secret", value.get("name") or value["secretName"]
        elif key == "configMap":
            yield "ConfigMap", value["name"]
        elif key == "persistentVolumeClaim":
            yield "PersistentVolumeClaim", value["claimName"]
        else:
            yield from references(value)


@pytest.mark.parametrize("one", MANIFESTS, ids=named)
def test_what_a_manifest_names_is_there_in_its_namespace(one):
    for kind, name in references(one[1]):
        if (kind, name) not in OF_ROOK:
            assert manifest(kind, name)["metadata"]["namespace"] == one[1]["metadata"]["namespace"]


def test_the_service_leads_to_the_server_of_rocks():
    service, deployment = manifest("Service", "rgw-nats-rocks"), manifest("Deployment", "rgw-nats-rocks")
    assert service["spec"]["selector"] == deployment["spec"]["template"]["metadata"]["labels"]
    (container,) = containers(deployment)
    (port,) = container["ports"]
    assert service["spec"]["ports"][0]["targetPort"] == port["containerPort"]
    assert str(port["containerPort"]) in container["command"]


def test_the_mounted_files_are_those_that_the_script_and_the_configuration_name():
    files = {f"/var/rgw/nats/{name}" for name in mounted_files("/var/rgw/nats")}
    assert files == {"/var/rgw/nats/rgw_nats.toml", "/var/rgw/nats/nkey_seed"}
    assert '"/var/rgw/nats/rgw_nats.toml"' in SCRIPT
    assert 'nkey_seed_file = "/var/rgw/nats/nkey_seed"' in TOML
    # The library's volume, and the image's directory.
    assert "/var/rgw/rgw_nats/?.so" in SCRIPT
    assert set(MOUNTS) == {"/var/rgw/nats", "/var/rgw/rgw_nats", "/var/rgw/spool"}
    assert 'directory = "/var/rgw/spool"' in TOML
    assert "/opt/rgw_nats/?.so" in SCRIPT
    assert "COPY rgw_nats.so /opt/rgw_nats/rgw_nats.so\n" in (DEPLOY / "rook/Containerfile").read_text()


def test_only_known_placeholders_are_images():
    for name, document in MANIFESTS:
        for container in containers(document):
            known = {PLACEHOLDERS["CEPH_IMAGE"], PLACEHOLDERS["LIBRARY_IMAGE"], "natsio/nats-box"}
            assert container["image"] in known, name
