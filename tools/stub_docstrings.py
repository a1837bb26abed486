"""Write the docstrings of the extension into its stubs, where editors look for them.

usage: stub_docstrings.py [--check]      exit status 1 if the stubs were not up to date
"""

import ast
import inspect
import sys
from pathlib import Path
from typing import Any

from cwaitgroup import _core

STUBS = Path(__file__).parents[1] / "python/cwaitgroup/_core.pyi"


def documentation(node: ast.AST, owner: Any) -> str | None:
    """The docstring of the thing that `node` declares; None for what is private or has none of its own."""
    name = getattr(node, "name", "_")
    thing = vars(owner).get(name)
    if name.startswith("_") or thing is None or not thing.__doc__:
        return None
    return inspect.cleandoc(thing.__doc__)


def docstring(text: str, indent: str) -> list[str]:
    escaped = text.replace("\\", "\\\\")
    lines = ['"""' + escaped + '"""'] if "\n" not in text else ['"""' + escaped, '"""']
    return [(indent + line).rstrip() for part in lines for line in part.split("\n")]


def edits(body: list[ast.stmt], owner: Any, indent: str, seen: set[str]) -> list[tuple[ast.stmt, list[str]]]:
    """For each declaration to be documented: the first statement of its body, and the lines of the docstring."""
    found: list[tuple[ast.stmt, list[str]]] = []
    for node in body:
        if isinstance(node, ast.ClassDef):
            found += edits(node.body, vars(owner).get(node.name, object), indent + "    ", set())
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name in seen:
            continue
        seen.add(node.name)  # of overloads, the first
        text = documentation(node, owner)
        if text:
            found.append((node.body[0], docstring(text, indent + "    ")))
    return found


def is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(getattr(statement.value, "value", None), str)


def is_ellipsis(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and getattr(statement.value, "value", None) is ...


def rewrite(source: str) -> str:
    lines = source.split("\n")
    for first, text in sorted(edits(ast.parse(source).body, _core, "", set()), key=lambda edit: -edit[0].lineno):
        start, end = first.lineno - 1, first.end_lineno or first.lineno
        if is_ellipsis(first):
            head = lines[start][: first.col_offset].rstrip()
            lines[start:end] = ([head] if head else []) + text
        else:
            lines[start : end if is_docstring(first) else start] = text
    return "\n".join(lines)


def main() -> int:
    before = STUBS.read_text()
    after = rewrite(before)
    if before == after:
        return 0
    if "--check" in sys.argv:
        print(f"{STUBS} is not up to date: run tools/stub_docstrings.py")
    else:
        STUBS.write_text(after)
    return 1


if __name__ == "__main__":
    sys.exit(main())
