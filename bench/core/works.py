"""What is measured, of whom, and what this library is to reach.

A subject "Go X" is BenchmarkWork/X of go/core_test.go, any other the benchmark "work/subject" of the C++ program.
"""

from dataclasses import dataclass, field

GO = "Go "

# To compare with: std::latch only counts down, the others are the bare instructions.
COUNTING = {"std::latch": None, "bare atomic add": None, "bare CAS": None}


@dataclass(frozen=True)
class Work:
    name: str
    title: str
    unit: str = "ns"
    scale: float = 1  # what is measured, in ns or as a counter, is this many units
    # Each peer, and the most that this library may take, as a multiple of what the peer takes; None: to compare with.
    peers: dict[str, float | None] = field(default_factory=dict)
    limit: float | None = None  # the most that this library may take, in units
    single: bool = False  # one run of it in a process, not as many as fill a time
    once: bool = False  # does not vary, so once is enough

    @property
    def targets(self) -> str | None:
        texts = [f"{factor:g} of {peer}" for peer, factor in self.peers.items() if factor is not None]
        if self.limit is not None:
            texts.append(f"{self.limit:g} {self.unit}")
        return "at most " + " and ".join(texts) if texts else None


WORKS = [
    Work("add_done", "add + done, one thread", peers={"Go WaitGroup": 0.85, "nsync": 0.4, **COUNTING}),
    Work(
        "add_done_two", "add + done, two threads on one group", peers={"Go WaitGroup": 0.77, "nsync": None, **COUNTING}
    ),
    Work("wait_zero", "wait at zero", peers={"Go WaitGroup": 1, "nsync": None, "std::latch": None}),
    Work("status_cancelled", "is it cancelled? it is", peers={"Go context": 0.2, "nsync": None}),
    Work("status_live", "is it cancelled? it is not", peers={"Go context": 1, "nsync": None}),
    Work("child_context", "child context: make, cancel, free", peers={"Go context": 1, "nsync": None}),
    Work(
        "million_tasks",
        "1,000,000 empty tasks, per task",
        scale=1e6,
        peers={"Go errgroup": 0.5, "TBB": 1, "libuv": None, "GThreadPool": None, "Go WaitGroup": None},
        single=True,
    ),
    Work(
        "limited_tasks",
        "100,000 empty tasks under a limit of 2, per task",
        scale=1e5,
        peers={"Go errgroup": 1},
        single=True,
    ),
    Work(
        "one_task",
        "one task: go + wait",
        peers={
            "Go errgroup": 1,
            "Go errgroup with context": None,
            "Go WaitGroup": None,
            "TBB": None,
            "libuv": None,
            "GThreadPool": None,
        },
    ),
    Work(
        "meeting",
        "1,000 tasks that all wait for each other, from a cold start",
        unit="ms",
        scale=1e6,
        peers={"pthread": 2, "Go errgroup": None},
        single=True,
    ),
    Work("wake_same_core", "wake, there and back, on one core", peers={"futex": 1.15}),
    Work("wake_other_core", "wake, there and back, across cores", peers={"futex": 1.15}),
    Work(
        "object_size",
        "size of a wait group",
        unit="B",
        peers={"Go WaitGroup": None, "std::latch": None},
        limit=16,
        single=True,
        once=True,
    ),
    Work("queued_malloc", "memory of a queued task, allocated", unit="B", limit=64, single=True, once=True),
    Work(
        "queued_resident",
        "memory of a queued task, resident",
        unit="B",
        peers={"TBB": None, "libuv": None, "Go errgroup": None},
        single=True,
        once=True,
    ),
    Work(
        "threads_left",
        "threads of a process that used 1,000, after the idle time",
        unit="threads",
        limit=1,
        single=True,
        once=True,
    ),
]
