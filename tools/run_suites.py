"""Run test suites and close with one line: N passed, N failed[, N skipped].

usage: run_suites.py SUITE...

Each SUITE is the make target `test-SUITE`, which writes the JUnit report build/reports/SUITE.xml. All suites run, even
after one has failed. A suite counts as a failure of its own if it ends without a readable report, with a report of no
tests, with an exit status that contradicts its report, or not within WAITGROUP_SUITE_TIMEOUT seconds (default 1800).
The exit status is 0 if nothing failed.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time

import junit

REPORTS = "build/reports"


def run(command: list[str], timeout: float) -> int | None:
    """The exit status of `command`, or None if it had to be killed after `timeout` seconds, children included."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run_suite(suite: str, make: str, timeout: float) -> tuple[junit.Counts, str | None]:
    """The counts of `suite`, and what is wrong with it beyond failed tests, or None."""
    report = f"{REPORTS}/{suite}.xml"
    if os.path.exists(report):
        os.remove(report)
    status = run([make, "--no-print-directory", f"test-{suite}"], timeout)
    try:
        counts = junit.read(report)
    except junit.BadReport as bad:
        return junit.Counts(failed=1), f"{bad}; exit status {status}"
    if status is None:
        return counts.plus(junit.Counts(failed=1)), f"it did not end within {timeout:g} seconds"
    if status != 0 and counts.failed == 0:
        return counts.plus(junit.Counts(failed=1)), f"it ended with status {status} though no test of its report failed"
    if status == 0 and counts.failed > 0:
        return counts, "it ended with status 0 though tests failed"
    return counts, None


def main(suites: list[str]) -> int:
    if not suites:
        print(__doc__, file=sys.stderr)
        return 2
    make = os.environ.get("MAKE", "make")
    timeout = float(os.environ.get("WAITGROUP_SUITE_TIMEOUT", "1800"))
    os.makedirs(REPORTS, exist_ok=True)
    lines = []
    total = junit.Counts()
    for suite in suites:
        print(f"\n==== {suite} ====", flush=True)
        start = time.monotonic()
        counts, wrong = run_suite(suite, make, timeout)
        lines.append(
            f"{suite + ':':10} {counts} in {time.monotonic() - start:.0f} s" + (f" - {wrong}" if wrong else "")
        )
        total = total.plus(counts)
    print("\n==== summary ====")
    print(*lines, "", total, sep="\n", flush=True)
    return int(total.failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
