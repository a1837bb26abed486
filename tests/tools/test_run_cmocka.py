"""run_cmocka.py with scripts in the place of test programs, which write what cmocka writes."""

import junit
import pytest

REPORT = """cat > "${CMOCKA_XML_FILE/\\%%g/%s}" <<END
<testsuites><testsuite name="g"><testcase name="t">%s</testcase></testsuite></testsuites>
END"""


def cases(outcome="", group="group"):
    return REPORT % (group, outcome)


@pytest.fixture
def run(script, run_tool, tmp_path):
    """Runs programs: the counts of the report, what was printed, and the exit status."""

    def run(*texts, timeout=60, under=""):
        programs = [script(f"program{i}", text) for i, text in enumerate(texts)]
        ran = run_tool("run_cmocka.py", "--timeout", timeout, "--under", under, "reports/core.xml", *programs)
        assert ran.stderr == ""
        return junit.read(str(tmp_path / "reports/core.xml")), ran.stdout, ran.returncode

    return run


def test_merges_the_groups_of_all_programs(run):
    counts, text, status = run(cases(group="a") + "\n" + cases(group="b"), cases())
    assert (counts, status) == (junit.Counts(passed=3), 0)
    assert "program0" in text and "program1" in text


def test_a_failure_is_shown_with_what_the_program_printed(run):
    counts, text, status = run("echo its own words\n" + cases("<failure>1 != 2</failure>") + "\nexit 1", cases())
    assert (counts, status) == (junit.Counts(passed=1, failed=1), 1)
    assert "t: 1 != 2" in text and "its own words" in text


def test_skipped_tests_are_counted(run):
    counts, text, _ = run(cases("<skipped/>"))
    assert counts == junit.Counts(skipped=1)
    assert "1 skipped" in text


@pytest.mark.parametrize(
    "program, why",
    [
        (cases() + "\nkill -ABRT $$", "was killed by signal 6"),
        ("exit 0", "reported no test"),
        (cases() + "\nexit 66", "ended with status 66, which its report contradicts"),
        (cases("<failure/>") + "\nexit 0", "ended with status 0, which its report contradicts"),
        ('echo "<testsuites>" > "$CMOCKA_XML_FILE"', "not well formed"),
    ],
)
def test_a_program_that_does_not_report_properly_is_a_failure(run, program, why):
    counts, text, status = run(program)
    assert counts.failed >= 1 and status == 1
    assert why in text


def test_a_program_that_hangs_is_a_failure(run):
    counts, text, status = run(cases() + "\nexec sleep 1000", timeout=1)
    assert (counts, status) == (junit.Counts(passed=1, failed=1), 1)
    assert "did not end within 1 seconds" in text


def test_programs_can_run_under_another_command(run):
    counts, _, status = run(cases() + '\ntest "$DEPTH" = 2', under="env DEPTH=2")
    assert (counts, status) == (junit.Counts(passed=1), 0)
    counts, text, status = run(cases(), under="env -u NONE false")
    assert counts.failed == 1 and status == 1
    assert "reported no test and ended with status 1" in text
