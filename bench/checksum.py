"""The checksum example, in each language, beside `xargs -P` with sha256sum and a ThreadPoolExecutor.

usage: checksum.py (writes build/bench/examples.json in the format of report.py; `make bench-examples` calls this)

The tree: 5000 files of 4 KB and 60 of 4 MB, made for the occasion and in the page cache. Measured are whole processes,
start and end included, in turn, so that a slow minute of the machine falls on all alike. The ThreadPoolExecutor version
is the Python example with a pool in the place of the group.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
SAMPLES = 9
XARGS = ["xargs -P and sha256sum", "xargs -P and openssl"]
POOL = """
import hashlib, os, sys
from concurrent.futures import ThreadPoolExecutor
from checksum import line, tree
from tqdm import tqdm

def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(1 << 18):
            digest.update(chunk)
    bar.update()
    return digest.hexdigest()

files = tree(sys.argv[1])
with tqdm(total=len(files), disable=None) as bar, ThreadPoolExecutor(2 * os.cpu_count()) as pool:
    digests = list(pool.map(sha256, files))
sys.stdout.buffer.writelines(map(line, digests, files))
"""


def make_tree(root: Path) -> float:
    """Write the files; how many MB they are."""
    for i in range(5000):
        (root / f"{i % 20}").mkdir(exist_ok=True)
        (root / f"{i % 20}" / f"small{i}").write_bytes(os.urandom(4_000))
    for i in range(60):
        (root / f"{i % 20}" / f"large{i}").write_bytes(os.urandom(4_000_000))
    return (5000 * 4_000 + 60 * 4_000_000) / 1e6


def main() -> None:
    os.environ["PYTHONPATH"] = f"{TOP}/examples/python"
    with tempfile.TemporaryDirectory() as root:
        megabytes = make_tree(Path(root))
        threads = 2 * (os.cpu_count() or 1)
        xargs = f"find {root} -type f -print0 | xargs -0 -n 32 -P {threads}"
        commands = {
            "Python": [sys.executable, f"{TOP}/examples/python/checksum.py", root],
            "Lua": [f"{TOP}/tools/in-tree-lua", f"{TOP}/examples/lua/checksum.lua", root],
            "C": [f"{TOP}/build/examples/checksum", root],
            "xargs -P and sha256sum": ["sh", "-c", f"{xargs} sha256sum"],
            "xargs -P and openssl": ["sh", "-c", f"{xargs} openssl dgst -sha256 -r | sed 's/ [*]/  /'"],
            "ThreadPoolExecutor": [sys.executable, "-c", POOL, root],
        }
        rates: dict[str, list[float]] = {name: [] for name in commands}
        lines: dict[str, list[str]] = {}
        for _ in range(SAMPLES):
            for name, command in commands.items():
                start = time.perf_counter()
                output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                rates[name].append(megabytes / (time.perf_counter() - start))
                lines[name] = sorted(output.splitlines())
    if any(found != lines["C"] for found in lines.values()):
        raise SystemExit("checksum: the programs do not agree about the checksums")

    def entry(work: str, subject: str, name: str) -> dict[str, object]:
        quartiles = statistics.quantiles(rates[name], n=4)
        return {
            "work": work,
            "subject": subject,
            "value": statistics.median(rates[name]),
            "unit": "MB/s",
            "spread": quartiles[2] - quartiles[0],
            "samples": SAMPLES,
            "target": "at least 1.1 times the rate of each peer" if subject == "waitgroup" else None,
        }

    results = []
    for language, peers in {"Python": ["ThreadPoolExecutor"], "Lua": [], "C": []}.items():
        work = f"checksums of a tree of 5060 files, {megabytes:.0f} MB, in {language}"
        results.append(entry(work, "waitgroup", language))
        results += [entry(work, peer, peer) for peer in [*peers, *XARGS]]
    path = TOP / "build" / "bench" / "examples.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
