"""The scripts for RGW, the configurations and the shell of the Jobs: each read, compiled or run by what will do so."""

import subprocess

import pytest
from manifests import (
    CEPHADM_SCRIPT,
    CEPHADM_TOML,
    MANIFESTS,
    PROJECT,
    SCRIPT,
    TOML,
    shell,
)

LUAS = ("5.3", "5.4")
JOBS = [document["metadata"]["name"] for _, document in MANIFESTS if document["kind"] == "Job"]
#: Has the module read a file, and prints how many rules it has, and what is wrong with it.
READ = """
local nats = require("rgw_nats")
-- No event, so that nothing waits for a server.
local request = { RGWOp = "list_buckets", Response = { HTTPStatusCode = 200 } }
-- Fails too once a wrong file has been read, which is looked at below.
nats.notify(request, arg[1])
local deadline = os.time() + 20
repeat
  local state = nats.status().configurations[1]
  if state and (state.notifications > 0 or state.last_error ~= "") then
    print(state.notifications .. " " .. state.last_error)
    break
  end
until os.time() > deadline
os.exit(0, false)
"""


def read(lua, text, directory):
    """What the module says of a configuration."""
    file = directory / "rgw_nats.toml"
    file.write_text(text)
    program = directory / "read.lua"
    program.write_text(f'package.cpath = "{PROJECT}/build/?.so"\n{READ}')
    done = subprocess.run([f"lua{lua}", program, file], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def with_spool(text):
    """The configuration with the lines that are commented out."""
    assert "# [spool]\n# directory = " in text
    return text.replace("# [spool]\n# directory", "[spool]\ndirectory")


@pytest.mark.parametrize("lua", LUAS)
@pytest.mark.parametrize("text", [TOML, with_spool(TOML), CEPHADM_TOML], ids=["rook", "rook-spool", "cephadm"])
def test_the_module_takes_a_configuration(lua, text, tmp_path):
    # A spool is opened where this test may write.
    text = text.replace("/var/rgw/spool", str(tmp_path / "spool"))
    assert read(lua, text, tmp_path) == "1"


@pytest.mark.parametrize("text", [TOML, CEPHADM_TOML], ids=["rook", "cephadm"])
def test_the_module_refuses_a_wrong_key(text, tmp_path):
    found = read("5.4", text.replace("nkey_seed_file", "nkey_sed_file"), tmp_path)
    assert "auth: unknown key nkey_sed_file; did you mean nkey_seed_file?" in found


@pytest.mark.parametrize("lua", LUAS)
@pytest.mark.parametrize("text", [SCRIPT, CEPHADM_SCRIPT], ids=["rook", "cephadm"])
def test_a_script_compiles(lua, text):
    subprocess.run([f"luac{lua}", "-p", "-"], input=text, text=True, check=True)


@pytest.mark.parametrize("job", JOBS)
def test_the_shell_of_a_job_is_right(job):
    program = shell(job)
    subprocess.run(["sh", "-n"], input=program, text=True, check=True)
    subprocess.run(["busybox", "sh", "-n"], input=program, text=True, check=True)
    done = subprocess.run(
        ["shellcheck", "--shell=sh", "--external-sources", "-"], input=program, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
