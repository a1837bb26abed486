"""The Python package and the Lua module in one process share one core, or say why they cannot."""

import os
import re
import subprocess
import sys
from pathlib import Path

import cwaitgroup
import pytest

TOP = Path(__file__).resolve().parents[2]
LUA = TOP / "build/lua"
HEADER = (TOP / "core/include/waitgroup/status.h").read_text()
VERSION = re.search(r'#define WG_VERSION "(.+)"', HEADER)[1]
LIBRARY = "libwaitgroup.so." + VERSION.rpartition(".")[0]
ENVIRONMENT = {
    "PYTHONPATH": str(Path(__file__).parent),
    "LUA_PATH": f"{LUA}/?.lua;{LUA}/?/init.lua;;",
    "LUA_CPATH": f"{LUA}/?.so;;",
}
EXTENSION = Path(cwaitgroup._core.__file__)
MODULES = {"python": EXTENSION, "lua": LUA / "waitgroup/core.so"}
NUMBER = int(re.search(r"#define WG_VERSION_NUMBER (\d+)", HEADER)[1])


def symbols(file, *flags):
    lines = subprocess.run(["nm", "-D", *flags, file], check=True, capture_output=True, text=True).stdout.splitlines()
    return {line.split()[-1] for line in lines}


IMPORTS = {
    "python": "import cwaitgroup\n",
    "lua": "from lua_in_python import Lua\nLua().run('require \"waitgroup\"')\n",
}
SHOW = f"""
import ctypes
libraries = {{line.split(maxsplit=5)[5].strip() for line in open("/proc/self/maps") if "libwaitgroup" in line}}
handles = [ctypes.CDLL(path) for path in {[str(path) for path in MODULES.values()]!r}]
waits = {{ctypes.cast(handle.wg_wait, ctypes.c_void_p).value for handle in handles}}
print(len(libraries), len(waits), *libraries)
"""


@pytest.fixture
def python():
    """Runs a Python program in a process of its own, where it finds both modules; returns what it printed."""

    def run(program, **environment):
        ran = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | ENVIRONMENT | environment,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=120,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    return run


@pytest.mark.parametrize("order", [["python", "lua"], ["lua", "python"]], ids="-".join)
def test_both_modules_have_the_core_of_the_first(python, order):
    libraries, waits, path = python("".join(IMPORTS[module] for module in order) + SHOW).split(maxsplit=2)
    assert (libraries, waits) == ("1", "1")
    assert path.strip() == str(MODULES[order[0]].parent / LIBRARY)


@pytest.mark.parametrize("module", MODULES)
def test_modules_call_only_what_the_headers_declare(module):
    called = {name for name in symbols(MODULES[module], "--undefined-only") if name.startswith("wg_")}
    assert called and called <= symbols(MODULES[module].parent / LIBRARY, "--defined-only")


def library(directory, version, number):
    """A library of the same name, which has nothing but its version."""
    source = f'const char *wg_version(void) {{ return "{version}"; }}\n'
    if number is not None:
        source += f"int wg_version_number(void) {{ return {number}; }}\n"
    (directory / "version.c").write_text(source)
    path = directory / LIBRARY
    subprocess.run(
        ["cc", "-shared", "-fPIC", f"-Wl,-soname,{LIBRARY}", "-o", path, directory / "version.c"],
        check=True,
        timeout=60,
    )
    return path


@pytest.mark.parametrize("number", [None, NUMBER - 1, NUMBER + 100], ids=["first", "older", "incompatible"])
@pytest.mark.parametrize("module", MODULES)
def test_a_library_that_does_not_fit_is_refused_at_import(python, tmp_path, module, number):
    other = library(tmp_path, "9.8.7", number)
    failing = f"try:\n    {'; '.join(IMPORTS[module].splitlines())}\nexcept Exception as error: print(error)"
    text = python(failing, LD_PRELOAD=str(other))
    for part in VERSION, str(MODULES[module]), "9.8.7", str(other):
        assert part in text


def test_newer_libraries_of_the_same_minor_version_fit(python, tmp_path):
    newer, core = tmp_path / LIBRARY, TOP / "build/core-futex-eventfd/libwaitgroup.a"
    (tmp_path / "number.c").write_text(f"int wg_version_number(void) {{ return {NUMBER + 1}; }}")
    options = ["-shared", "-fPIC", "-pthread", f"-Wl,-soname,{LIBRARY}", "-Wl,-z,muldefs"]
    files = [tmp_path / "number.c", "-Wl,--whole-archive", core, "-Wl,--no-whole-archive"]
    subprocess.run(["cc", *options, "-o", newer, *files], check=True, timeout=60)
    assert python(IMPORTS["python"] + IMPORTS["lua"] + "print('imported')", LD_PRELOAD=str(newer)) == "imported\n"


@pytest.fixture(scope="module")
def static(tmp_path_factory):
    """Both modules, each with a core of its own."""
    build, prefix = tmp_path_factory.mktemp("build"), tmp_path_factory.mktemp("static")
    options = ["-DWAITGROUP_STATIC_CORE=ON", "-DWAITGROUP_PYTHON=ON", "-DWAITGROUP_LUA=ON"]
    options += [f"-DPython_EXECUTABLE={sys.executable}", "-DWAITGROUP_LUA_LMOD=lua", "-DWAITGROUP_LUA_CMOD=lua"]
    for command in (
        ["cmake", "-S", TOP, "-B", build, *options],
        ["cmake", "--build", build, "--target", "_core", "lua_module"],
        ["cmake", "--install", build, "--component", "python", "--prefix", prefix],
        ["cmake", "--install", build, "--component", "lua", "--prefix", prefix],
    ):
        subprocess.run(command, check=True, capture_output=True, timeout=600)
    return prefix


def test_a_module_may_contain_its_core(static):
    files = {path.name for path in static.rglob("*.so*")}
    assert files == {EXTENSION.name, "core.so"}
    [extension] = static.rglob(EXTENSION.name)
    assert {"PyInit__core"} == symbols(extension, "--defined-only")
    assert not {
        name for name in symbols(static / "lua/waitgroup/core.so", "--defined-only") if re.match(r"wg_(?!lua_)", name)
    }


def test_a_module_that_contains_its_core_works(static, python):
    paths = {"LUA_PATH": f"{static}/lua/?.lua;{static}/lua/?/init.lua", "LUA_CPATH": f"{static}/lua/?.so"}
    group = 'local g = require("waitgroup").errgroup() g:thread(function() end) assert(g:wait())'
    program = (
        f"from lua_in_python import Lua\nLua().run({group!r})\nprint('libwaitgroup' in open('/proc/self/maps').read())"
    )
    assert python(program, **paths) == "False\n"


OTHER_CORE = """
from cwaitgroup import Context, ErrGroup, WaitGroup, attach
from lua_in_python import Lua, LuaError
lua, made = Lua(), [ErrGroup(limit=1), WaitGroup(2), Context()]
lua.run("w = require 'waitgroup' own = {w.errgroup {limit = 1}, w.new(2), w.context(), w.channel()}")
for thing in made:
    try:
        lua.run(f"w.attach({thing.id})")
    except LuaError as error:
        print(error)
for i in range(4):
    number = int(lua.run(f"return tostring(own[{i + 1}]:id())"))
    try:
        attach(number)
    except LookupError as error:
        print(error)
assert made[0].go(pow, 2, 3).result(60) == 8 and made[1].count == 2 and not made[2].cancelled()
lua.run("assert(own[1]:go(function() end)) assert(own[1]:wait() and own[2]:count() == 2 and not own[3]:cancelled())")
"""


def test_an_id_of_another_core_says_what_to_do_about_it(static, python):
    paths = {"LUA_PATH": f"{static}/lua/?.lua;{static}/lua/?/init.lua", "LUA_CPATH": f"{static}/lua/?.so"}
    lines = python(OTHER_CORE, **paths).splitlines()
    assert len(lines) == 7
    for line in lines:
        assert "no object has this id" in line and "let both sides use the same shared libwaitgroup" in line
