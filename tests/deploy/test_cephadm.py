"""The specification for cephadm, read by Ceph's own code of each release, as `ceph orch apply` reads it."""

import json
import subprocess

import pytest
from manifests import CEPHADM_FILE, CEPHADM_SCRIPT, CEPHADM_TOML, PROJECT, cephadm

READ = """
import json, sys
from ceph.deployment.service_spec import ServiceSpec
specification = ServiceSpec.from_json(json.load(sys.stdin))
specification.validate()
json.dump(specification.to_json(), sys.stdout)
"""


@pytest.fixture(scope="module", params=["16.2", "18.2", "20.2"])
def ceph_reads(request):
    """What Ceph's own code of a release makes of a specification; an error is its last line."""
    command = [PROJECT / "e2e/rootfs.sh", request.param]
    root = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def read(specification):
        python = ["chroot", root, "python3", "-B", "-c", READ]
        done = subprocess.run(python, input=json.dumps(specification), capture_output=True, text=True)
        if done.returncode:
            raise ValueError(done.stderr.strip().splitlines()[-1])
        return json.loads(done.stdout)

    return read


def test_ceph_takes_all_of_the_specification(ceph_reads):
    taken = ceph_reads(cephadm())
    assert taken["service_name"] == "rgw.s3"
    assert taken["spec"].items() >= cephadm()["spec"].items()
    for key in ("placement", "extra_container_args", "custom_configs"):
        assert taken[key] == cephadm()[key]


@pytest.mark.parametrize(
    "wrong",
    [
        {"extra_container_arg": []},
        {"spec": {"rgw_frontent_port": 8080}},
        {"custom_configs": [{"path": "/etc/rgw_nats.toml"}]},
        {"placement": {"lable": "rgw"}},
    ],
)
def test_ceph_refuses_a_wrong_specification(ceph_reads, wrong):
    with pytest.raises(ValueError, match="Error|unexpected|invalid"):
        ceph_reads(cephadm() | wrong)


def test_an_option_and_its_value_are_two_items():
    arguments = cephadm()["extra_container_args"]
    assert arguments[::2] == ["-v"] * (len(arguments) // 2)
    assert not any(" " in argument for argument in arguments)


def test_the_script_and_the_configuration_name_what_is_mounted():
    (volume,) = cephadm()["extra_container_args"][1::2]
    host, inside, options = volume.split(":")
    assert (host, inside) == ("/opt/rgw_nats", "/opt/rgw_nats")
    assert set(options.split(",")) == {"ro", "z"}
    assert f'"{inside}/?.so;"' in CEPHADM_SCRIPT
    assert f'"{CEPHADM_FILE["mount_path"]}"' in CEPHADM_SCRIPT
    assert f'nkey_seed_file = "{inside}/nkey_seed"' in CEPHADM_TOML
    # What cephadm mounts there itself can hide a file.
    assert not CEPHADM_FILE["mount_path"].startswith(("/etc/ceph/", "/var/lib/ceph/", "/var/log/ceph/"))
