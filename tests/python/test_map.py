"""map() and imap(): results in order, items taken no faster than they are wanted, refused calls that change nothing."""

import asyncio
import itertools
import threading

import pytest
from conftest import HANG, until
from cwaitgroup import Cancelled, ErrGroup


class Boom(Exception):
    pass


class Counted:
    """An iterator over an endless row of numbers that says how many were taken."""

    def __init__(self, end=None):
        self.taken, self.end = 0, end

    def __iter__(self):
        return self

    def __next__(self):
        if self.taken == self.end:
            raise StopIteration
        self.taken += 1
        return self.taken - 1


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_map_takes_no_more_items_than_the_limit_lets_run(gate, limit):
    items, running = Counted(20), []

    def work(n):
        running.append(n)
        gate.wait()
        return n

    with ErrGroup(limit) as g, ErrGroup() as caller:
        mapped = caller.go(g.map, work, items)
        until(lambda: len(running) == limit)
        assert items.taken == limit
        gate.set()
        assert mapped.result() == list(range(20))


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("limit", [None, 1, 3])
def test_imap_of_an_endless_iterable(limit, ordered):
    items = Counted()
    with ErrGroup(limit) as g:
        results = g.imap(abs, items, ordered=ordered)
        assert items.taken == 0
        got = list(itertools.islice(results, 50))
        assert items.taken <= 50 + (limit or 32)
    assert got == list(range(50)) if ordered else len(set(got)) == 50
    assert g.completed == items.taken


def test_imap_in_order_and_as_they_come():
    turns = [threading.Event() for _ in range(3)]

    def work(n):
        assert turns[n].wait(HANG)
        return n

    with ErrGroup() as g:
        turns[2].set()
        results = g.imap(work, range(3), ordered=False)
        assert next(results) == 2
        turns[0].set()
        assert next(results) == 0
        turns[1].set()
        assert list(results) == [1]
        assert list(g.imap(work, range(3))) == [0, 1, 2]
        assert list(g.imap(pow, [2, 3], itertools.count(2))) == [4, 27]
        assert list(g.imap(abs, [])) == []


def fail_at_three(n):
    if n == 3:
        raise Boom
    return n


@pytest.mark.parametrize("ordered", [True, False])
def test_imap_raises_the_first_error(ordered):
    with pytest.raises(Boom), ErrGroup(limit=2) as g:
        for _ in g.imap(fail_at_three, itertools.count(), ordered=ordered):
            pass
    assert g.context.cancelled()


def test_imap_of_an_iterable_that_fails():
    def numbers():
        yield 1
        raise Boom

    g = ErrGroup()
    with pytest.raises(Boom):
        list(g.imap(abs, numbers()))
    assert isinstance(g.context.cause, Boom)


def test_imap_inside_a_task_of_the_group():
    g = ErrGroup(limit=3)
    assert g.go(lambda: list(g.imap(abs, range(20)))).result() == list(range(20))
    failing = g.go(lambda: list(g.imap(fail_at_three, range(20))))
    with pytest.raises(Boom):
        g.wait()
    assert failing.cancelled()


def test_map_with_other_tasks_at_the_limit(gate):
    with ErrGroup(limit=2) as g:
        g.go(gate.wait)
        assert g.map(abs, range(-20, 0)) == list(range(20, 0, -1))
        gate.set()


def test_a_limit_that_changes_meanwhile():
    with ErrGroup(limit=1) as g:
        results = g.imap(abs, Counted(300))
        for n in results:
            g.limit = n % 5 + 1
    assert n == 299


async def coroutine_function(n):
    pass


BAD_CALLS = {
    "a coroutine function": (coroutine_function, [1]),
    "no function": (42, []),
    "no function, with items": (None, [1]),
    "no iterable": (abs, 42),
    "a second one that is none": (pow, [1], None),
    "none at all": (abs,),
    "nothing": (),
}


@pytest.mark.parametrize("args", BAD_CALLS.values(), ids=BAD_CALLS.keys())
def test_refused_means_unchanged(gate, args):
    items = Counted()
    g = ErrGroup(limit=1)
    first = g.go(gate.wait)
    for call in (g.map, g.imap):
        with pytest.raises(TypeError):
            call(*args, *([items] if len(args) > 1 else []))
    assert items.taken == 0
    assert not g.context.cancelled() and g.limit == 1 and g.completed == 0
    gate.set()
    assert first.result() is True
    assert g.map(abs, [-1]) == [1]
    g.wait()


@pytest.mark.parametrize("name", ["sorted", "order"])
def test_unknown_options_of_imap(name):
    with pytest.raises(TypeError, match=r"imap\(\) takes one keyword argument, ordered"):
        ErrGroup().imap(abs, [1], **{name: True})


def test_a_failed_map_is_named_as_what_finished_the_group():
    g = ErrGroup(name="pages")
    with pytest.raises(Boom):
        g.map(fail_at_three, [3])
    with pytest.raises(RuntimeError, match=r"ErrGroup.go\(\) of group 'pages': .* has been given by ErrGroup.map\(\)"):
        g.go(abs, 1)


def test_map_refuses_to_stop_an_event_loop():
    async def main():
        g = ErrGroup()
        for call in (g.map, g.imap):
            with pytest.raises(RuntimeError, match=r"would stop the event loop.*asyncio\.to_thread\(group\.map"):
                call(abs, [1])
        assert await asyncio.to_thread(g.map, abs, [-1]) == [1]
        with ErrGroup() as plain:  # which blocks the loop anyway
            assert plain.map(abs, [-1]) == [1]
        await g

    asyncio.run(main())


def test_a_stopped_group_stops_imap():
    g = ErrGroup(limit=1)
    with pytest.raises(Cancelled):
        for n in g.imap(abs, itertools.count()):
            if n == 5:
                g.cancel()
