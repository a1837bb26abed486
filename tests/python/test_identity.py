"""Ids: the same object again, within Python. What other languages do with them is in tests/hub."""

import gc
import os
import weakref

import pytest
from cwaitgroup import Context, ErrGroup, WaitGroup, attach, current_context


@pytest.mark.parametrize("make", [WaitGroup, ErrGroup, Context], ids=lambda make: make.__name__)
class TestEach:
    def test_the_same_object_comes_back(self, make):
        thing = make()
        assert thing.id == thing.id > 2**32
        assert attach(thing.id) is thing

    def test_an_id_owns_nothing(self, make):
        thing = make()
        number, gone = thing.id, weakref.ref(thing)
        del thing
        gc.collect()
        assert gone() is None
        with pytest.raises(
            LookupError, match=rf"^attach\({number}\): the object with this id is gone: keep a reference"
        ):
            attach(number)

    def test_ids_are_not_used_again(self, make):
        assert len({make().id for _ in range(100)}) == 100

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    def test_an_id_is_of_its_process(self, make):
        thing = make()
        number = thing.id
        read, write = os.pipe()
        if os.fork() == 0:
            try:
                attach(number)
            except LookupError as error:
                os.write(write, str(error).encode())
            os.write(write, b" again" if attach(thing.id) is thing and thing.id != number else b" wrong")
            os._exit(0)
        os.wait()
        assert os.read(read, 1000).decode() == (
            f"attach({number}): the object with this id is of the process from which this one was forked: "
            "ask the object for its id here again"
        )
        assert attach(number) is thing
        os.close(read)
        os.close(write)


@pytest.mark.parametrize("number", [0, 1, -1, 2**62, 2**63, -(2**63), 2**200, -(2**200)])
def test_a_number_that_is_no_id(number):
    with pytest.raises(LookupError, match=rf"^attach\({number}\): no object has this id: pass on what id gave"):
        attach(number)


@pytest.mark.parametrize("thing", ["1", 1.0, None, True, ErrGroup], ids=repr)
def test_what_is_no_number(thing):
    with pytest.raises(TypeError, match=r"^attach\(\): an id is an int, not "):
        attach(thing)


def test_the_root_and_contexts_of_groups():
    assert attach(current_context().id) is current_context()
    group = ErrGroup()
    assert attach(group.context.id) is group.context
    assert attach(group.id).context is group.context


@pytest.mark.leaves_tasks
def test_a_group_that_is_shared_does_not_complain_when_its_handle_goes(recwarn):
    group = ErrGroup()
    assert group.id
    group.go(int, "x").exception(60)
    del group
    gc.collect()
    assert not recwarn.list


def test_errors_are_the_same_after_an_id_was_asked_for():
    group = ErrGroup()
    task = group.go(int, "x")
    error = task.exception(60)
    assert group.id
    assert group.errors == (error,)
    with pytest.raises(ValueError) as raised:
        group.wait()
    assert raised.value is error


@pytest.mark.leaves_tasks
def test_a_group_in_a_cycle_with_its_error_goes():
    def fail(group):
        raise ValueError(group)

    group = ErrGroup()
    assert group.id
    group.go(fail, group).exception(60)
    gone = weakref.ref(group)
    del group
    gc.collect()
    gc.collect()
    assert gone() is None
