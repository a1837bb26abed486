"""The cluster example against sha256sum."""

import subprocess

import pytest
from test_checksum import TOP, sha256sum
from test_checksum import tree as tree

pytest.importorskip("distributed")
pytestmark = pytest.mark.parametrize("command", ["python"], indirect=True)  # Dask is for Python


def test_equals_sha256sum(example, tree):
    ran = example("cluster", tree / "sub")
    assert (ran.stderr, ran.returncode) == ("", 0)
    assert ran.stdout == sha256sum(*(str(tree / "sub" / name) for name in ("one", "sub/two words")))


def test_sha256sum_accepts_it_for_the_sources_of_this_project(example):
    ran = example("cluster", TOP / "core" / "include")
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.splitlines()) >= len(list(TOP.glob("core/include/**/*.h")))
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet"], input=ran.stdout, text=True, check=True)


def test_stops_at_a_file_that_cannot_be_read(example, tree):
    (tree / "sub" / "dangling").symlink_to("nowhere")
    ran = example("cluster", tree)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert f"cluster: {tree}/sub/dangling: No such file or directory" in ran.stderr.splitlines()
