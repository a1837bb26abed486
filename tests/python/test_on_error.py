"""on_error="continue": a task that fails does not stop the others."""

import itertools

import pytest
from cwaitgroup import Cancelled, ErrGroup, as_completed


class Boom(Exception):
    pass


def fail_at_three(n):
    if n == 3:
        raise Boom(n)
    return n


def test_all_run_and_the_outcome_is_the_first_error():
    with pytest.raises(Boom), ErrGroup(limit=1, on_error="continue") as g:
        tasks = [g.go(fail_at_three, n) for n in range(10)]
    assert [task.done() and not task.cancelled() for task in tasks] == [True] * 10
    assert g.on_error == "continue" and [str(error) for error in g.errors] == ["3"]
    with pytest.raises(ExceptionGroup), ErrGroup(on_error="continue", errors="all") as g:
        tasks = [g.go(fail_at_three, n) for n in (3, 3, 4)]
    assert len(g.errors) == 2 and tasks[2].result() == 4


def test_a_downloader_that_reports_failures():
    good, bad = [], []
    with pytest.raises(Boom), ErrGroup(limit=2, on_error="continue") as g:
        for task in as_completed([g.start(fail_at_three, [n], name=f"page {n}") for n in range(6)]):
            (bad if task.exception() else good).append(task.name)
    assert bad == ["page 3"] and len(good) == 5
    assert g.errors[0].__notes__ == ["in task 'page 3'"]


def test_the_deadline_and_cancel_still_stop_it():
    with pytest.raises(Cancelled), ErrGroup(on_error="continue", timeout=0.05) as g:
        g.go(g.context.wait)
    with ErrGroup(on_error="continue") as g:
        g.go(g.context.wait)
        g.cancel()


def test_an_error_of_a_task_in_the_body_lets_the_others_run():
    with pytest.raises(Boom), ErrGroup(on_error="continue") as g:
        g.go(fail_at_three, 3).result()
    with pytest.raises(Boom), ErrGroup(on_error="continue") as g:
        failed, other = g.go(fail_at_three, 3), g.go(fail_at_three, 4)
        failed.result()
    assert other.result() == 4


def test_map_and_imap():
    g = ErrGroup(on_error="continue")
    with pytest.raises(Boom):
        g.map(fail_at_three, range(10))
    assert g.completed == 10
    assert g.map(fail_at_three, range(3)) == [0, 1, 2]  # the group goes on
    results = g.imap(fail_at_three, itertools.count())
    assert list(itertools.islice(results, 3)) == [0, 1, 2]
    with pytest.raises(Boom):
        next(results)
    with pytest.raises(Boom):
        g.wait()


@pytest.mark.parametrize("on_error", ["stop", "", None, True, b"cancel"])
def test_unknown_values_are_refused(on_error):
    with pytest.raises(ValueError, match="on_error must be 'cancel' or 'continue'"):
        ErrGroup(on_error=on_error)
    assert ErrGroup().on_error == "cancel"
