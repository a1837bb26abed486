"""The code blocks of the documents.

A block of `python`, `lua` or `c` is a whole program. If a block of `output` follows it directly, that is what it
prints, where `...` stands for any text. A block of `sh` holds commands for a reader, one a line; a block of `cmake` is
the part of a project that concerns this library, one of `text` a picture. Indented ones are for hosts.
"""

import os
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TOP = Path(__file__).resolve().parents[2]
CORE_A = Path(os.environ.get("CORE_A", TOP / "build/core-futex-eventfd/libwaitgroup.a"))
DOCUMENTS = [TOP / "README.md", TOP / "CONTRIBUTING.md", *sorted((TOP / "docs").glob("**/*.md"))]
LANGUAGES = ("python", "lua", "c", "cmake", "sh", "output", "text")


class Snippet(NamedTuple):
    document: Path
    line: int
    language: str
    code: str
    output: str | None  # what it should print, if the document says so

    @property
    def name(self) -> str:
        return f"{self.document.relative_to(TOP)}:{self.line}"


def blocks(document: Path) -> Iterator[tuple[int, str, str, bool]]:
    """Each fenced block of a document: line, language, text, and whether only blank lines part it from the last one."""
    lines = document.read_text().splitlines()
    start = language = None
    near = False
    for number, line in enumerate(lines, 1):
        fence = re.fullmatch(r"```(\w*)", line)
        if start is None and fence:
            start, language = number, fence[1]
        elif start is not None and line == "```":
            yield start, language or "", "".join(f"{text}\n" for text in lines[start : number - 1]), near
            start, near = None, True
        elif start is None and line.strip():
            near = False
    if start is not None:
        raise ValueError(f"{document}:{start}: this block has no end")


def indented(document: Path, heading: str) -> list[str]:
    """The indented blocks below a heading: what runs only inside of a host, and is tested there."""
    section = re.split(r"^#+ ", document.read_text().split(f"\n## {heading}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]
    return [
        textwrap.dedent(block) for block in re.findall(r"(?:^(?:    .*)?\n)+", section, re.MULTILINE) if block.strip()
    ]


def snippets(document: Path) -> Iterator[Snippet]:
    last: Snippet | None = None
    for line, language, text, near in blocks(document):
        if language == "output":
            if last is None or not near or last.output is not None:
                raise ValueError(f"{document}:{line}: this output belongs to no program")
            last = last._replace(output=text)
            continue
        if last is not None:
            yield last
        last = Snippet(document, line, language, text, None)
    if last is not None:
        yield last


def all_snippets(*languages: str) -> list[Snippet]:
    return [s for document in DOCUMENTS if document.exists() for s in snippets(document) if s.language in languages]
