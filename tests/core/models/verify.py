"""Check the Spin models of this directory: each holds, and each of its seeded bugs (BUG_... in its text) is found.

usage: verify.py DIRECTORY   (`make verify-models` does it; DIRECTORY is for what is built)

The exit status is 0 if that is so.
"""

import pathlib
import re
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent


def search(model: pathlib.Path, directory: pathlib.Path, defines: list[str]) -> tuple[int, int, float]:
    """The errors found, the states searched, and the seconds it took. Raises RuntimeError if the search is no proof."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)

    def run(*command: str) -> str:
        done = subprocess.run(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} failed: {done.stdout}")
        return done.stdout

    start = time.monotonic()
    run("spin", *defines, "-a", str(model.resolve()))
    run("gcc", "-O2", "-w", "-DCOLLAPSE", "-DVECTORSZ=4096", "-o", "pan", "pan.c")
    output = run("./pan", "-m1000000")
    errors = re.search(r"errors: (\d+)", output)
    states = re.search(r"(\d+) states, stored", output)
    if not errors or not states:
        raise RuntimeError(f"no result: {output}")
    if errors[1] == "0" and re.search(r"max search depth too small|Search not completed|reached max", output):
        raise RuntimeError(f"the search was cut short: {output}")
    return int(errors[1]), int(states[1]), time.monotonic() - start


def main() -> int:
    build = pathlib.Path(sys.argv[1])
    wrong = 0
    for model in sorted(HERE.glob("*.pml")):
        bugs = sorted(set(re.findall(r"\bBUG_\w+", model.read_text())))
        for bug in [None, *bugs]:
            name = f"{model.name} {bug or ''}".strip()
            try:
                errors, states, seconds = search(model, build / name.replace(" ", "-"), [f"-D{bug}"] if bug else [])
            except RuntimeError as error:
                print(f"{name}: {error}")
                wrong += 1
                continue
            expected = (errors > 0) == (bug is not None)
            wrong += not expected
            verdict = ("bug found" if errors else "BUG NOT FOUND") if bug else ("FAILS" if errors else "holds")
            print(f"{name:44} {verdict:14} {states:9} states, {seconds:.1f} s", flush=True)
        if not bugs:
            print(f"{model.name}: no seeded bug shows that it can fail")
            wrong += 1
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
