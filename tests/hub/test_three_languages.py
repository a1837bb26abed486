"""A C host with CPython and two Lua states on threads of their own: tests/hub/three.c, orders.c and ends.c."""

import pytest
from conftest import HERE


@pytest.fixture(scope="module")
def three(three_languages):
    return three_languages(HERE / "three.c")


def went_well(ran):
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_one_limit_for_four_feeders(three):
    went_well(three("limit"))


def test_no_language_has_room_where_another_took_it(three):
    went_well(three("full"))


@pytest.mark.parametrize("language", ["C", "Python", "thread", "coroutine"])
def test_a_failure_in_one_ends_the_waits_of_all(three, language):
    went_well(three("failure", language))


@pytest.mark.parametrize("language", ["C", "Python", "thread", "coroutine"])
def test_each_may_change_the_limit_and_stop_the_tasks_of_the_others(three, language):
    went_well(three("steering", language))


def test_errors_cross_and_are_themselves_at_home(three):
    went_well(three("errors"))


def test_tasks_of_all_languages_that_wait_for_each_other_hear_of_every_step(three):
    went_well(three("ring"))


def test_a_group_whose_python_has_ended_says_so_in_lua(three):
    went_well(three("gone"))


@pytest.fixture(scope="module")
def orders(three_languages):
    return three_languages(HERE / "orders.c")


@pytest.mark.parametrize("maker", ["python", "lua", "host"])
def test_they_end_in_every_order_with_tasks_running_and_queued(orders, maker):
    went_well(orders(maker))


def test_what_is_left_says_why_the_first_ended(three_languages):
    went_well(three_languages(HERE / "ends.c")(3))
