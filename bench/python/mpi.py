"""Under `mpiexec -n 3 python -m mpi4py.futures`: what a task costs on the two workers, in microseconds."""

import os

import works

if __name__ == "__main__":
    from mpi4py.futures import MPIPoolExecutor

    with MPIPoolExecutor(2) as executor:
        print(works.sending_cost(executor, getattr(works, os.environ["SEND"]), 1_000))
