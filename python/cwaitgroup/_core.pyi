from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future
from types import GenericAlias, TracebackType
from typing import Any, Final, Generic, Literal, ParamSpec, Self, TypeVar, final, overload

_P = ParamSpec("_P")
_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)
_A = TypeVar("_A")
_B = TypeVar("_B")
_C = TypeVar("_C")

__version__: Final[str]
_park: Final[str]
_root: Final[Context]

def _dump() -> str: ...
def _dump_on_signal(signum: int, fd: int, /) -> None: ...
def _leaks(since: int, /) -> str: ...
def _now() -> int: ...
def _end_of_wait(call: str, timeout: float | None, context: Context | None, /) -> float | None: ...
def _trace_start(path: bytes, /) -> None: ...
def _trace_stop() -> None: ...
def _trace_on() -> bool: ...
def _trace_name(number: int, name: str, /) -> None: ...

class Cancelled(Exception):
    """A context or a group has ended before the work was done; __cause__ is the cause, if it is an
    exception.
    """

class DeadlineExceeded(Cancelled, TimeoutError):
    """A context or a group has ended because its time was over."""

class NegativeCounterError(ValueError):
    """A WaitGroup's count would have fallen below zero; it is unchanged."""

class DeadlockError(RuntimeError):
    """The call could never have returned, because it would have waited for itself."""

class WaitTimeout(TimeoutError):
    """The `timeout` of a call has passed before what it waits for; no function of a task raises it."""

class ForeignError(Exception):
    """An error of a task of another language, or the cause of a cancellation there: its `message`, its
    `language`, its `traceback`, a str or None, and its `value`: what was thrown if that is None, a bool, a
    number, a string, or a list or dict of these, else None.
    """

    message: str
    language: str
    traceback: str | None
    value: Any

@final
class WaitGroup:
    """Wait until a number of things have happened.

    It counts: add() before something starts, done() when it has happened, wait()
    until the count is zero. It may be used again and again, from any thread.
    `n` is the count to begin with, 0 to 2147483647.

    >>> wg = WaitGroup()
    >>> results = []
    >>> for i in range(3):
    ...     wg.go(results.append, i)
    >>> wg.wait()
    True
    >>> sorted(results)
    [0, 1, 2]

    In a with statement, leaving the block waits. `await wg` waits in asyncio and
    in trio.

    Raises NegativeCounterError or OverflowError if `n` is out of range.
    """
    def __new__(cls, n: int = 0) -> Self: ...
    def add(self, n: int = 1) -> None:
        """Add `n`, which may be negative, to the count.

        Add before starting what will call done(): an add() in the new thread may come
        after the wait(). Adding while others still wake up from an earlier zero is fine.

        >>> wg = WaitGroup()
        >>> wg.add(2)
        >>> wg.count
        2

        Raises NegativeCounterError if the count would fall below zero, OverflowError if
        it would pass 2147483647; then the count is unchanged. Any thread may call it.
        """
    def done(self) -> None:
        """Subtract one from the count; at zero, every thread that waits wakes up.

        What a thread did before done() is visible to whoever returns from the wait()
        that it ended.

        >>> wg = WaitGroup(1)
        >>> wg.done()
        >>> wg.count
        0

        Raises NegativeCounterError, and changes nothing, if the count is zero. Any
        thread may call it.
        """
    def wait(self, timeout: float | None = None, *, context: Context | None = None) -> bool:
        """Wait until the count is zero, or has been zero since the call.

        `timeout` is in seconds; None waits for ever and 0 only looks. Returns True if
        the count reached zero, False if the time was over first.

        >>> wg = WaitGroup(1)
        >>> wg.wait(timeout=0.01)
        False
        >>> wg.done()
        >>> wg.wait()
        True

        Raises Cancelled (or DeadlineExceeded) when `context`, a Context, ends first, by
        default that of the task that waits; ValueError for a negative or NaN timeout;
        DeadlockError when a task would wait for ever, as for itself;
        RuntimeError in the child of a fork, if the count is of tasks of the parent. Ctrl-C
        interrupts it at once. Any thread may call it; a wait that ends early leaves nothing
        behind.
        """
    def go(self, fn: Callable[_P, object], /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Run fn(*args, **kwargs) in a worker thread: add(), run, done() however it ends.

        It runs in a copy of the caller's contextvars. An exception goes to
        threading.excepthook; use ErrGroup if you need it, or the result.

        >>> wg, said = WaitGroup(), []
        >>> wg.go(said.append, 'hello')
        >>> wg.wait(), said
        (True, ['hello'])

        Raises TypeError if `fn` cannot be called or is async; RuntimeError if no thread
        can be started or the interpreter is shutting down. Any thread may call it.
        """
    @property
    def id(self) -> int:
        """A number by which attach() finds the wait group in another language of this process.
        It does not keep the wait group.
        """
    @property
    def count(self) -> int:
        """The count just now, an int; it may have changed by the time you look."""
    def __await__(self) -> Generator[Any, Any]: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> Literal[False]: ...
    def _observe(self, fn: Callable[[], object], /) -> Callable[[], bool]: ...
    def _wait_without(self, lock: Any, call: str, timeout: float | None, context: Context | None, /) -> bool: ...

@final
class Context:
    """Says "stop now" to all that refer to it, with a reason, a deadline, and children.

    It ends once: by cancel(), or when its time is over. Its children end with it, for
    the same cause. `parent` is, if not given, the context of the task that runs in
    this thread; None makes a context that is nobody's child. `timeout` is in seconds
    from now, `deadline` a moment on the clock of time.monotonic(), maybe past; the
    earliest holds, the parent's included.

    >>> ctx = Context(timeout=60)
    >>> ctx.cancelled()
    False
    >>> ctx.cancel('no longer needed')
    >>> ctx.cancelled(), ctx.cause
    (True, 'no longer needed')
    >>> ctx.check()
    Traceback (most recent call last):
    cwaitgroup.Cancelled: context cancelled: no longer needed

    Leaving a with block cancels it. `await ctx` waits for its end in asyncio and trio,
    and does not raise for it. Raises ValueError for a negative or NaN timeout,
    RuntimeError if no thread can be had to keep the deadline. All its methods may be
    called from any thread.
    """
    def __new__(
        cls, parent: Context | None = ..., *, timeout: float | None = None, deadline: float | None = None
    ) -> Self: ...
    def cancel(self, cause: BaseException | str | None = None) -> None:
        """End the context and its children; the first call wins, later ones do nothing.

        `cause` is an exception, a str or None. It wakes all waits and calls the callbacks
        before it returns, but does not wait for anybody to stop.

        >>> ctx = Context()
        >>> ctx.cancel(OSError('disk full'))
        >>> ctx.cause
        OSError('disk full')

        Raises TypeError for another cause, RuntimeError for the root, which is the context
        of all code outside of tasks.
        """
    def cancelled(self) -> bool:
        """True once the context has ended, also by its deadline. Cheap enough for a loop.

        >>> Context().cancelled()
        False
        """
    def check(self) -> None:
        """Raise Cancelled, or DeadlineExceeded, if the context has ended.

        The exception's __cause__ is the cause, if that is an exception.

        >>> Context().check()
        >>> Context(timeout=0).check()
        Traceback (most recent call last):
        cwaitgroup.DeadlineExceeded: context deadline exceeded
        """
    def wait(self, timeout: float | None = None, *, context: Context | None = None) -> bool:
        """Sleep until the context ends: a sleep that cancellation interrupts.

        `timeout` is in seconds; None sleeps for ever and 0 only looks. Returns True if the
        context has ended, False if the time was over first.

        >>> ctx = Context()
        >>> ctx.wait(0.01)
        False

        Raises Cancelled (or DeadlineExceeded) when another Context ends first: `context`,
        by default that of the task that waits. Raises ValueError for a negative or NaN
        timeout. Ctrl-C interrupts it at once.
        """
    def remaining(self) -> float | None:
        """Seconds left until the deadline, never below 0; None if there is none.

        For the timeout= of other libraries: when that is over, so is the context.

        >>> 59 < Context(timeout=60).remaining() <= 60
        True
        """
    def add_callback(self, fn: Callable[[], object], /) -> Callable[[], bool]:
        """Call fn() once when the context ends; at once if it has.

        It is called in the thread that cancels, or in a housekeeping thread at the
        deadline, and should not block. An exception goes to sys.unraisablehook. Returns
        stop(), which takes the callback back: True if that prevented the call. A Context
        that nobody refers to any more calls nobody.

        >>> ctx = Context()
        >>> stop = ctx.add_callback(lambda: print('cancelled'))
        >>> ctx.cancel()
        cancelled
        >>> stop()
        False

        Raises TypeError if `fn` cannot be called.
        """
    def fileno(self) -> int:
        """A file descriptor that becomes, and stays, readable when the context ends.

        For select, selectors and event loops. It belongs to the context: never read or
        close it.

        >>> import select
        >>> ctx = Context()
        >>> ctx.cancel()
        >>> select.select([ctx], [], [], 0)[0] == [ctx]
        True

        Raises OSError if there is none to be had, RuntimeError in the child of a fork if it
        was made before.
        """
    @property
    def id(self) -> int:
        """A number by which attach() finds the context in another language of this process. It
        does not keep the context.
        """
    @property
    def cause(self) -> BaseException | str | None:
        """What it was cancelled with, an exception or a str; a DeadlineExceeded after its
        deadline; None if it was cancelled with nothing, or lives.
        """
    @property
    def deadline(self) -> float | None:
        """When its time is over, on the clock of time.monotonic(), in seconds; or None.
        Always the same number, which may be handed on as the deadline= of another.
        """
    def __await__(self) -> Generator[Any, Any]: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> Literal[False]: ...

@final
class Task(Generic[_T_co]):
    """A function that an ErrGroup runs, and what became of it.

    Made by ErrGroup.go(), try_go() and start(). Its type can be written Task[int].
    `await task` waits for it in asyncio and trio, and is what result() returns.

    >>> with ErrGroup() as g:
    ...     task = g.go(pow, 2, 10)
    >>> task.done(), task.result()
    (True, 1024)

    All its methods may be called from any thread.
    """
    def result(self, timeout: float | None = None, *, context: Context | None = None) -> _T_co:
        """Wait for the task to end, and return what its function returned.

        `timeout` is in seconds; None waits for ever and 0 only looks.

        >>> with ErrGroup() as g:
        ...     print(g.go(len, 'four').result(timeout=5))
        4

        Raises the function's exception itself; Cancelled if the group was cancelled before
        the task started; WaitTimeout, a TimeoutError that no task raises, if `timeout` passes;
        Cancelled or DeadlineExceeded when `context` ends first, by default that of the task
        that calls; DeadlockError if it would never return; ValueError for a negative or
        NaN timeout; RuntimeError in the child of a fork.
        """
    def exception(self, timeout: float | None = None, *, context: Context | None = None) -> BaseException | None:
        """Wait for the task to end, and return its exception, or None if it succeeded.

        `timeout` is in seconds; None waits for ever and 0 only looks.

        >>> g = ErrGroup()
        >>> g.go(int, 'x').exception(timeout=5)
        ValueError("invalid literal for int() with base 10: 'x'")

        Raises Cancelled if the task was stopped by the group's end or never started, and
        otherwise what result() raises for a wait that fails.
        """
    def done(self) -> bool:
        """True once the task has ended, in whatever way.

        >>> with ErrGroup() as g:
        ...     task = g.go(len, 'x')
        >>> task.done()
        True
        """
    def cancelled(self) -> bool:
        """True if the group's cancellation, or cancel(), kept it from starting, or ended it.

        Cancellation ended it if the function raised Cancelled after the group was cancelled.

        >>> g = ErrGroup()
        >>> task = g.go(lambda: (g.context.wait(), g.context.check()))
        >>> g.cancel(); g.wait()
        >>> task.cancelled()
        True
        """
    def running(self) -> bool:
        """True while its function runs.

        >>> with ErrGroup() as g:
        ...     task = g.go(len, 'x')
        >>> task.running()
        False
        """
    def cancel(self) -> bool:
        """Keep the task from starting; its group and its other tasks go on.

        Returns True if the task will never run, False if it runs or has ended: nothing in
        Python can stop a function, except that it looks at its context; see
        ErrGroup.cancel(). A task kept from starting ends when its turn comes, and counts as
        cancelled.

        >>> with ErrGroup() as g:
        ...     task = g.go(len, 'x')
        >>> task.cancel()
        False
        """
    def add_done_callback(self, fn: Callable[[Task[_T_co]], object], /) -> None:
        """Call fn(task) once when the task has ended; at once if it has.

        It is called in the thread that ran the task, after its slot was given back, so
        that a wait for the group may have returned before; it should not block. An
        exception goes to sys.unraisablehook.

        >>> with ErrGroup() as g:
        ...     g.go(abs, -3).add_done_callback(lambda task: print(task.result()))
        3

        Raises TypeError if `fn` cannot be called, RuntimeError in the child of a fork for a
        task of the parent.
        """
    def __await__(self) -> Generator[Any, Any, _T_co]: ...
    def _remove_done_callback(self, fn: Callable[[Task[_T_co]], object], /) -> bool: ...
    def _run_here(self, fn: Callable[..., Any], /, *args: Any) -> Any: ...
    def _sent(self, future: Future[Any], /) -> None: ...
    def _finish(self, result: Any, /) -> None: ...
    def _fail(self, exception: BaseException, /) -> None: ...
    def _drop(self) -> bool: ...
    def _failure(self) -> BaseException | None: ...
    def _succeeded(self, timeout: float | None = None, *, context: Context | None = None) -> bool: ...
    @property
    def name(self) -> str:
        """The name given to start(), or that of its function, a str."""
    @classmethod
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...

@final
class ErrGroup:
    """Run functions in threads together; the first error stops the rest.

    >>> with ErrGroup(limit=2) as g:
    ...     tasks = [g.go(pow, 2, n) for n in range(5)]
    >>> [task.result() for task in tasks]
    [1, 2, 4, 8, 16]

    Leaving the block waits for all tasks, and raises the first error itself. When a
    task fails, the group's context is cancelled: tasks that have not started never
    start, go() refuses more, and running ones should stop by themselves, for example
    because they look at current_context().cancelled() or sleep in its wait(). If the
    block itself fails, that cancels the group too, and the block's exception wins; but
    the error of one of the group's own tasks, from result(), is the group's.

    limit     how many tasks may run at once; go() blocks when there is no room
    timeout   seconds until the group is cancelled, with DeadlineExceeded
    grace     seconds that tasks get to end once the group is cancelled; then wait()
              leaves them behind, and says which; if one fails later, that goes to
              sys.unraisablehook
    context   a Context whose end cancels the group; by default that of the task which
              makes the group, if one does
    errors    'first', or 'all' to raise all errors together as an ExceptionGroup
    name      shown in messages, in repr(), and in the names of threads that run its tasks
    on_error  'cancel', or 'continue' to let the other tasks run when one fails; the
              outcome is the same
    backlog   how many more tasks may be queued, beyond the limit, before go() blocks
    executor  a concurrent.futures.Executor that runs the tasks in the place of threads, in
              other processes or on other machines; it is not shut down, and `backlog` is
              not for its tasks. See docs/cluster.md

    `async with` and `await g` do the same in asyncio and trio without blocking the
    loop; the first error and the deadline interrupt the block, and cancelling the
    awaiting task cancels the group. A group is for one use: once wait() has given the
    outcome, it takes no more tasks. It keeps no finished task, so it may run any number
    of them. A group that is dropped with an error that nobody has seen reports that to
    sys.unraisablehook, and warns.

    Raises ValueError for a limit below 1, a negative backlog or time, a NaN, or an
    unknown `errors` or `on_error`. All its methods may be called from any thread.
    """
    def __new__(
        cls,
        limit: int | None = None,
        *,
        timeout: float | None = None,
        grace: float | None = None,
        context: Context | None = None,
        errors: Literal["first", "all"] = "first",
        name: str | None = None,
        on_error: Literal["cancel", "continue"] = "cancel",
        backlog: int = 0,
        executor: Executor | None = None,
    ) -> Self: ...
    def go(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Task[_T]:
        """Run fn(*args, **kwargs) in a worker thread; returns its Task.

        It runs in a copy of the caller's contextvars. At the limit go() blocks until there
        is room or the group is cancelled. Whatever the function raises, also SystemExit
        and KeyboardInterrupt, is the task's error; but a Cancelled that it raises once the
        group is cancelled only says that it stopped.

        >>> g = ErrGroup()
        >>> task = g.go(sorted, 'cab', reverse=True)
        >>> g.wait()
        >>> task.result()
        ['c', 'b', 'a']

        Raises Cancelled (or DeadlineExceeded), with the cause, if the group is cancelled,
        or if go() waits for room inside a task whose own group is; TypeError if `fn` cannot
        be called or is async; DeadlockError if it could never return, since every task that
        the limit allows waits in go() itself; RuntimeError if the group is finished, no
        thread can be started, the interpreter is shutting down, or there is no room and an
        event loop runs in this thread, unless in a plain with block of the group: see
        go_async(). Ctrl-C interrupts it at once.
        """
    @overload
    def start(
        self,
        fn: Callable[..., _T],
        args: tuple[Any, ...] | list[Any] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        name: str | None = None,
        block: Literal[True] = True,
        context: Context | None = None,
        executor: Executor | None = None,
    ) -> Task[_T]:
        """Run fn(*args, **kwargs) in a worker thread, as go() does, with options.

        name     of the task, instead of the function's: in repr(), in messages, and in a
                 note on the exception with which the task fails
        block    False: return None if there is no room now, as try_go() does
        context  a Context whose end ends the wait for room; by default that of the task
                 that calls
        executor a concurrent.futures.Executor that runs the task; None: that of the group, or
                 else a worker thread

        >>> with ErrGroup() as g:
        ...     task = g.start(int, ['42'], name='the answer')
        >>> task.name, task.result()
        ('the answer', 42)

        Raises what go() raises, and TypeError if `args` is no tuple or list, or `kwargs` no
        dict.
        """
    @overload
    def start(
        self,
        fn: Callable[..., _T],
        args: tuple[Any, ...] | list[Any] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        name: str | None = None,
        block: bool,
        context: Context | None = None,
        executor: Executor | None = None,
    ) -> Task[_T] | None: ...
    async def go_async(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Task[_T]:
        """go() for asyncio and trio: `await` it, and it returns the Task once there is room.

        >>> import asyncio
        >>> async def main():
        ...     async with ErrGroup(limit=1) as g:
        ...         return [await g.go_async(abs, -n) for n in range(3)]
        >>> [task.result() for task in asyncio.run(main())]
        [0, 1, 2]

        Cancelling the await starts nothing. Raises what go() raises.
        """
    async def start_async(
        self,
        fn: Callable[..., _T],
        args: tuple[Any, ...] | list[Any] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        name: str | None = None,
    ) -> Task[_T]:
        """start() for asyncio and trio: `await` it, and it returns the Task once there is room.

        >>> import asyncio
        >>> async def main():
        ...     async with ErrGroup(limit=1) as g:
        ...         return await g.start_async(int, ['7'], name='seven')
        >>> asyncio.run(main()).name
        'seven'

        Raises what start() raises.
        """
    def try_go(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Task[_T] | None:
        """As go(), but never blocks: returns None if there is no room now.

        >>> with ErrGroup(limit=1) as g:
        ...     first = g.go(g.context.wait)
        ...     print(g.try_go(print, 'no room'))
        ...     g.cancel()
        None

        Raises what go() raises.
        """
    @overload
    def map(self, fn: Callable[[_A], _T], iterable: Iterable[_A], /) -> list[_T]:
        """Run fn for each item, as the built-in map(); wait; return the results in order.

        It stops with the shortest iterable, and waits for its own tasks only, so the group
        can be used on. Items are taken only as tasks can be started: never are more than
        limit + backlog of them under way.

        >>> with ErrGroup(limit=2) as g:
        ...     g.map(pow, [2, 3], [5, 2])
        [32, 9]

        Raises the group's first error, Cancelled if the group is cancelled, and what go()
        raises; if an iterable raises, that cancels the group. In a task of the group, where
        the outcome is not known yet, an error raises Cancelled, whose cause it is. With
        on_error='continue' it raises the error of the first item that failed, and the group
        goes on. RuntimeError in a thread that runs an event loop, as of go(). A call with
        arguments that cannot be right raises TypeError, and changes nothing.
        """
    @overload
    def map(self, fn: Callable[[_A, _B], _T], first: Iterable[_A], second: Iterable[_B], /) -> list[_T]: ...
    @overload
    def map(
        self, fn: Callable[[_A, _B, _C], _T], first: Iterable[_A], second: Iterable[_B], third: Iterable[_C], /
    ) -> list[_T]: ...
    @overload
    def map(self, fn: Callable[..., _T], /, *iterables: Iterable[Any]) -> list[_T]: ...
    @overload
    def imap(self, fn: Callable[[_A], _T], iterable: Iterable[_A], /, *, ordered: bool = True) -> Generator[_T]:
        """As map(), but an iterator that gives the results as they are asked for.

        The iterables may be endless: at most limit + backlog items are taken ahead of the
        results that you have got, or 32 + backlog without a limit. With `ordered` the results
        come in the order of the items, else in the order in which the tasks end. The first
        tasks start with the first result that is asked for. Those still under way when you
        stop asking are waited for by the group.

        >>> import itertools
        >>> with ErrGroup(limit=2) as g:
        ...     for n in g.imap(abs, itertools.count(-3)):
        ...         print(n, end=' ')
        ...         if n == 0:
        ...             break
        3 2 1 0

        Asking for a result raises what map() raises.
        """
    @overload
    def imap(
        self, fn: Callable[[_A, _B], _T], first: Iterable[_A], second: Iterable[_B], /, *, ordered: bool = True
    ) -> Generator[_T]: ...
    @overload
    def imap(self, fn: Callable[..., _T], /, *iterables: Iterable[Any], ordered: bool = True) -> Generator[_T]: ...
    def as_executor(self) -> Executor:
        """A concurrent.futures.Executor whose calls are tasks of the group.

        For libraries that take one. submit() never blocks: without room a call stands in the
        queue for a slot. An error of a call is its future's, and the group's as well. Its
        shutdown() waits for what was submitted to it, and lets the group go on.

        >>> with ErrGroup(limit=2) as g, g.as_executor() as executor:
        ...     list(executor.map(abs, [-1, -2]))
        [1, 2]

        submit() raises what go() raises for a cancelled or finished group.
        """
    def wait(self, timeout: float | None = None, *, context: Context | None = None) -> None:
        """Wait until every task has ended, and raise the first error, if there was one.

        `timeout` is in seconds; None waits for ever and 0 only looks. With the outcome the
        group ends; later calls give the same outcome.

        >>> g = ErrGroup()
        >>> task = g.go(int, 'x')
        >>> g.wait()
        Traceback (most recent call last):
        ValueError: invalid literal for int() with base 10: 'x'

        Raises the first error itself (a note tells of others; see `errors`), or with
        errors='all' an ExceptionGroup; Cancelled if the group was cancelled with a cause or
        by its parent; DeadlineExceeded. Raises, without an outcome, WaitTimeout, a TimeoutError
        that no task raises, if `timeout` passes; Cancelled or DeadlineExceeded if `context`
        ends first, by default that of the task that waits, if its end does not end this group
        too; DeadlockError if it would never return; ValueError for a negative or NaN
        timeout; RuntimeError in the child of a fork. Ctrl-C cancels the group, lets its tasks
        unwind, then raises KeyboardInterrupt; a second Ctrl-C raises at once.
        """
    def cancel(self, cause: BaseException | str | None = None) -> None:
        """Cancel the group's context: tasks not started never start, running ones are told.

        Without a cause it is a stop, not an error, and wait() returns normally. `cause`, an
        exception or a str, becomes the outcome unless a task fails before. The first call
        wins. It does not wait.

        >>> g = ErrGroup()
        >>> g.cancel('not today')
        >>> g.wait()
        Traceback (most recent call last):
        cwaitgroup.Cancelled: group cancelled: not today

        Raises TypeError for another cause.
        """
    @property
    def context(self) -> Context:
        """The group's Context, which ends with the group; in its tasks, current_context()."""
    @property
    def errors(self) -> tuple[BaseException, ...]:
        """The exceptions of the tasks that have failed so far, a tuple in order of failing."""
    limit: int | None
    @property
    def id(self) -> int:
        """A number by which attach() finds the group in another language of this process. It
        does not keep the group.
        """
    @property
    def name(self) -> str | None:
        """The name given, or None."""
    @property
    def backlog(self) -> int:
        """How many tasks may be queued beyond the limit."""
    @property
    def executor(self) -> Executor | None:
        """The executor that runs its tasks, or None: threads do."""
    @property
    def on_error(self) -> Literal["cancel", "continue"]:
        """'cancel' or 'continue'."""
    @property
    def running(self) -> int:
        """How many tasks run, just now."""
    @property
    def pending(self) -> int:
        """How many tasks wait for a thread, just now."""
    @property
    def completed(self) -> int:
        """How many tasks have ended, in whatever way."""
    def __enter__(self) -> Self: ...
    def __exit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> bool | None: ...  # plain `bool` would make type checkers ask for code after the block
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /
    ) -> bool | None: ...  # plain `bool` would make type checkers ask for code after the block
    def __await__(self) -> Generator[Any, Any]: ...
    def _observe(self, fn: Callable[[], object], /) -> Callable[[], bool]: ...
    def _observe_slot(self, fn: Callable[[], object], /) -> Any: ...
    def _abort(self, exception: BaseException, /) -> bool: ...
    def _finished(self) -> bool: ...
    def _enter_async(self) -> Self: ...
    def _wait_for_map(self) -> None: ...
    def _start_now(
        self, name: str | None, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> Task[_T] | None: ...
    def _start_in_slot(
        self, slot: Any, name: str | None, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> Task[_T] | None: ...
    _body: Any

def attach(id: int, /) -> WaitGroup | ErrGroup | Context:
    """The WaitGroup, ErrGroup or Context with that id, made in any language of this process.

    `id` is what its attribute `id` gives in Python, its method `id()` in Lua, and
    wg_errgroup_id() and its like in C. An id owns nothing: whoever gives it away keeps
    the object until the other side has attached. The same object comes back each time.

    >>> group = ErrGroup()
    >>> attach(group.id) is group
    True

    Raises LookupError if no object has the id, or if its object is gone, is known to its
    own language only, or is of a process from which this one was forked; TypeError if
    `id` is no int. Any thread may call it.
    """

def current_context() -> Context:
    """The Context of the ErrGroup whose task runs in this thread.

    Outside of any task it is the root, which never ends, so that functions work in both
    places. The root cannot be cancelled.

    >>> with ErrGroup() as g:
    ...     g.go(current_context).result() is g.context
    True
    """

def _run_in_context(context: Context, fn: Callable[..., _T], args: tuple[Any, ...], /) -> _T: ...
def _current_task() -> Task[Any] | None: ...
def _waiting_begin(
    subject: Any, event: str, context: Context | None, doubtful: bool, file: str, line: int, /
) -> object: ...
def _waiting_end(waiting: object, /) -> None: ...
def _pool_counts() -> tuple[int, int]: ...
