"""The floors of the core: a header of a floor above is found, and a file on no floor."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import core_floors

PAGE = "\n| floor | files |\n|---|---|\n| base | `low` `mixed.h` |\n| top | `high` `mixed.c` |\n\n"


def write(directory: Path, name: str, *headers: str) -> None:
    (directory / name).write_text("".join(f'#include "{header}"\n' for header in headers))


def test_a_header_of_a_floor_above_is_a_fault(tmp_path: Path) -> None:
    write(tmp_path, "high.h", "low.h", "waitgroup/high.h")
    write(tmp_path, "low.h")
    write(tmp_path, "low.c", "low.h", "high.h")
    write(tmp_path, "mixed.c", "mixed.h", "high.h")
    assert core_floors.faults(tmp_path, core_floors.floors(PAGE)) == [
        "low.c includes high.h, which is on a floor above"
    ]


def test_a_file_on_no_floor_is_a_fault(tmp_path: Path) -> None:
    write(tmp_path, "new.c")
    [fault] = core_floors.faults(tmp_path, core_floors.floors(PAGE))
    assert "new.c is on no floor" in fault


def test_a_call_that_goes_up_is_a_fault_unless_its_header_may(tmp_path: Path) -> None:
    (tmp_path / "low.h").write_text(
        "/* wg_said(); */\nint wg_low(void);\nbool wg_up(const char *text,\n           int n);\n"
    )
    (tmp_path / "low.c").write_text("int wg_low(void) { return 1; }\n")
    (tmp_path / "high.c").write_text(
        "static int wg_low(void) { return 2; }\nbool wg_up(const char *text, int n) {\n}\n"
    )
    [fault] = core_floors.faults(tmp_path, core_floors.floors(PAGE))
    assert fault == "wg_up, which low.h declares, is defined on a floor above, in high.c"
    allowed = core_floors.ways_up("Calls go up through: `other.h` `low.h`\n")
    assert core_floors.faults(tmp_path, core_floors.floors(PAGE), allowed) == []


def test_the_core_has_none() -> None:
    assert core_floors.main() == 0
