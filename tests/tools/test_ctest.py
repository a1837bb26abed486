"""tests/core/ctest_each_test.cmake: what ctest makes of programs that behave well and of those that do not."""

import os
import subprocess
import xml.etree.ElementTree as ElementTree

import junit
import pytest
from conftest import TOP

PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (getenv("WG_TEST_LIST"))
        return MUTE ? 3 : puts("good\nbad\ncrashes\nskipped\nhangs\nunder\nemulated\nimpossible") < 0;
    if (argc != 2 || strcmp(getenv("WG_TEST"), argv[1]) != 0)
        return 2;
    if (strcmp(argv[1], "crashes") == 0)
        abort();
    if (strcmp(argv[1], "skipped") == 0)
        puts("[  SKIPPED ] skipped");
    while (strcmp(argv[1], "hangs") == 0)
        pause();
    return strcmp(argv[1], "bad") == 0 || (strcmp(argv[1], "under") == 0 && !getenv("UNDER")) ||
           (strcmp(argv[1], "emulated") == 0 && !getenv("EMULATED")) || strcmp(argv[1], "impossible") == 0;
}
"""
PROJECT = f"""
cmake_minimum_required(VERSION 3.21)
project(programs LANGUAGES C)
set(CMAKE_CROSSCOMPILING_EMULATOR env EMULATED=1)
set(WAITGROUP_TESTS_SKIPPED "^speaks[.]imp")
enable_testing()
include("{TOP}/tests/core/ctest_each_test.cmake")
add_executable(speaks main.c)
add_executable(mute main.c)
add_executable(absent EXCLUDE_FROM_ALL main.c)
target_compile_definitions(speaks PRIVATE MUTE=0)
target_compile_definitions(mute PRIVATE MUTE=1)
ctest_each_test(speaks mute absent)
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The exit status of ctest, what it printed, and its report."""
    source = tmp_path_factory.mktemp("a project")
    (source / "main.c").write_text(PROGRAM)
    (source / "CMakeLists.txt").write_text(PROJECT)
    for command in ["cmake", "-S", ".", "-B", "build"], ["cmake", "--build", "build"]:
        subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=300)
    environment = os.environ | {"WG_TEST_TIMEOUT": "5", "WG_TEST_UNDER": "env UNDER=1"}
    xml = source / "report.xml"
    command = ["ctest", "--test-dir", "build", "--output-junit", xml]
    ran = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, timeout=300)
    return ran.returncode, ran.stdout + ran.stderr, xml


def test_each_test_is_counted(report):
    status, _, xml = report
    assert junit.read(xml) == junit.Counts(passed=3, failed=5, skipped=2)
    assert status != 0


@pytest.mark.parametrize(
    "outcome, names",
    [
        ("failure", {"speaks.bad", "speaks.crashes", "speaks.hangs", "mute", "absent"}),
        ("skipped", {"speaks.skipped", "speaks.impossible"}),
    ],
)
def test_each_test_is_named(report, outcome, names):
    cases = ElementTree.parse(report[2]).iter("testcase")
    assert {case.get("name") for case in cases if case.find(outcome) is not None} == names


def test_it_is_said_why_a_program_has_no_tests(report):
    text = report[1]
    assert "mute cannot name its tests: 3" in text and "absent cannot name its tests" in text
