"""What docs/kubernetes.md and docs/cephadm.md show is what deploy/ has, and their commands are for it."""

import re
import shlex
import subprocess

import kubernetes_validate
import pytest
import yaml
from manifests import DEPLOY, MANIFESTS, PLACEHOLDERS, PROJECT
from pages import PAGES, blocks, commands

#: The page that leads to them.
INSTALL = PROJECT / "docs/install.md"
#: What Rook and NATS's chart make.
OF_OTHERS = {
    "cephobjectstore/my-store",
    "deployment/nats-box",
    "deployment/rook-ceph-tools",
    "service/rook-ceph-rgw-my-store",
}
#: What the pages make themselves, or speak of.
VARIABLES = {
    "library": PLACEHOLDERS["LIBRARY_IMAGE"],
    "ceph": PLACEHOLDERS["CEPH_IMAGE"],
    "public": PLACEHOLDERS["GATEWAY_NKEY"],
    "seed": PLACEHOLDERS["GATEWAY_SEED"],
    "password": PLACEHOLDERS["ADMIN_PASSWORD"],
}


def lines_of(text):
    """The lines without their common indentation, as one text with line ends around."""
    lines = text.strip("\n").splitlines()
    indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    return "\n" + "\n".join(line[indent:] for line in lines) + "\n"


def is_excerpt(excerpt, text):
    """Whether lines stand in a text one after another, at any depth of indentation."""
    wanted, lines = excerpt.strip("\n").splitlines(), text.splitlines()
    for start in range(len(lines) - len(wanted) + 1):
        part = "\n".join(lines[start : start + len(wanted)])
        if part.strip() and lines_of(part) == lines_of(excerpt):
            return True
    return False


EXCERPTS = [block for page in PAGES for block in blocks(page) if block.language != "sh"]


@pytest.mark.parametrize("block", EXCERPTS, ids=lambda block: f"{block.page}:{block.line}")
def test_an_excerpt_is_in_a_file(block):
    files = [path for path in DEPLOY.rglob("*") if path.is_file()]
    assert any(is_excerpt(block.text, path.read_text()) for path in files)


def test_the_pages_show_excerpts():
    assert {block.language for block in EXCERPTS} == {"yaml", "toml", "lua"}
    assert not is_excerpt("spec:\n  nothing: 1", "spec:\n  something: 1")


@pytest.mark.parametrize("page", [*PAGES, INSTALL], ids=lambda page: page.name)
def test_the_commands_are_right_shell(page):
    program = commands(page)
    assert program.count("\n") > 10
    # SC2029: that a variable is expanded here and not at the other end of ssh is meant.
    command = ["shellcheck", "--shell=sh", "--exclude=SC2029", "-"]
    done = subprocess.run(command, input=program, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("page", [*PAGES, INSTALL], ids=lambda page: page.name)
def test_the_files_that_commands_and_links_name_are_there(page):
    named = re.findall(r"(?:tests/)?\bdeploy/[\w/.-]+\w|e2e/\w+\.py", page.read_text())
    assert len(named) > 2
    for path in named:
        assert (PROJECT / path).exists(), path
    for path, heading in re.findall(r"\]\((?!https:)([\w./-]*)(#[\w-]+)?\)", page.read_text()):
        target = page.parent / path if path else page
        assert target.exists(), path
        if heading:
            assert heading in headings(target), f"{path}{heading}"


def headings(page):
    """The headings of a page as links have them."""
    found = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {"#" + re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("lua", ["5.3", "5.4"])
def test_the_script_of_the_page_about_installing_compiles(lua):
    (script,) = [block.text for block in blocks(INSTALL) if block.language == "lua"]
    subprocess.run([f"luac{lua}", "-p", "-"], input=script, text=True, check=True)


def test_the_commands_for_luarocks_are_those_that_a_gateway_of_the_tests_runs():
    """e2e/test_install.py has them run."""
    (loop,) = re.findall(r"^for file in .*?^done$", commands(INSTALL), re.MULTILINE | re.DOTALL)
    test = (PROJECT / "e2e/test_install.py").read_text()
    (run,) = re.findall(r'CONFIGURE_LUAROCKS = f"""\n(.*?)\n"""', test, re.DOTALL)
    run = run.replace("{{", "{").replace("}}", "}").replace("{ROCKS}", "/opt/rgw_nats/rocks")
    assert re.sub(r";?\s+", " ", loop) == re.sub(r";?\s+", " ", run)


def test_the_resources_that_commands_name_are_made():
    made = {f"{document['kind'].lower()}/{document['metadata']['name']}" for _, document in MANIFESTS}
    named = re.findall(r"\b((?:job|deployment|service|cephobjectstore)/[\w-]+)", commands(PAGES[0]))
    assert len(named) > 8
    assert set(named) <= made | OF_OTHERS


def test_each_manifest_is_applied():
    """In the text of its page, to the cluster, or to a file for Helm."""
    used = set(re.findall(r"deploy/rook/([\w-]+\.yaml)", commands(PAGES[0])))
    assert used == {path.name for path in (DEPLOY / "rook").glob("*.yaml")}


CAPTURED = {"check": True, "capture_output": True, "text": True}
FILLED = re.findall(r"^sed .*deploy/rook/[\w-]+\.yaml", commands(PAGES[0]), re.MULTILINE)


@pytest.mark.parametrize("command", FILLED, ids=lambda command: command.rsplit("/", 1)[1])
def test_a_command_fills_each_placeholder(command):
    """Runs the part of the command that is before kubectl's."""
    done = subprocess.run(["sh", "-c", command], env=VARIABLES | {"PATH": "/usr/bin:/bin"}, cwd=PROJECT, **CAPTURED)
    # What stands in comments is there to be read.
    text = re.sub(r"^\s*#.*\n", "", done.stdout, flags=re.MULTILINE)
    assert not [name for name in PLACEHOLDERS if name in text]
    if "nats-values" not in command:
        for document in yaml.safe_load_all(text):
            kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_what_has_a_placeholder_is_filled_before_it_is_applied():
    for path in (DEPLOY / "rook").glob("*.yaml"):
        text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE)
        has = any(name in text for name in PLACEHOLDERS)
        assert has == any(command.endswith(path.name) for command in FILLED), path.name


def test_the_image_is_built_of_the_directory_that_the_page_makes():
    program = commands(PAGES[0])
    assert "-d image\n" in program
    assert "cp -r dist/. image/rocks\n" in program
    builds = [shlex.split(line) for line in program.splitlines() if line.startswith("podman build ")]
    assert len(builds) == 2
    for build in builds:
        assert build[-3:] == ["--file", "deploy/rook/Containerfile", "image"]


def test_the_zone_is_the_stores():
    (job,) = [
        document
        for _, document in MANIFESTS
        if document["metadata"]["name"] == "rgw-nats-script" and "spec" in document
    ]
    (store,) = [
        one["value"] for one in job["spec"]["template"]["spec"]["containers"][0]["env"] if one["name"] == "STORE"
    ]
    zone = f"--rgw-realm={store} --rgw-zonegroup={store} --rgw-zone={store}"
    assert set(re.findall(r'zone="([^"]*)"', commands(PAGES[0]))) == {zone}
