"""CHANGELOG.md is in the order of Keep a Changelog, and says each thing once."""

import re

from snippets import TOP

KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
RELEASES = re.split(r"^## ", (TOP / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1:]


def test_each_kind_comes_once_and_in_order():
    for release in RELEASES:
        kinds = re.findall(r"^### (.*)$", release, re.MULTILINE)
        assert kinds == [kind for kind in KINDS if kind in kinds], release.splitlines()[0]


def test_no_entry_twice():
    for release in RELEASES:
        entries = re.findall(r"^- (?:.+\n)+?(?=- |\n|$)", release + "\n", re.MULTILINE)
        entries = [" ".join(entry.split()) for entry in entries]
        assert entries
        assert len(entries) == len(set(entries)), sorted({e for e in entries if entries.count(e) > 1})
