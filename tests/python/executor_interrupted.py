"""A program that is interrupted while two tasks of its group run on an executor: python executor_interrupted.py ENGINE
DIRECTORY. These two end when most of the others have been dropped. It prints "ready", and how many have not ended."""

import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path

from cwaitgroup import ErrGroup
from executor_work import tell_and_wait_for_file

TASKS = 40


def dask():
    import distributed

    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)
    return nullcontext(distributed.Client(cluster).get_executor())


def release_when_dropped(tasks, path):
    while sum(task.cancelled() for task in tasks) < TASKS / 2:
        time.sleep(0.01)
    path.touch()


def main(engine, directory):
    from test_executor import ENGINES

    with {**ENGINES, "dask": dask}[engine]() as executor:
        g = ErrGroup(executor=executor)
        tasks = [g.go(tell_and_wait_for_file, directory / f"running {n}", directory / "release") for n in range(TASKS)]
        threading.Thread(target=release_when_dropped, args=[tasks, directory / "release"], daemon=True).start()
        try:
            with g:
                print("ready", flush=True)
        except KeyboardInterrupt:
            print(sum(not task.done() for task in tasks))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
