"""Several interpreters of Python, and a Lua state, feed one group: tests/hub/interpreters.c."""

import sys

import pytest
from conftest import HERE

OWN_GIL = pytest.param(
    "own",
    marks=pytest.mark.skipif(
        sys.version_info < (3, 12), reason="interpreters with a GIL of their own came with Python 3.12"
    ),
)


@pytest.mark.parametrize("gil", ["shared", OWN_GIL])
def test_interpreters_feed_one_group_and_end(three_languages, gil):
    ran = three_languages(HERE / "interpreters.c")(gil)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@pytest.mark.skipif(
    not hasattr(sys, "_is_gil_enabled") or sys._is_gil_enabled(), reason="this build of Python has a GIL"
)
def test_importing_the_package_leaves_the_gil_off():
    import cwaitgroup

    with cwaitgroup.ErrGroup(limit=4) as group:
        assert group.map(abs, range(-100, 0)) == list(range(100, 0, -1))
    assert not sys._is_gil_enabled()
