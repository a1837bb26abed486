"""Prosody: its runners wait by the adapter waitgroup.loops.prosody."""

import os
import shutil

import pytest
from conftest import EMBEDDING, HERE, LUA
from snippets import indented

CONFIGURATION = """
run_as_root = true
pidfile = "{directory}/prosody.pid"
data_path = "{directory}/data"
certificates = "{directory}"
plugin_paths = {{ "{plugins}" }}
modules_enabled = {{ "{module}" }}
modules_disabled = {{ "s2s", "c2s", "offline", "tls" }}
interfaces = {{ "127.0.0.1" }}
log = {{ info = "*console" }}
VirtualHost "localhost"
"""


@pytest.fixture
def prosody(serve, tmp_path):
    """prosody(plugins, module) runs it with that module."""
    program = shutil.which("prosody")
    if not program:
        pytest.skip("prosody is not there")
    if not shutil.which(f"lua{LUA}"):
        pytest.skip(f"there is no lua{LUA} to run prosody")

    def start(plugins, module):
        (tmp_path / "data").mkdir()
        configuration = tmp_path / "prosody.cfg.lua"
        configuration.write_text(CONFIGURATION.format(directory=tmp_path, plugins=plugins, module=module))
        return serve([f"lua{LUA}", program, "-F", "--config", configuration], HOME=str(tmp_path))

    return start


def test_its_runners_wait_and_its_loop_goes_on(prosody):
    server = prosody(HERE / "prosody", "tour")
    expected = ["<blocks: true true>", "<async: true 1 2 3>", "<joined: true 3>", "<tour: true ok>", "<alone: true ok>"]
    names = [line.split(":")[0] for line in expected]
    server.wait_until(lambda: all(name in server.log() for name in names))
    for line in expected:
        assert line in server.log(), server.log()
    assert server.stop() == 0, server.log()
    assert "error" not in server.log().lower(), server.log()


def test_the_example_of_the_guide(prosody, tmp_path):
    [module] = indented(EMBEDDING, "Prosody")
    (tmp_path / "mod_guide.lua").write_text(module)
    server = prosody(tmp_path, "guide")
    server.wait_until(lambda: f"{os.path.getsize('/etc/hosts')} bytes" in server.log())
    assert server.stop() == 0, server.log()
