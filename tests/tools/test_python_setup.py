"""make-venv and pip-extra."""

import subprocess
import sys


def test_makes_an_environment(run_tool, tmp_path):
    ran = run_tool("make-venv", "an environment", WAITGROUP_PYTHON=sys.executable)
    assert ran.returncode == 0, ran.stderr
    python = tmp_path / "an environment" / "bin" / "python"
    prefix = subprocess.check_output([python, "-c", "import pip, sys; print(sys.prefix)"], text=True)
    assert prefix == f"{tmp_path}/an environment\n"


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
