"""Apply each mutant of mutants.toml to a copy of the core, and show that the test it names catches it.

usage: run.py [--only NAME] @build/sim/mutants.args   (`make mutants` does it)

The build of the simulator writes that file: how to compile, the sources of the core, and what to link them with. The
environment names SIM, the simulator built from the unchanged core, which must pass every test named, and BUILD, the
directory to work in. Prints a table. The exit status is 0 if every mutant applies, compiles and is caught.
"""

import argparse
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import time
import tomllib

HERE = pathlib.Path(__file__).parent
SOURCE = HERE.parents[2] / "core" / "src"
EFFORT = [
    "--seeds",
    "10000",
    "--limit",
    "50000",
]  # spent on a mutant that survives; most are caught by the first hundred
CONTROL = ["--seeds", "1000", "--limit", "1000"]


class Fault(Exception):
    """The mutant could not be tried: no verdict."""


def run(command: list[str], timeout: float = 300) -> tuple[int, str]:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        text=True,
        errors="replace",
    )
    return done.returncode, done.stdout


def first_error(output: str) -> str:
    return next((line for line in output.splitlines() if "error" in line), output)


def build(mutant: dict[str, str], directory: pathlib.Path, how: argparse.Namespace) -> str:
    """The simulator built from the mutated core."""
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(SOURCE, directory / "src")
    target = directory / "src" / mutant["file"]
    text = target.read_text()
    if text.count(mutant["old"]) != 1:
        raise Fault(f"`old` occurs {text.count(mutant['old'])} times in {mutant['file']}: does it need an update?")
    target.write_text(text.replace(mutant["old"], mutant["new"]))
    mutated = []
    for source in how.core:
        mutated.append(str(directory / source.replace(".c", ".o")))
        if (status := run([*how.compile, "-w", "-c", "-o", mutated[-1], str(directory / "src" / source)]))[0] != 0:
            raise Fault(f"does not compile: {first_error(status[1])}")
    program = str(directory / "sim")
    if (status := run([how.compile[0], "-no-pie", "-o", program, *how.objects, *mutated, "-lcmocka"]))[0] != 0:
        raise Fault(f"does not link: {first_error(status[1])}")
    return program


def verdict(program: str, test: str, effort: list[str]) -> str | None:
    """How `test` failed under `program`, in one line; None if it passed."""
    try:
        status, output = run([program, *effort, test])
    except subprocess.TimeoutExpired:
        raise Fault(f"{test} does not end") from None
    lines = output.splitlines()
    if status == 0:
        return None
    if status < 0:
        return f"killed by signal {-status}"
    for i, line in enumerate(lines):
        if " fails. To see it again: --replay " in line:
            return f"{lines[i + 1]} ({line.split('--replay ')[1].split()[0]})"
    raise Fault(f"{test} neither passed nor failed: {output}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, fromfile_prefix_chars="@"
    )
    parser.add_argument("--only", metavar="NAME", help="try the mutants whose name contains this")
    parser.add_argument("--compile", action="append", required=True, help="the compiler, then each of its arguments")
    parser.add_argument("--core", nargs="+", required=True, help="the sources of the core to compile")
    parser.add_argument("--objects", nargs="+", required=True, help="what to link them with")
    arguments = parser.parse_args()

    mutants = tomllib.loads((HERE / "mutants.toml").read_text())["mutant"]
    mutants = [m for m in mutants if not arguments.only or arguments.only in m["name"]]
    start = time.monotonic()
    bad = 0

    for test in sorted({m["test"] for m in mutants}):
        if (failure := verdict(os.environ["SIM"], test, CONTROL)) is not None:
            print(f"the unchanged core fails {test}: {failure}")
            bad += 1

    def attempt(numbered: tuple[int, dict[str, str]]) -> tuple[bool, str]:
        number, mutant = numbered
        directory = pathlib.Path(os.environ["BUILD"]) / str(number)
        try:
            program = build(mutant, directory, arguments)
            failure = verdict(program, mutant["test"], EFFORT)
        except Fault as fault:
            return False, f"NOT TRIED: {fault}"
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        return (True, f"caught: {failure}") if failure is not None else (False, "SURVIVES")

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as workers:
        for mutant, (caught, words) in zip(mutants, workers.map(attempt, enumerate(mutants)), strict=True):
            bad += not caught
            print(f"{mutant['name']:52} {mutant['test']:34} {words[:150]}", flush=True)
    print(f"\n{len(mutants)} mutants, {len(mutants) - bad} caught, in {time.monotonic() - start:.0f} s")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
