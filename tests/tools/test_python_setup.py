"""make-venv and pip-extra."""

import subprocess
import sys


def test_the_environment_can_import_what_is_built_in_the_tree(run_tool, tmp_path):
    ran = run_tool("make-venv", "an environment", WAITGROUP_PYTHON=sys.executable)
    assert ran.returncode == 0, ran.stderr
    where = "import sys, cwaitgroup; print(sys.prefix); print(cwaitgroup.__file__)"
    python = tmp_path / "an environment" / "bin" / "python"
    prefix, package = subprocess.check_output([python, "-c", where], text=True, cwd=tmp_path).splitlines()
    assert prefix == str(tmp_path / "an environment")
    assert package.endswith("/python/cwaitgroup/__init__.py")


def test_without_a_suitable_python_it_says_so(run_tool, script, tmp_path):
    old = script("python3.10", "exit 1")
    ran = run_tool("make-venv", "environment", WAITGROUP_PYTHON=str(old), WAITGROUP_NO_INSTALL="1")
    assert ran.returncode == 1
    assert "No Python 3.11 or newer" in ran.stderr and "WAITGROUP_PYTHON" in ran.stderr
    assert not (tmp_path / "environment").exists()


def test_an_unknown_extra_is_refused_by_name(run_tool, tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\n[project]\nname = "x"\n[project.optional-dependencies]\ntest = []\n'
    )
    ran = run_tool("pip-extra", sys.executable, "tset")
    assert ran.returncode == 1
    assert "no optional requirements 'tset', only ['test']" in ran.stderr
