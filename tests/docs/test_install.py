"""The three ways to install that README.md names, each into a directory of its own, where its example then runs.

Each runs in a copy of the tree; nothing of this tree is used."""

import os
import subprocess
import sys

import cwaitgroup
import pytest
from snippets import TOP, all_snippets, snippets

HANG = 600  # seconds; tells a hang from a slow machine


def readme(language):
    return next(s for s in snippets(TOP / "README.md") if s.language == language and s.output)


def run(*command, cwd, **environment):
    ran = subprocess.run(
        [str(c) for c in command],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=HANG,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_readme_names_these_commands():
    commands = "".join(s.code for s in snippets(TOP / "README.md") if s.language == "sh")
    for command in "sudo make install ", "pip install . ", "sudo luarocks make ":
        assert command in commands


@pytest.mark.parametrize("link", [[], ["-static"]], ids=["shared", "static"])
def test_c(clone, tmp_path, link):
    root = tmp_path / "root"
    run("make", "install", f"DESTDIR={root}", "PREFIX=/usr/local", cwd=clone)
    flags = run(
        "pkg-config",
        "--cflags",
        "--libs",
        *(["--static"] if link else []),
        "waitgroup",
        cwd=tmp_path,
        PKG_CONFIG_PATH=str(root / "usr/local/lib/pkgconfig"),
        PKG_CONFIG_SYSROOT_DIR=str(root),
    ).split()
    (tmp_path / "example.c").write_text(readme("c").code)
    run("cc", "-std=c11", "example.c", "-o", "example", *link, *flags, cwd=tmp_path)
    assert run("./example", cwd=tmp_path, LD_LIBRARY_PATH=str(root / "usr/local/lib")) == readme("c").output


def test_cmake(clone, tmp_path):
    run("make", "install", f"PREFIX={tmp_path / 'prefix'}", cwd=clone)
    (tmp_path / "work.c").write_text(readme("c").code)
    [snippet] = all_snippets("cmake")
    (tmp_path / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.21)\nproject(work C)\nadd_executable(work work.c)\n{snippet.code}"
    )
    run("cmake", "-B", "build", f"-DCMAKE_PREFIX_PATH={tmp_path / 'prefix'}", cwd=tmp_path)
    run("cmake", "--build", "build", cwd=tmp_path)
    assert run("build/work", cwd=tmp_path) == readme("c").output


def test_python(clone, tmp_path):
    run(
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        tmp_path / "site",
        ".",
        cwd=clone,
    )
    metadata = next((tmp_path / "site").glob("cwaitgroup-*.dist-info/METADATA")).read_text()
    assert f"\nVersion: {cwaitgroup.__version__}\n" in metadata
    (tmp_path / "example.py").write_text(readme("python").code)
    where = "import cwaitgroup; print(cwaitgroup.__file__)"
    assert str(tmp_path) in run(sys.executable, "-c", where, cwd=tmp_path, PYTHONPATH=str(tmp_path / "site"))
    assert run(sys.executable, "example.py", cwd=tmp_path, PYTHONPATH=str(tmp_path / "site")) == readme("python").output


def test_lua(clone, tmp_path):
    luarocks = "luarocks", "--lua-version=5.4", f"--tree={tmp_path / 'rocks'}"
    run(*luarocks, "make", cwd=clone)
    (tmp_path / "example.lua").write_text(readme("lua").code)
    paths = {
        "LUA_PATH": run(*luarocks, "path", "--lr-path", cwd=tmp_path).strip(),
        "LUA_CPATH": run(*luarocks, "path", "--lr-cpath", cwd=tmp_path).strip(),
    }
    assert run("lua5.4", "example.lua", cwd=tmp_path, **paths) == readme("lua").output
