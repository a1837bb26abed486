"""The sdist and the wheel: complete, nothing else in them, and the wheel made from the sdist works."""

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import cwaitgroup
import pytest

TOP = Path(__file__).parents[2]
MODULES = {path.name for path in (TOP / "python/cwaitgroup").iterdir() if path.suffix in (".py", ".pyi", ".typed")}

pytestmark = pytest.mark.timeout(600)


def run(*command, cwd):
    ran = subprocess.run([str(c) for c in command], capture_output=True, text=True, cwd=cwd, timeout=500)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The sdist, made from a copy of what git would commit, and of what a build leaves between it."""
    if not (TOP / ".git").exists():
        pytest.skip("only a clone knows which files are of the project")
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("sdist")
    files = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=TOP).split("\0")
    for name in filter(None, files):
        if (TOP / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((TOP / name).read_bytes())
    (copy / "python/cwaitgroup/__pycache__").mkdir()
    for built in ("_core.of-this-python.so", "libwaitgroup.so.0.1", "__pycache__/__main__.pyc"):
        (copy / "python/cwaitgroup" / built).touch()
    run(sys.executable, "-m", "build", "--no-isolation", "--sdist", "--outdir", out, cwd=copy)
    [archive] = out.iterdir()
    return archive


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """The wheel, made from the sdist and nothing else of the project."""
    unpacked, out = tmp_path_factory.mktemp("unpacked"), tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))  # not in 3.11.2
    [source] = unpacked.iterdir()
    (source / "python/cwaitgroup/_core.of-another-python.so").touch()  # as a build in the tree leaves
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", out, cwd=source)
    [archive] = out.iterdir()
    return archive


def test_what_the_sdist_contains(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames() if not archive.getmember(name).isdir()}
    kept = names - {"PKG-INFO"}
    wanted = run(
        "git",
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "core",
        "bindings/fits.h",
        "bindings/python",
        "python",
        "tests/python",
        cwd=TOP,
    ).split()
    wanted = {name for name in wanted if (TOP / name).exists()}
    assert kept == wanted | {"LICENSE", "README.md", "CHANGELOG.md", "CMakeLists.txt", "pyproject.toml"}


def test_what_the_wheel_contains(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    info = f"cwaitgroup-{cwaitgroup.__version__}.dist-info/"
    [extension] = [name for name in names if name.endswith(".so")]
    assert extension.startswith("cwaitgroup/_core.")
    library = f"cwaitgroup/libwaitgroup.so.{'.'.join(cwaitgroup.__version__.split('.')[:2])}"
    wanted = {f"cwaitgroup/{m}" for m in MODULES} | {extension, library}
    assert {name for name in names if not name.startswith(info)} == wanted
    assert info + "licenses/LICENSE" in names
    metadata = zipfile.ZipFile(wheel).read(info + "METADATA").decode()
    assert f"\nVersion: {cwaitgroup.__version__}\n" in metadata and "\nLicense-Expression: MIT\n" in metadata
    assert "Requires-Dist: " not in metadata.replace("; extra ==", "").partition("Provides-Extra")[0]


def test_the_extension_shows_one_name_only(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        [extension] = [name for name in archive.namelist() if name.endswith(".so")]
        archive.extract(extension, tmp_path)
    symbols = run("nm", "-D", "--defined-only", tmp_path / extension, cwd=tmp_path).split("\n")
    assert [line.split()[-1] for line in symbols if line] == ["PyInit__core"]


def test_the_wheel_works_in_a_clean_environment(wheel, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    run(python, "-I", "-m", "pip", "install", "--no-index", "--disable-pip-version-check", wheel, cwd=tmp_path)
    out = run(python, "-I", "-m", "cwaitgroup", cwd=tmp_path)
    assert out.splitlines()[-1] == "all well"


@pytest.mark.parametrize("named", ["", "gcc", "/no/such/cc -O2"])
def test_without_a_compiler_one_line_says_so(sdist, tmp_path, named):
    for tool in ("cmake", "make", "ninja", "env"):
        if path := shutil.which(tool):
            (tmp_path / tool).symlink_to(path)
    ran = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-index", "--no-deps", sdist],
        env=os.environ | {"PATH": str(tmp_path), "CC": named},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert ran.returncode != 0
    [line] = [line for line in (ran.stdout + ran.stderr).splitlines() if "no C compiler" in line]
    assert f"({named.partition(' ')[0] or 'cc'}" in line and "install one" in line
    assert "cwaitgroup was not built. It needs a C11 compiler" in ran.stdout + ran.stderr
