"""python -m cwaitgroup: what is installed here, and does it work? Exit status 0 if it does, else 1.

python -m cwaitgroup dump PID [SIGNAL]: have a process write what waits for what to its standard error.
python -m cwaitgroup timeline FILE: sum up a timeline that trace() or WAITGROUP_TRACE has written.
"""

import sys
import sysconfig
import time

import cwaitgroup
from cwaitgroup import Context, ErrGroup, WaitGroup, _core, _inspect, _timeline

HANG = 10  # seconds; far longer than anything here takes


def describe() -> None:
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    print(f"cwaitgroup {cwaitgroup.__version__}")
    print(
        f"Python     {sys.version.split()[0]} ({sysconfig.get_config_var('SOABI')}), {'with' if gil else 'without'} GIL"
    )
    print(f"threads    sleep by {_core._park}")


def check_wait_group() -> None:
    wg = WaitGroup()
    seen: list[int] = []
    for i in range(100):
        wg.go(seen.append, i)
    assert wg.wait(HANG), f"a hundred tasks have not ended in {HANG} s: {wg}"
    assert sorted(seen) == list(range(100)), f"tasks were lost: {seen}"


def check_results() -> None:
    with ErrGroup(limit=3, timeout=HANG) as g:
        assert g.map(pow, range(50), [2] * 50) == [n * n for n in range(50)]


def check_first_error() -> None:
    g = ErrGroup(timeout=HANG)
    g.go(g.context.wait)
    g.go(int, "x")
    try:
        g.wait()
    except ValueError:
        return
    raise AssertionError("the error of a task did not come out of wait()")


def check_deadline() -> None:
    with Context(timeout=0.02) as ctx:
        assert ctx.wait(HANG), "a deadline of 20 ms has not passed"
    assert not WaitGroup(1).wait(0.02), "a wait for nothing has ended"


def check_speed(seconds: float = 0.5) -> None:
    """Run empty tasks for a while."""
    tasks, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        with ErrGroup(timeout=HANG) as g:
            for _ in range(2000):
                g.go(int)
        tasks += 2000
    print(f"speed      {elapsed / tasks * 1e6:.2f} µs a task")


def main() -> int:
    if sys.argv[1:2] == ["dump"]:
        return _inspect.ask(sys.argv[2:])
    if sys.argv[1:2] == ["timeline"]:
        return _timeline.main(sys.argv[2:])
    describe()
    for check in (check_wait_group, check_results, check_first_error, check_deadline, check_speed):
        try:
            check()
        except Exception as error:
            print(f"FAILED     {check.__name__}: {type(error).__name__}: {error}")
            return 1
    print("all well")
    return 0


if __name__ == "__main__":
    sys.exit(main())
