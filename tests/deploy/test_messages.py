"""What is printed where the library cannot be loaded or installed: from the programs themselves, as docs/install.md has
it. e2e/test_messages.py has what a gateway prints.
"""

import os
import shutil
import struct
import subprocess

import pytest
from manifests import PROJECT
from pages import is_documented, printed_messages

LIBRARY = PROJECT / "build/rgw_nats.so"
DIST = PROJECT / "dist"
ROCK = "rgw_nats-0.1.0-1.linux-x86_64.rock"
#: Where an ELF file says its class, and for which processor it is.
CLASS, MACHINE = 4, 18
ELFCLASS32, EM_AARCH64 = b"\x01", struct.pack("<H", 183)


def require(directory, lua="lua5.3"):
    """What a Lua prints when it requires the module from a directory."""
    program = f'package.cpath = "{directory}/?.so"; require("rgw_nats")'
    done = subprocess.run([lua, "-e", program], capture_output=True, text=True)
    assert done.returncode == 1
    return done.stderr


def changed(directory, place, data):
    """A directory with the library, changed at one place."""
    library = bytearray(LIBRARY.read_bytes())
    library[place : place + len(data)] = data
    (directory / "rgw_nats.so").write_bytes(library)
    return directory


def elf_hash(name):
    """The hash of a symbol version's name."""
    value = 0
    for byte in name:
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ high >> 24) & ~high & 0xFFFFFFFF
    return struct.pack("<I", value)


def test_a_library_that_is_not_there(tmp_path):
    text = require(tmp_path)
    assert "module 'rgw_nats' not found:" in text
    assert is_documented(f'Lua ERROR: [string "x"]:1: {text.split(":", 3)[3].strip()}')


def test_a_library_for_another_processor(tmp_path):
    text = require(changed(tmp_path, MACHINE, EM_AARCH64))
    assert "cannot open shared object file: No such file or directory" in text
    assert is_documented(text)


def test_a_library_of_32_bits(tmp_path):
    text = require(changed(tmp_path, CLASS, ELFCLASS32))
    assert "wrong ELF class: ELFCLASS32" in text
    assert is_documented(text)


def test_a_library_for_a_newer_system(tmp_path):
    """It needs a version of glibc's symbols that no glibc has."""
    library = LIBRARY.read_bytes()
    needed = max(version for version in (b"GLIBC_2.28", b"GLIBC_2.34") if version + b"\0" in library)
    missing = needed.replace(b"_2.", b"_9.")
    library = library.replace(needed + b"\0", missing + b"\0").replace(elf_hash(needed), elf_hash(missing))
    (tmp_path / "rgw_nats.so").write_bytes(library)
    text = require(tmp_path)
    assert f"version `{missing.decode()}' not found" in text
    assert is_documented(text)


def test_a_library_of_an_earlier_version_for_lua_5_3(tmp_path):
    """A library that needs the function that 5.4 lacks, as those for 5.3 did."""
    source = tmp_path / "old.c"
    source.write_text(
        "void *lua_newuserdata(void *, long);\nint luaopen_rgw_nats(void *l) { lua_newuserdata(l, 1); }\n"
    )
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "rgw_nats.so", source], check=True)
    text = require(tmp_path, "lua5.4")
    assert "undefined symbol: lua_newuserdata" in text
    assert is_documented(text)


@pytest.mark.parametrize("lua", ["lua5.1", "lua5.2", "luajit"])
def test_a_lua_that_is_too_old(lua):
    text = require(LIBRARY.parent, lua)
    assert "this is an older Lua" in text
    assert is_documented(text)


def test_a_directory_without_the_permission_to_map(tmp_path):
    mount = [
        "unshare",
        "--mount",
        "sh",
        "-ec",
        'mount -t tmpfs -o noexec tmpfs "$1"; cp "$2" "$1"; lua5.3 -e "$3"',
        "-",
    ]
    program = f'package.cpath = "{tmp_path}/?.so"; require("rgw_nats")'
    done = subprocess.run([*mount, tmp_path, LIBRARY, program], capture_output=True, text=True)
    assert "failed to map segment from shared object" in done.stderr
    assert is_documented(done.stderr)


def luarocks(directory, *arguments, server=DIST, **env):
    """What luarocks prints when it installs the rock of a server."""
    command = ["luarocks", *arguments, "install", "--tree", directory / "tree", "rgw_nats", f"--only-server={server}"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | env)
    assert done.returncode != 0
    return done.stderr


def test_a_server_without_a_rock_for_the_processor(tmp_path):
    """Its only rock is called that of another one."""
    server = tmp_path / "server"
    server.mkdir()
    shutil.copy(DIST / ROCK, server / ROCK.replace("x86_64", "s390x"))
    subprocess.run(["luarocks-admin", "make_manifest", server], check=True, capture_output=True)
    text = luarocks(tmp_path, "--lua-version", "5.4", server=server)
    assert "No results matching query were found for Lua 5.4." in text
    assert is_documented(text)


def test_a_luarocks_for_lua_5_1(tmp_path):
    text = luarocks(tmp_path, "--lua-version", "5.1")
    assert "Could not satisfy dependency lua >= 5.3, < 5.5" in text
    assert is_documented(text)


def test_a_machine_without_unzip(tmp_path):
    """luarocks finds all programs but that one."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for directory in ("/usr/bin", "/bin"):
        for name in os.listdir(directory):
            if name != "unzip" and not (programs / name).exists():
                (programs / name).symlink_to(f"{directory}/{name}")
    text = luarocks(tmp_path, "--lua-version", "5.3", PATH=str(programs))
    assert "'unzip -n' program not found." in text
    assert is_documented(text)


def test_a_build_without_a_compiler(tmp_path):
    script = PROJECT / "scripts/build-module.sh"
    done = subprocess.run(["sh", script, tmp_path / "x"], capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})
    assert done.returncode == 1
    assert is_documented(done.stderr)


def test_a_configuration_that_is_not_there(tmp_path):
    program = f'package.cpath = "{LIBRARY.parent}/?.so"; local nats = require("rgw_nats")'
    call = 'nats.notify({ RGWOp = "list_buckets" }, "/nowhere/rgw_nats.toml"); io.popen("sleep 0.5"):close()'
    done = subprocess.run(["lua5.4", "-e", f"{program} {call}"], capture_output=True, text=True, check=True)
    assert "No such file or directory (os error 2)" in done.stderr
    assert is_documented(done.stderr)


@pytest.mark.parametrize("release", ["16.2", "18.2", "20.2"])
def test_a_script_in_the_context_before_the_operation(release):
    """In the emulator."""
    program = f"""
    package.cpath, package.path = "{LIBRARY.parent}/?.so", "{PROJECT}/lua/?.lua"
    local gateway = require("rgw_nats.emulator").new("{release}")
    local script = [[assert(require("rgw_nats").notify(Request, {{ url = "nats://127.0.0.1:1" }}))]]
    io.stderr:write(select(2, gateway:run(script, gateway:request("put_obj"), "preRequest")))
    """
    done = subprocess.run(["lua5.3", "-e", program], capture_output=True, text=True)
    assert "put this script with --context=postRequest" in done.stderr
    assert is_documented(done.stderr)


def test_other_texts_are_not_documented():
    assert len(printed_messages()) > 25
    assert not is_documented("rgw_nats: something else went wrong")
