"""What the pages on how it works name exists: each file, each function, each name of the core and of the bindings."""

import re

import pytest
from snippets import TOP

PAGES = sorted((TOP / "docs").glob("internals*.md"))
SOURCES = [
    file
    for folder in ("core", "bindings", "lua", "python", "tests/core")
    for file in (TOP / folder).rglob("*")
    if file.suffix in {".c", ".h", ".lua", ".py", ".pml"} and "__pycache__" not in file.parts
]
FILES = {file.name for file in SOURCES}
WORDS = {word for file in SOURCES for word in re.findall(r"\w+", file.read_text(errors="replace"))}


def named(page):
    """What stands between backticks, word by word."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    return {word for code in re.findall(r"`([^`\n]+)`", text) for word in code.split()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_exist(page):
    files = {word.rpartition("/")[2] for word in named(page) if re.fullmatch(r"[\w/]+\.(c|h|lua|py)", word)}
    assert files
    assert files <= FILES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_exist(page):
    names = {match[1] for word in named(page) if (match := re.match(r"((?:wgl?|WGL?)_\w+|\w+(?=\(\)))", word))}
    assert names
    assert names <= WORDS


@pytest.mark.parametrize(
    "page, folder",
    [
        ("internals.md", "core/src"),
        ("internals-python.md", "bindings/python"),
        ("internals-lua.md", "bindings/lua"),
    ],
)
def test_each_source_file_is_on_a_page(page, folder):
    text = (TOP / "docs" / page).read_text()
    of_kinds = {
        file.stem for kind in ("os_*", "signal_*") for file in (TOP / folder).glob(kind + ".c")
    }  # the page names them as signal_*.c and os_*.c
    stems = {file.stem for file in (TOP / folder).glob("*.c")} - of_kinds
    assert not {stem for stem in stems if f"`{stem}.c`" not in text and f"`{stem}.h`" not in text}


def test_the_glossary_is_in_order():
    text = (TOP / "docs/internals.md").read_text().partition("\n## Glossary\n")[2]
    terms = re.findall(r"^\| (.*?) \|", text, re.MULTILINE)[2:]
    assert len(terms) > 20
    assert terms == sorted(terms)
