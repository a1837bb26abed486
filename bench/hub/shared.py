"""Measure what it costs that several languages share a group: see works.py, and bench/python/run.py for how.

usage: shared.py RESULT; BENCH_QUICK=1 in the environment: fewer rounds
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "python")]

from run import main  # noqa: E402

if __name__ == "__main__":
    main(sys.argv[1])
