"""Build the sdist and, out of it, a wheel for each CPython and platform, and check what was built.

usage: wheels.py DIRECTORY [HEADERS...]

The sdist and the wheels are left in DIRECTORY, in place of those of earlier runs. HEADERS is a directory with the
headers of a CPython, such as /usr/include/python3.13. Without any, it is each that this machine has: the system's,
pyenv's, and those that tools/python-suites has brought. The interpreter itself need not be there.

zig, from PyPI, is the compiler for all platforms: it has the headers and the symbols of each version of the C library.
auditwheel then looks whether a wheel keeps to what its name promises. It leaves libwaitgroup alone, which lies beside
the extension and must keep its name: by that name all modules of a process share the one core (docs/embedding.md).
"""

import contextlib
import glob
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

TOP = Path(__file__).resolve().parents[1]
BUILD = TOP / "build/wheels"
# Where headers of interpreters may be. What comes first is taken.
PLACES = [
    "/usr/local/include/python3.*",
    "/usr/include/python3.*",
    os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv")) + "/versions/*/include/python3.*",
    f"{TOP}/build/debian/*/usr/include/python3.*",
    f"{TOP}/build/debian/*/opt/python*/include/python3.*",
]


class Platform(NamedTuple):
    tag: str  # what auditwheel is to prove
    zig: str  # zig's name, with the oldest C library that the wheel runs on
    triplet: str  # CPython's name, as in _core.cpython-313-x86_64-linux-gnu.so

    @property
    def machine(self) -> str:
        return self.triplet.partition("-")[0]


PLATFORMS = [
    platform
    for machine in ("x86_64", "aarch64")
    for platform in (
        Platform(f"manylinux_2_17_{machine}", f"{machine}-linux-gnu.2.17", f"{machine}-linux-gnu"),
        Platform(f"musllinux_1_2_{machine}", f"{machine}-linux-musl", f"{machine}-linux-musl"),
    )
]


class Interpreter(NamedTuple):
    tag: str  # cp313, cp313t
    headers: Path

    @property
    def python_tag(self) -> str:
        return self.tag.rstrip("t")


def run(*command: object, cwd: Path = TOP) -> None:
    """Run a program of this environment, silently unless it fails."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | {"PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if ran.returncode != 0:
        raise SystemExit(f"{ran.stdout}\nwheels.py: failed: {' '.join(map(str, command))}")


def module(name: str, *arguments: object, cwd: Path = TOP) -> None:
    run(sys.executable, "-m", name, *arguments, cwd=cwd)


def config_of(headers: Path) -> Path:
    """The pyconfig.h of these headers. Debian's only includes the one of the architecture, which lies elsewhere."""
    config = headers / "pyconfig.h"
    found = re.search(r"include <(x86_64-linux-gnu/[^>]*)>", config.read_text())
    return headers.parent / found[1] if found else config


def interpreter(headers: Path) -> Interpreter | None:
    """What these headers are of, or None if it is no CPython that we build for."""
    with contextlib.suppress(OSError):
        version = dict(re.findall(r"#define PY_(\w+)_VERSION\s+(\d+)", (headers / "patchlevel.h").read_text()))
        free_threaded = re.search(r"^#define Py_GIL_DISABLED 1", config_of(headers).read_text(), re.MULTILINE)
        if int(version["MAJOR"]) == 3 and int(version["MINOR"]) >= 11:
            return Interpreter(f"cp3{version['MINOR']}{'t' if free_threaded else ''}", headers)
    return None


def interpreters(places: list[str]) -> list[Interpreter]:
    found: dict[str, Interpreter] = {}
    for place in places:
        for headers in sorted(glob.glob(place)):
            if one := interpreter(Path(headers)):
                found.setdefault(one.tag, one)
    return sorted(found.values())


def stage_headers(python: Interpreter) -> Path:
    """A copy of the headers, with the pyconfig.h of this machine in it. It serves for all platforms: they are 64-bit
    Linux with the low byte first, and what else differs between their pyconfig.h (docs/python-abi.md) is for the
    interpreter's own sources."""
    copy = BUILD / "headers" / python.tag
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(python.headers, copy)
    shutil.copyfile(config_of(python.headers), copy / "pyconfig.h")
    return copy


def write_unwinder(directory: Path, compiler: Path) -> Path:
    """A library to link with in place of glibc's companion libgcc_s, which zig has none of and every system does: our
    frames are unwound by it when a thread ends."""
    source, library = directory / "unwinder.c", directory / "libgcc_s.so.1"
    source.write_text("void __gcc_personality_v0(void) {}\nvoid _Unwind_Resume(void) {}\n")
    run(compiler, "-shared", "-fPIC", "-nostdlib", "-Wl,-soname,libgcc_s.so.1", "-o", library, source)
    return library


def write_toolchain(platform: Platform) -> Path:
    """What CMake needs to know to compile for `platform`."""
    directory = BUILD / "toolchains" / platform.tag
    directory.mkdir(parents=True, exist_ok=True)
    compiler = directory / "cc"
    compiler.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ziglang cc -target {platform.zig} "$@"\n')
    compiler.chmod(0o755)
    # Stripped by the linker: there may be no `strip` for that architecture.
    flags = f"-s {write_unwinder(directory, compiler)}" if "gnu" in platform.zig else "-s"
    lines = [
        "set(CMAKE_SYSTEM_NAME Linux)",
        f"set(CMAKE_SYSTEM_PROCESSOR {platform.machine})",
        f'set(CMAKE_C_COMPILER "{compiler}")',
        f'set(CMAKE_SHARED_LINKER_FLAGS_INIT "{flags}")',
        f'set(CMAKE_MODULE_LINKER_FLAGS_INIT "{flags}")',
    ]
    toolchain = directory / "toolchain.cmake"
    toolchain.write_text("\n".join(lines) + "\n")
    return toolchain


def build_sdist(out: Path) -> Path:
    """Build the sdist and unpack it; the sources are then all that the wheels are made of."""
    module("build", "--sdist", "--no-isolation", "--outdir", out)
    [archive] = out.glob("*.tar.gz")
    unpacked = BUILD / "sources"
    shutil.rmtree(unpacked, ignore_errors=True)
    with tarfile.open(archive) as sdist:
        sdist.extractall(unpacked)
    [sources] = unpacked.iterdir()
    return sources


def build_wheel(sources: Path, python: Interpreter, headers: Path, platform: Platform) -> Path:
    """A wheel whose name promises nothing yet about the C library."""
    raw = BUILD / "raw" / f"{python.tag}-{platform.tag}"
    shutil.rmtree(raw, ignore_errors=True)
    settings = {
        "wheel.tags": f"{python.python_tag}-{python.tag}-linux_{platform.machine}",
        "build-dir": BUILD / "cmake" / platform.tag,
        "install.strip": "false",
        "cmake.toolchain-file": write_toolchain(platform),
        "cmake.python-hints": "false",
        "cmake.define.WAITGROUP_PYTHON_INCLUDE": headers,
        "cmake.define.WAITGROUP_PYTHON_SOABI": f"cpython-{python.tag.removeprefix('cp')}-{platform.triplet}",
    }
    options = [f"-C{name}={value}" for name, value in settings.items()]
    module("build", "--wheel", "--no-isolation", "--outdir", raw, *options, cwd=sources)
    [wheel] = raw.glob("*.whl")
    return wheel


def soname(version: str) -> str:
    return f"libwaitgroup.so.{version.rpartition('.')[0]}"


def contents_wanted(wheel: Path, sources: Path, platform: Platform) -> set[str]:
    name, version, _, abi, _ = wheel.name.removesuffix(".whl").split("-", 4)
    info = f"{name}-{version}.dist-info/"
    package = {f"{name}/{path.name}" for path in (sources / "python" / name).iterdir()}
    built = {f"{name}/_core.cpython-{abi.removeprefix('cp')}-{platform.triplet}.so", f"{name}/{soname(version)}"}
    described = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
    return package | built | {info + file for file in described}


def check_wheel(wheel: Path, sources: Path, platform: Platform) -> None:
    """Nothing is missing, nothing else is in it, and the extension finds the core where it lies and by its name."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        [extension] = [archive.read(name) for name in names if name.endswith(".so")]
        metadata = archive.read(next(name for name in names if name.endswith("/METADATA"))).decode()
    if different := names ^ contents_wanted(wheel, sources, platform):
        raise SystemExit(f"wheels.py: {wheel.name} lacks these, or should not have them: {sorted(different)}")
    for word in (soname(wheel.name.split("-")[1]), "$ORIGIN"):
        if word.encode() not in extension:
            raise SystemExit(f"wheels.py: the extension in {wheel.name} does not say {word}")
    if f"\nVersion: {wheel.name.split('-')[1]}\n" not in metadata:
        raise SystemExit(f"wheels.py: the metadata of {wheel.name} has another version")


def make_wheel(out: Path, sources: Path, python: Interpreter, headers: Path, platform: Platform) -> None:
    raw = build_wheel(sources, python, headers, platform)
    # `auto`: auditwheel knows the names of this machine's own platform only, and yet reads the wheels of others. musl's
    # loader is libc.so and whatever else is called libc; another one on this machine must not be taken for it.
    options = ["--plat", "auto", "--exclude", "libwaitgroup.so.*", "--exclude", "libc.so", "--wheel-dir", out]
    module("auditwheel", "repair", *options, raw)
    wheels = list(out.glob(f"*-{python.tag}-*{platform.tag}.whl"))
    if len(wheels) != 1:
        raise SystemExit(
            f"wheels.py: {raw.name} does not keep to {platform.tag}: {[w.name for w in out.glob('*.whl')]}"
        )
    [wheel] = wheels
    check_wheel(wheel, sources, platform)
    print(f"  wheel    {wheel.name}", flush=True)


def main(arguments: list[str]) -> int:
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    pythons = interpreters(arguments[1:] or PLACES)
    if not pythons:
        raise SystemExit(f"wheels.py: no headers of a CPython of at least 3.11 in {' '.join(arguments[1:] or PLACES)}")
    out = Path(arguments[0]).resolve()
    for old in [*out.glob("cwaitgroup-*.whl"), *out.glob("cwaitgroup-*.tar.gz")]:
        old.unlink()
    # Files in an sdist have one time, by which no build would see that they have changed since the last run.
    shutil.rmtree(BUILD / "cmake", ignore_errors=True)
    sources = build_sdist(out)
    print(f"  sdist    {next(out.glob('*.tar.gz')).name}", flush=True)
    for python in pythons:
        headers = stage_headers(python)
        for platform in PLATFORMS:
            make_wheel(out, sources, python, headers, platform)
    module("twine", "check", "--strict", *sorted(out.glob("cwaitgroup-*")))
    print(f"twine finds nothing to say about the sdist and {len(pythons) * len(PLATFORMS)} wheels in {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
