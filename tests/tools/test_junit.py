import junit
import pytest

CASES = """<testsuites><testsuite>
    <testcase name="good"/><testcase name="good too"><system-out>text</system-out></testcase>
    <testcase name="bad"><failure>1 != 2</failure></testcase>
    <testcase name="bad at its end too"><failure/><error/></testcase>
    <testcase name="left out"><skipped/></testcase>
</testsuite></testsuites>"""


def read(tmp_path, text):
    (tmp_path / "report.xml").write_text(text)
    return junit.read(str(tmp_path / "report.xml"))


def test_counts_each_case_once(tmp_path):
    assert read(tmp_path, CASES) == junit.Counts(passed=2, failed=2, skipped=1)


@pytest.mark.parametrize(
    "report",
    [
        "<testsuites><testsuite><testcase/></testsuite><error>cannot load x_spec.lua</error></testsuites>",
        "<testsuites><testsuite><testcase/><error>cannot load x_spec.lua</error></testsuite></testsuites>",
        "<testsuite><testcase/><error>cannot load x_spec.lua</error></testsuite>",
    ],
)
def test_an_error_outside_of_cases_is_a_failure(tmp_path, report):
    assert read(tmp_path, report) == junit.Counts(passed=1, failed=1)


@pytest.mark.parametrize(
    "text, why",
    [
        (CASES[:-20], "not well formed"),
        ("", "not well formed"),
        ("<testsuites/>", "no test ran"),
    ],
)
def test_a_report_that_says_nothing_is_refused(tmp_path, text, why):
    with pytest.raises(junit.BadReport, match=why):
        read(tmp_path, text)


def test_a_missing_report_is_refused(tmp_path):
    with pytest.raises(junit.BadReport, match="wrote no report"):
        junit.read(str(tmp_path / "nothing.xml"))


def test_counts_as_text():
    assert str(junit.Counts(3, 0, 0)) == "3 passed, 0 failed"
    assert str(junit.Counts(3, 1, 2)) == "3 passed, 1 failed, 2 skipped"
