"""Every program in the documents runs, succeeds, and prints what the document says."""

import re
import shlex
import subprocess
import sys

import pytest
from snippets import CORE_A, DOCUMENTS, LANGUAGES, TOP, Snippet, all_snippets, blocks

HANG = 120  # seconds; tells a hang from a slow machine


def run(command, directory):
    ran = subprocess.run(command, cwd=directory, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=HANG)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran


def run_python(snippet, directory):
    (directory / "snippet.py").write_text(snippet.code)
    return run([sys.executable, "-X", "dev", "snippet.py"], directory)


def run_lua(snippet, directory):
    (directory / "snippet.lua").write_text(snippet.code)
    return run([TOP / "tools/in-tree-lua", "snippet.lua"], directory)


def run_c(snippet, directory):
    (directory / "snippet.c").write_text(snippet.code)
    run(
        [
            "cc",
            "-std=c11",
            "-Wall",
            "-Wextra",
            "-Werror",
            f"-I{TOP}/core/include",
            "snippet.c",
            CORE_A,
            "-pthread",
            "-o",
            "snippet",
        ],
        directory,
    )
    return run(["./snippet"], directory)


@pytest.mark.parametrize("snippet", all_snippets("python", "lua", "c"), ids=lambda s: s.name)
def test_program(snippet: Snippet, tmp_path):
    ran = {"python": run_python, "lua": run_lua, "c": run_c}[snippet.language](snippet, tmp_path)
    assert ran.stderr == ""
    if snippet.output is not None:
        pattern = ".*".join(map(re.escape, snippet.output.split("...")))
        assert re.fullmatch(pattern, ran.stdout, re.DOTALL), f"it printed:\n{ran.stdout}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_every_block_names_a_language_that_is_tested(document):
    unknown = [f"line {line}: {language!r}" for line, language, _, _ in blocks(document) if language not in LANGUAGES]
    assert not unknown


@pytest.mark.parametrize("snippet", all_snippets("sh"), ids=lambda s: s.name)
def test_commands_name_what_exists(snippet):
    """What is typed to install is run by test_install.py; here each target, script and option file is looked up."""
    targets = set(
        re.findall(
            r"^([\w-]+):",
            subprocess.run(["make", "-npq"], cwd=TOP, capture_output=True, text=True, timeout=HANG).stdout,
            re.MULTILINE,
        )
    )
    for line in snippet.code.splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["sudo"]:
            words = words[1:]
        if words[:1] == ["make"]:
            named = [word for word in words[1:] if "=" not in word and not word.startswith("-")]
            assert set(named) <= targets, line
        for word in words:
            if "/" in word and not word.startswith(("/", "-", "http", "$")) and "=" not in word:
                assert (TOP / word).exists(), line


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_links_lead_somewhere(document):
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    anchors = {}
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path) if path else document
        assert file.exists(), target
        if anchor:
            if file not in anchors:
                headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
                anchors[file] = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor in anchors[file], target
