"""Refuse to measure while other programs use the processor. usage: quiet.py; BENCH_LOADED=1: only warn

What counts is how busy the cores are during two seconds, not the load average, which remembers a build for minutes.
"""

import os
import sys
import time
from pathlib import Path

SECONDS = 2.0
MOST = 0.15  # of all cores together


def used_and_all() -> tuple[int, int]:
    """Ticks of all cores since the start: those in use, or stolen by other machines on the same host, and all."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return sum(ticks) - idle, sum(ticks)


def main() -> None:
    used, all_ticks = used_and_all()
    time.sleep(SECONDS)
    used_now, all_now = used_and_all()
    busy = (used_now - used) / max(all_now - all_ticks, 1)
    if busy <= MOST:
        return
    told = f"other programs use {busy:.0%} of the processor, and figures would speak of them"
    if os.environ.get("BENCH_LOADED", "") in ("", "0"):
        sys.exit(f"bench: {told}. Try again when they have ended, or run `make bench BENCH_LOADED=1`.")
    print(f"bench: {told}; going on, since BENCH_LOADED is set", file=sys.stderr)


if __name__ == "__main__":
    main()
