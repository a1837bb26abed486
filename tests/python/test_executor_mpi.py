"""Groups on MPI: mpi4py.futures under mpiexec, three processes of which one runs this."""

import os
import shutil
import subprocess
import sys
import textwrap
from importlib.util import find_spec

import pytest
from conftest import EFFORT, HANG

pytestmark = pytest.mark.skipif(
    not shutil.which("mpiexec") or not find_spec("mpi4py"), reason="needs mpiexec and mpi4py"
)

PROGRAM = """
import os, signal, sys, threading
from cwaitgroup import *
from executor_work import *

def outcome(call):
    try:
        return call()
    except BaseException as error:
        return type(error).__name__

def main():
    from mpi4py.futures import MPIPoolExecutor

    def group(*calls, **options):
        with ErrGroup(executor=executor, **options) as g:
            tasks = [g.go(*call) for call in calls]
        return [task.result() for task in tasks]

    with MPIPoolExecutor(2) as executor:
        with ErrGroup(limit=4, executor=executor) as g:
            print(g.map(abs, range(-9, 0)))
        print(len(set(group(*[(unique,)] * 10))))
        print(outcome(lambda: group((boom,), *[(abs, n) for n in range(50)])))
        print(outcome(lambda: group((abs, threading.Lock()))), outcome(lambda: group((unpicklable_result,))))
        print(0 < group((remaining,), timeout=60)[0] <= 60)
        print(outcome(lambda: group((wait_until_over,), (wait_until_over,), (wait_until_over,), timeout=0.3)))
        with ErrGroup(executor=executor) as g:
            running, *others = [g.go(span, 0.2) for _ in range(30)]
            while not running.running():
                pass
            g.cancel()
        print(running.done(), others[-1].cancelled())
        try:
            with ErrGroup(executor=executor) as g:
                tasks = [g.go(span, 0.2) for _ in range(30)]
                signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            print(all(task.done() for task in tasks), sum(task.cancelled() for task in tasks) > 20)
        with ErrGroup(limit=64, executor=executor) as g:
            print(sum(g.imap(abs, range(int(os.environ["MANY"])))))

if __name__ == "__main__":
    main()
"""

FOR_OPEN_MPI = {  # it refuses root, and more processes than cores, as containers have them
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


def test_a_group_on_mpi(tmp_path):
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    many = int(1000 * EFFORT)
    path = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    ran = subprocess.run(
        ["mpiexec", "-n", "3", sys.executable, "-m", "mpi4py.futures", "program.py"],
        cwd=tmp_path,
        env={**os.environ, **FOR_OPEN_MPI, "PYTHONPATH": path, "MANY": str(many)},
        capture_output=True,
        text=True,
        timeout=HANG,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [
        "[9, 8, 7, 6, 5, 4, 3, 2, 1]",
        "10",
        "Boom",
        "TypeError TypeError",
        "True",
        "DeadlineExceeded",
        "True True",
        "True True",
        str(many * (many - 1) // 2),
    ]
