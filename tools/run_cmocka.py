"""Run cmocka test programs one after the other and write one JUnit report.

usage: run_cmocka.py [--timeout SECONDS] [--under COMMAND] REPORT PROGRAM...

A program that dies, hangs, reports no test, or ends with a status that contradicts its report is a failure too.
The exit status is 0 if nothing failed.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree


def run(program: str, timeout: float, under: list[str]) -> tuple[list[ElementTree.Element], str]:
    """The test suites of `program`, with one more for what is wrong beyond failed tests; and what it printed."""
    suites: list[ElementTree.Element] = []
    with tempfile.TemporaryDirectory() as reports, tempfile.TemporaryFile("w+", errors="replace") as output:
        environment = os.environ | {"CMOCKA_MESSAGE_OUTPUT": "XML", "CMOCKA_XML_FILE": f"{reports}/%g.xml"}
        wrong = None
        try:
            status = subprocess.run(
                [*under, program],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=timeout,
            ).returncode
        except subprocess.TimeoutExpired:
            wrong = f"did not end within {timeout:g} seconds"
        except OSError as error:
            wrong = str(error)
        for name in sorted(os.listdir(reports)):
            try:
                suites += ElementTree.parse(f"{reports}/{name}").getroot().iter("testsuite")
            except ElementTree.ParseError as error:
                wrong = wrong or f"its report {name} is not well formed ({error})"
        output.seek(0)
        printed = output.read()
    failed = any(case.find("failure") is not None or case.find("error") is not None for s in suites for case in s)
    if wrong is None:
        if status < 0:
            wrong = f"was killed by signal {-status}"
        elif not any(case.tag == "testcase" for s in suites for case in s):
            wrong = f"reported no test and ended with status {status}"
        elif (status != 0) != failed:
            wrong = f"ended with status {status}, which its report contradicts"
    if wrong is not None:
        suite = ElementTree.Element("testsuite", name=program)
        case = ElementTree.SubElement(suite, "testcase", name=program)
        ElementTree.SubElement(case, "error").text = wrong
        suites.append(suite)
    return suites, printed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timeout", type=float, default=300, help="seconds that each program may take")
    parser.add_argument("--under", type=shlex.split, default=[], help="a command that runs each program, like valgrind")
    parser.add_argument("report")
    parser.add_argument("program", nargs="+")
    arguments = parser.parse_args()

    root = ElementTree.Element("testsuites")
    any_failed = False
    for program in arguments.program:
        start = time.monotonic()
        suites, printed = run(program, arguments.timeout, arguments.under)
        root.extend(suites)
        cases = [case for suite in suites for case in suite.iter("testcase")]
        failures = [(case.get("name"), bad.text) for case in cases for bad in case if bad.tag in ("failure", "error")]
        skipped = sum(case.find("skipped") is not None for case in cases)
        bad_names = {name for name, _ in failures}
        print(
            f"{os.path.basename(program):32} {len(cases) - len(bad_names) - skipped:4} passed, {len(bad_names)} failed"
            + (f", {skipped} skipped" if skipped else "")
            + f" in {time.monotonic() - start:.1f} s",
            flush=True,
        )
        if failures:
            any_failed = True
            print(*(f"    {name}: {(text or '').strip()}" for name, text in failures), sep="\n")
            print("    It printed:", *printed.splitlines()[-40:], sep="\n    | ", flush=True)
    os.makedirs(os.path.dirname(arguments.report) or ".", exist_ok=True)
    ElementTree.ElementTree(root).write(arguments.report, encoding="unicode")
    return int(any_failed)


if __name__ == "__main__":
    sys.exit(main())
