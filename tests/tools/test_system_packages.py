"""system-packages with a list of its own and a fake apt-get, sudo and id in front of the PATH."""

import os
import shutil
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "system-packages"
LIST = """# comment
demo  present  true
demo  absent   test -f installed
demo  other    test -f installed
more  never    false
foreign  absent:i386  test -f installed
"""
APT_GET = """echo "apt-get $*" >> calls; case "$*" in *never*) ;; *install*) touch installed ;; esac"""


@pytest.fixture
def run(tmp_path, script, run_tool):
    """Runs a copy of the tool as root or not, with or without sudo's permission; fake commands note their calls."""

    def run(*sets, root=True, sudo=False, apt_get=APT_GET, **environment):
        shutil.copy(TOOL, tmp_path / "system-packages")
        (tmp_path / "packages.txt").write_text(LIST)
        script("bin/id", f"echo {0 if root else 1000}")
        script("bin/sudo", 'shift; exec "$@"' if sudo else "exit 1")
        if apt_get:
            script("bin/apt-get", apt_get)
        path = f"{tmp_path}/bin:{os.environ['PATH'] if apt_get else tmp_path / 'coreutils'}"
        for command in () if apt_get else ("bash", "dirname"):
            (tmp_path / "coreutils").mkdir(exist_ok=True)
            (tmp_path / "coreutils" / command).symlink_to(shutil.which(command))
        return run_tool(tmp_path / "system-packages", *sets, PATH=path, **environment)

    return run


def calls(tmp_path):
    return (tmp_path / "calls").read_text() if (tmp_path / "calls").exists() else ""


@pytest.mark.parametrize("who", [{"root": True}, {"root": False, "sudo": True}])
def test_installs_what_is_missing_and_then_nothing(run, tmp_path, who):
    ran = run("demo", **who)
    assert ran.returncode == 0, ran.stderr
    assert "absent other" in ran.stdout
    assert calls(tmp_path).endswith("absent other\n") and "present" not in calls(tmp_path)
    again = run("demo", **who)
    assert (again.stdout, again.stderr, again.returncode) == ("", "", 0)
    assert calls(tmp_path).count("\n") == 1


@pytest.mark.parametrize("who", [{"root": False}, {"WAITGROUP_NO_INSTALL": "1"}])
def test_prints_the_one_command_where_it_may_not_install(run, tmp_path, who):
    ran = run("demo", **who)
    assert ran.returncode == 1
    assert "    sudo apt-get install -y absent other\n" in ran.stderr
    assert calls(tmp_path) == ""


def test_updates_the_lists_when_the_first_try_fails(run, tmp_path):
    ran = run(
        "demo",
        apt_get='echo "$*" >> calls; case "$*" in update*) touch lists;; *) test -f lists && touch installed;; esac',
    )
    assert ran.returncode == 0, ran.stderr
    assert [line.split()[0] for line in calls(tmp_path).splitlines()] == ["install", "update", "install"]


def test_tells_dpkg_of_a_foreign_architecture_first(run, tmp_path, script):
    script("bin/dpkg", 'echo "dpkg $*" >> calls')
    ran = run("foreign")
    assert ran.returncode == 0, ran.stderr
    assert [line.split()[0] for line in calls(tmp_path).splitlines()] == ["dpkg", "apt-get"]
    assert "--add-architecture i386" in calls(tmp_path)


def test_shows_why_an_installation_failed(run):
    ran = run("demo", apt_get="echo E: no space left; exit 100")
    assert ran.returncode == 1
    assert "no space left" in ran.stderr and "could not install absent other" in ran.stderr


def test_notices_that_an_installation_did_not_help(run):
    ran = run("more")
    assert ran.returncode == 1
    assert "still not found" in ran.stderr and "never" in ran.stderr


def test_names_what_is_missing_where_there_is_no_apt(run):
    ran = run("demo", apt_get=None)
    assert ran.returncode == 1
    assert "absent other" in ran.stderr and "no apt-get" in ran.stderr


def test_an_unknown_set_is_refused(run):
    ran = run("nonsense")
    assert ran.returncode == 2
    assert "no set 'nonsense'" in ran.stderr
