"""docs/platforms.md: a row replaces the one of its name, in order, and says what the reports say."""

import re

import pytest
from conftest import TOP

REPORT = "<testsuite><testcase/><testcase><skipped/></testcase></testsuite>"
PYTHON = ("Python", "Linux x86-64", "CPython 3.11.7", "pytest tests/python")


@pytest.fixture
def page(tmp_path):
    page = tmp_path / "platforms.md"
    page.write_text("# Platforms\n\nProse | with a bar.\n")
    return page


@pytest.fixture
def platforms(run_tool, page):
    """Sets a row, and returns the rows."""

    def run(*arguments):
        ran = run_tool("platforms.py", *arguments, WAITGROUP_PLATFORMS=str(page))
        assert ran.returncode == 0, ran.stderr
        before, _, table = page.read_text().partition("| part |")
        assert before == "# Platforms\n\nProse | with a bar.\n"
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]

    return run


def test_reports_are_added_up(platforms, tmp_path):
    (tmp_path / "one.xml").write_text(REPORT)
    (tmp_path / "two.xml").write_text(REPORT.replace("skipped", "failure"))
    [[*name, outcome, day]] = platforms(*PYTHON, tmp_path / "one.xml", tmp_path / "two.xml")
    assert tuple(name) == PYTHON
    assert outcome == "2 passed, 1 failed, 1 skipped"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", day)


@pytest.mark.parametrize(
    "line, outcome",
    [
        ("12 passed", "12 passed"),
        ("==== 1 failed, 12 passed, 3 skipped in 2.01s ====", "12 passed, 1 failed, 3 skipped"),
        ("12 passed, 0 failed, 3 skipped", "12 passed, 3 skipped"),
    ],
)
def test_closing_lines(platforms, line, outcome):
    assert platforms(*PYTHON, line)[0][4] == outcome


def test_a_row_replaces_that_of_its_name_only(platforms):
    platforms(*PYTHON, "1 passed")
    platforms(*PYTHON[:3], "pip install .", "1 passed")
    rows = platforms(*PYTHON, "2 passed, 1 failed")
    assert [row[3:5] for row in rows] == [
        ["pip install .", "1 passed"],
        ["pytest tests/python", "2 passed, 1 failed"],
    ]


def test_versions_are_in_their_order(platforms):
    for version in ("3.13", "3.9", "3.11.7", "3.11"):
        rows = platforms(*PYTHON[:2], f"CPython {version}", "x", "1 passed")
    assert [row[2] for row in rows] == ["CPython 3.9", "CPython 3.11", "CPython 3.11.7", "CPython 3.13"]


def test_what_ran_once_stays_when_it_cannot_be_run(platforms):
    assert platforms(*PYTHON, "not run: no root")[0][4] == "not run: no root"
    assert platforms(*PYTHON, "not run: no mirror")[0][4] == "not run: no mirror"
    assert platforms(*PYTHON, "1 passed")[0][4] == "1 passed"
    assert platforms(*PYTHON, "not run: no root")[0][4] == "1 passed"


@pytest.mark.parametrize("result", ["it was fine", "missing.xml"])
def test_no_outcome_is_refused_and_changes_nothing(run_tool, page, result):
    before = page.read_text()
    ran = run_tool("platforms.py", *PYTHON, result, WAITGROUP_PLATFORMS=str(page))
    assert ran.returncode != 0 and "platforms.py: " in ran.stderr
    assert page.read_text() == before


def test_the_page_is_in_its_order():
    import platforms

    _, rows = platforms.read(TOP / "docs/platforms.md")
    assert rows == sorted(rows, key=platforms.natural)
    assert all(len(row) == 6 for row in rows)
