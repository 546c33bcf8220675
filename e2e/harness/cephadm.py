"""The container of a gateway as cephadm makes it: by the code of cephadm itself, as Debian 12 has it."""

import importlib.machinery
import importlib.util
import json
import logging
import os
import subprocess
import sys

import pytest

from .machine import E2E


def _load():
    """cephadm as a module. Later versions are archives of many modules, with other functions."""
    program = subprocess.run([E2E / "cephadm.sh"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    with open(program, "rb") as file:
        if not file.readline().startswith(b"#!") or file.read(4) == b"PK\x03\x04":
            pytest.skip("cephadm of this Debian is not the script that Debian 12 has")
    loader = importlib.machinery.SourceFileLoader("cephadm_of_debian", program)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    sys.modules[loader.name] = module
    loader.exec_module(module)
    # Its main function would make it.
    module.logger = logging.getLogger(loader.name)
    return module


def container_command(specification, directory, fsid, name, image, user):
    """The command by which cephadm's systemd unit would run the container of a gateway.

    Writes the files of the specification below `directory`, which is cephadm's data directory, for a user of the image.
    """
    cephadm = _load()
    arguments = {"custom_config_files": specification["custom_configs"]}
    command = [
        "--image",
        image,
        "deploy",
        "--fsid",
        fsid,
        "--name",
        f"rgw.{name}",
        "--config-json",
        json.dumps(arguments),
    ]
    context = cephadm.cephadm_init_ctx(command)
    context.data_dir, context.log_dir = str(directory), str(directory / "log")
    os.makedirs(f"{context.log_dir}/{fsid}")
    context.extra_container_args = specification["extra_container_args"]
    context.container_engine = cephadm.find_container_engine(context)
    context.container_engine.get_version(context)
    cephadm._write_custom_conf_files(context, "rgw", name, fsid, user, user)
    return cephadm.get_deployment_container(context, fsid, "rgw", name).run_cmd()
