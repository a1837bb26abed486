"""tools/wheels.py: of which interpreters there are headers, and what a wheel must contain."""

import zipfile

import pytest
import wheels

PLATFORM = wheels.Platform("musllinux_1_2_aarch64", "aarch64-linux-musl", "aarch64-linux-musl")


@pytest.fixture
def headers(tmp_path):
    """Writes the headers that tell which interpreter they are of, and returns their directory."""

    def write(directory, minor, config=""):
        include = tmp_path / directory
        include.mkdir(parents=True)
        version = f"#define PY_MAJOR_VERSION      3\n#define PY_MINOR_VERSION      {minor}\n"
        (include / "patchlevel.h").write_text(version)
        (include / "pyconfig.h").write_text(config)
        return include

    return write


def test_which_interpreter_it_is(headers):
    assert wheels.interpreter(headers("a", 14)).tag == "cp314"
    free_threaded = wheels.interpreter(headers("b", 13, "#define Py_GIL_DISABLED 1\n"))
    assert (free_threaded.tag, free_threaded.python_tag) == ("cp313t", "cp313")
    assert wheels.interpreter(headers("c", 13, "/* #undef Py_GIL_DISABLED */\n")).tag == "cp313"
    assert wheels.interpreter(headers("d", 10)) is None


def test_debians_headers_of_the_architecture(headers, tmp_path):
    stub = "# include <x86_64-linux-gnu/python3.13t/pyconfig.h>\n# include <aarch64-linux-gnu/python3.13t/pyconfig.h>\n"
    include = headers("python3.13t", 13, stub)
    headers("x86_64-linux-gnu/python3.13t", 13, "#define Py_GIL_DISABLED 1\n")
    assert wheels.config_of(include) == tmp_path / "x86_64-linux-gnu/python3.13t/pyconfig.h"
    assert wheels.interpreter(include).tag == "cp313t"


def test_what_is_no_interpreter(tmp_path):
    assert wheels.interpreter(tmp_path) is None


def test_the_first_place_is_taken(headers, tmp_path):
    first, _, other = headers("a/python3.13", 13), headers("b/python3.13", 13), headers("b/python3.11", 11)
    found = wheels.interpreters([f"{tmp_path}/a/*", f"{tmp_path}/b/*"])
    assert found == [wheels.Interpreter("cp311", other), wheels.Interpreter("cp313", first)]


@pytest.fixture
def sources(tmp_path):
    """Sources with a stub and a module."""
    package = tmp_path / "sources/python/cwaitgroup"
    package.mkdir(parents=True)
    for name in ("__init__.py", "_core.pyi", "py.typed"):
        (package / name).touch()
    return tmp_path / "sources"


@pytest.fixture
def wheel(tmp_path, sources):
    """wheel(without=, also=, extension=) is a wheel for PLATFORM."""

    def write(without="", also=(), extension=b"libwaitgroup.so.3.4 $ORIGIN", version="3.4.5"):
        path = tmp_path / f"cwaitgroup-3.4.5-cp313-cp313t-{PLATFORM.tag}.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name in {*wheels.contents_wanted(path, sources, PLATFORM), *also} - {without}:
                archive.writestr(name, extension if "/_core.c" in name else f"Name: x\nVersion: {version}\n")
        return path

    return write


def test_a_good_wheel(sources, wheel):
    wheels.check_wheel(wheel(), sources, PLATFORM)


@pytest.mark.parametrize(
    "without",
    ["cwaitgroup/py.typed", "cwaitgroup/libwaitgroup.so.3.4", "cwaitgroup-3.4.5.dist-info/entry_points.txt"],
)
def test_a_wheel_that_lacks_something(sources, wheel, without):
    with pytest.raises(SystemExit, match=without):
        wheels.check_wheel(wheel(without=without), sources, PLATFORM)


@pytest.mark.parametrize("also", ["cwaitgroup.libs/libwaitgroup-1234.so.3.4", "cwaitgroup/__pycache__/x.pyc"])
def test_a_wheel_with_something_else(sources, wheel, also):
    with pytest.raises(SystemExit, match=also):
        wheels.check_wheel(wheel(also=[also]), sources, PLATFORM)


@pytest.mark.parametrize("extension", [b"$ORIGIN", b"libwaitgroup-1234.so.3.4 $ORIGIN", b"libwaitgroup.so.3.4"])
def test_an_extension_that_does_not_find_the_core_beside_it(sources, wheel, extension):
    with pytest.raises(SystemExit, match="does not say"):
        wheels.check_wheel(wheel(extension=extension), sources, PLATFORM)


def test_another_version(sources, wheel):
    with pytest.raises(SystemExit, match="another version"):
        wheels.check_wheel(wheel(version="3.5.0"), sources, PLATFORM)


def test_no_headers_is_said(run_tool, tmp_path):
    ran = run_tool("wheels.py", tmp_path / "dist", tmp_path / "nothing")
    assert ran.returncode != 0 and "no headers of a CPython" in ran.stderr
