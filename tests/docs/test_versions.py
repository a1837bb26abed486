"""The version is written once, in the header; everything else agrees with it."""

import ctypes
import os
import re
import subprocess

import cwaitgroup
from snippets import CORE_A, TOP

VERSION = re.search(
    r'^#define WG_VERSION "(\d+\.\d+\.\d+)"$', (TOP / "core/include/waitgroup/status.h").read_text(), re.MULTILINE
)[1]
CORE = CORE_A.parent


def test_shared_library():
    library = ctypes.CDLL(str(CORE / f"libwaitgroup.so.{VERSION}"))
    library.wg_version.restype = ctypes.c_char_p
    assert library.wg_version() == VERSION.encode()


def test_pkg_config():
    search = os.environ | {"PKG_CONFIG_PATH": str(CORE)}
    ran = subprocess.run(["pkg-config", "--modversion", "waitgroup"], env=search, capture_output=True, text=True)
    assert ran.stdout.strip() == VERSION


def test_python_package():
    assert cwaitgroup.__version__ == VERSION


def test_lua_module():
    ran = subprocess.run(
        [TOP / "tools/in-tree-lua", "-e", 'io.write(require("waitgroup")._VERSION)'], capture_output=True, text=True
    )
    assert VERSION in ran.stdout.split()


def test_nobody_writes_it_a_second_time():
    files = subprocess.run(
        ["git", "grep", "-lF", VERSION, "--", ":!CHANGELOG.md", ":!docs/benchmarks.json"],
        cwd=TOP,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert files == ["core/include/waitgroup/status.h"]
