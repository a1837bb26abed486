"""Read a JUnit report into counts."""

import xml.etree.ElementTree as ElementTree
from typing import NamedTuple


class Counts(NamedTuple):
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def plus(self, other: "Counts") -> "Counts":
        return Counts(*(a + b for a, b in zip(self, other, strict=False)))

    def __str__(self) -> str:
        text = f"{self.passed} passed, {self.failed} failed"
        return text + (f", {self.skipped} skipped" if self.skipped else "")


class BadReport(Exception):
    """The report is missing, unreadable, or says that no test ran."""


def read(path: str) -> Counts:
    """The counts of the report at `path`. Test cases are counted one by one, since runners disagree about what their
    totals include; an error outside of any test case, such as a file that does not load, is a failure."""
    try:
        root = ElementTree.parse(path).getroot()
    except FileNotFoundError:
        raise BadReport("it wrote no report, so it must have ended early") from None
    except ElementTree.ParseError as error:
        raise BadReport(f"its report is not well formed ({error})") from None
    passed = failed = skipped = 0
    for case in root.iter("testcase"):
        outcomes = {child.tag for child in case}
        if outcomes & {"failure", "error"}:
            failed += 1
        elif "skipped" in outcomes:
            skipped += 1
        else:
            passed += 1
    for element in root.iter():
        if element.tag in ("testsuite", "testsuites"):
            failed += sum(child.tag in ("failure", "error") for child in element)
    if passed + failed + skipped == 0:
        raise BadReport("its report says that no test ran")
    return Counts(passed, failed, skipped)
