"""Objects that Python and Lua states of one process share: identity, tasks at home, errors, contexts, ends."""

import gc
import threading
from pathlib import Path

import pytest
from cwaitgroup import (
    Cancelled,
    Context,
    DeadlineExceeded,
    DeadlockError,
    ErrGroup,
    ForeignError,
    WaitGroup,
    attach,
    current_context,
)
from lua_in_python import Lua, LuaError

BUILD = Path(__file__).resolve().parents[2] / "build/lua"
HANG = 60


@pytest.fixture
def new_lua():
    """new_lua() opens a Lua state in which `w` is the module."""
    states = []

    def new():
        states.append(Lua())
        states[-1].run(
            f"package.path = '{BUILD}/?.lua;{BUILD}/?/init.lua;' .. package.path "
            f"package.cpath = '{BUILD}/?.so;' .. package.cpath "
            "w = require 'waitgroup'"
        )
        return states[-1]

    yield new
    for state in states:
        state.close()


@pytest.fixture
def lua(new_lua):
    return new_lua()


def share(lua, name, thing):
    lua.run(f"{name} = w.attach({thing.id})")
    return thing


def from_lua(lua, expression):
    return attach(int(lua.run(f"kept = kept or {{}} kept[#kept + 1] = {expression} return tostring(kept[#kept]:id())")))


class TestIdentity:
    @pytest.mark.parametrize("make", [WaitGroup, ErrGroup, Context], ids=lambda make: make.__name__)
    def test_from_python_and_back(self, lua, make):
        thing = share(lua, "thing", make())
        assert int(lua.run("return tostring(thing:id())")) == thing.id
        assert attach(int(lua.run("return tostring(thing:id())"))) is thing

    @pytest.mark.parametrize("kind", ["new", "errgroup", "context"])
    def test_from_lua_and_back(self, lua, kind):
        thing = from_lua(lua, f"w.{kind}()")
        assert lua.run(f"return tostring(w.attach({thing.id}) == kept[1])") == "true"
        assert from_lua(lua, "kept[1]") is thing

    def test_the_context_of_a_group_is_one_object(self, lua):
        group = share(lua, "g", ErrGroup())
        assert from_lua(lua, "g:context()") is group.context
        assert lua.run(f"return tostring(w.attach({group.context.id}) == g:context())") == "true"

    def test_a_group_knows_what_it_was_made_with(self, lua):
        group = from_lua(lua, "w.errgroup { name = 'jobs', limit = 3, on_error = 'continue' }")
        assert (group.name, group.limit, group.on_error) == ("jobs", 3, "continue")
        share(lua, "g", ErrGroup(name="loads", limit=2))
        assert lua.run("return g:name() .. g:limit()") == "loads2"

    def test_the_other_side_keeps_it(self, lua):
        group = ErrGroup()
        number = share(lua, "g", group).id
        del group
        gc.collect()
        again = attach(number)
        assert again.go(pow, 2, 3).result(HANG) == 8
        again.wait(HANG)

    def test_what_stands_for_nothing(self, lua):
        with pytest.raises(LookupError, match="no object has this id"):
            attach(7)
        number = int(lua.run("return tostring(w.new():id())"))
        lua.run("collectgarbage() collectgarbage()")
        with pytest.raises(LookupError, match="the object with this id is gone: keep a reference"):
            attach(number)
        channel = int(lua.run("ch = w.channel(1) return tostring(ch:id())"))
        with pytest.raises(LookupError, match="only the language which made it knows"):
            attach(channel)
        group = ErrGroup()
        with pytest.raises(LuaError, match="is that of a waitgroup.ErrGroup, not of a waitgroup.Context"):
            lua.run(f"w.attach({group.id}, 'context')")


class TestCounts:
    def test_each_side_adds_and_is_done(self, lua):
        wg = share(lua, "wg", WaitGroup(1))
        lua.run("wg:add(2)")
        assert wg.count == 3
        wg.done()
        lua.run("wg:done()")
        assert not wg.wait(0)
        lua.run("wg:done()")
        assert wg.wait(HANG)


class TestTasks:
    def test_each_runs_at_home_under_one_limit(self, lua):
        group = from_lua(lua, "w.errgroup { limit = 2 }")
        started, go_on = threading.Semaphore(0), threading.Event()

        def wait():
            started.release()
            assert go_on.wait(HANG)
            return threading.current_thread().name

        tasks = [group.go(wait) for _ in range(2)]
        assert started.acquire(timeout=HANG) and started.acquire(timeout=HANG)
        assert lua.run("return select(2, kept[1]:try_thread(function() end))") == "limit"
        assert group.try_go(int) is None
        go_on.set()
        assert all(task.result(HANG) for task in tasks)
        assert (
            lua.run("local t = kept[1]:thread(function(n) return n + 1 end, 41) return tostring(select(2, t:result()))")
            == "42"
        )
        lua.run("kept[1]:go(function() w.sleep(0.001) done = true end) assert(kept[1]:wait())")
        assert lua.run("return tostring(done)") == "true"
        group.wait(HANG)

    def test_threads_of_a_python_group(self, lua):
        group = share(lua, "g", ErrGroup())
        lua.run("for i = 1, 20 do g:thread(function(i) return i end, i) end")
        tasks = [group.go(abs, -i) for i in range(20)]
        group.wait(HANG)
        assert group.completed == 40 and [task.result() for task in tasks] == list(range(20))


class TestErrors:
    def test_of_python_in_lua(self, lua):
        def fail():
            raise ValueError("three")

        group = share(lua, "g", ErrGroup())
        group.go(fail)
        assert lua.run("ok, text, trace = g:wait() return text") == "ValueError: three"
        assert "in fail" in lua.run("return trace") and lua.run("return trace").startswith("Traceback")
        assert lua.run("return g:errors()[1]") == "ValueError: three"
        with pytest.raises(ValueError, match="three"):
            group.wait()

    @pytest.mark.parametrize(
        "thrown, text",
        [
            ("'plain'", "plain"),
            ("{ 1 }", "(error object is a table value)"),
            ("42", "42"),
            ("nil", "<no error object>"),
        ],
    )
    @pytest.mark.parametrize("how", ["go", "thread"])
    def test_of_lua_in_python(self, lua, how, thrown, text):
        group = share(lua, "g", ErrGroup())
        lua.run(f"g:{how}(function() error({thrown}, 0) end) w.run(function() g:wait() end)")
        with pytest.raises(ForeignError) as raised:
            group.wait(HANG)
        error = raised.value
        assert (str(error), error.message, error.language) == (text, text, "Lua")
        assert "stack traceback" in error.traceback and error.traceback in error.__notes__
        assert group.errors == (error,) and group.errors[0] is error

    @pytest.mark.parametrize(
        "thrown, value",
        [
            ("'plain'", "plain"),
            ("'\\255'", b"\xff"),
            ("'a\\0b'", "a\0b"),
            ("42", 42),
            ("math.mininteger", -(2**63)),
            ("0.5", 0.5),
            ("1/0", float("inf")),
            ("true", True),
            ("false", False),
            ("nil", None),
            ("{}", {}),
            ("{ 1, 'two', { 3 } }", [1, "two", [3]]),
            ("{ code = 404, [2.5] = false, [-1] = {} }", {"code": 404, 2.5: False, -1: {}}),
            ("{ 'first', code = 3 }", {1: "first", "code": 3}),
            ("{ [300] = 'sparse' }", {300: "sparse"}),
            ("setmetatable({ code = 7 }, { __tostring = function() return 'seven' end })", {"code": 7}),
        ],
    )
    @pytest.mark.parametrize("how", ["go", "thread"])
    def test_a_plain_value_of_lua_in_python(self, lua, how, thrown, value):
        group = share(lua, "g", ErrGroup())
        lua.run(f"g:{how}(function() error({thrown}, 0) end) w.run(function() g:wait() end)")
        with pytest.raises(ForeignError) as raised:
            group.wait(HANG)
        assert raised.value.value == value and type(raised.value.value) is type(value)

    def test_tables_in_tables_that_are_one(self, lua):
        group = share(lua, "g", ErrGroup())
        lua.run(
            "local t = { name = 'one' } t.itself = t "
            "g:go(function() error({ t, t, t.itself }, 0) end) w.run(function() g:wait() end)"
        )
        with pytest.raises(ForeignError) as raised:
            group.wait(HANG)
        first, second, third = raised.value.value
        assert first is second is third is first["itself"] and first["name"] == "one"

    @pytest.mark.parametrize(
        "thrown",
        [
            "{ print }",
            "{ coroutine.create(print) }",
            "w.new()",
            "{ g }",
            "{ [{}] = 1 }",
            "{ [1] = 'one', [true] = 'true' }",
            "(function() local t = {} for _ = 1, 150000 do t = { t } end return t end)()",
        ],
    )
    def test_what_is_not_plain_has_no_value(self, lua, thrown):
        group = share(lua, "g", ErrGroup())
        lua.run(f"g:go(function() error({thrown}, 0) end) w.run(function() g:wait() end)")
        with pytest.raises(ForeignError) as raised:
            group.wait(HANG)
        assert raised.value.value is None and raised.value.message

    def test_the_value_of_a_cause(self, lua):
        context = share(lua, "c", Context())
        lua.run("c:cancel({ code = 3 })")
        assert context.cause.value == {"code": 3}

    def test_an_error_and_its_value_outlive_their_state(self, new_lua):
        lua = new_lua()
        group = share(lua, "g", ErrGroup())
        lua.run("g:go(function() error({ 'gone' }, 0) end) w.run(function() g:wait() end)")
        lua.run("g = nil")
        lua.close()
        lua.close = lambda: None
        with pytest.raises(ForeignError, match="table value") as raised:
            group.wait(HANG)
        assert raised.value.value == ["gone"]

    def test_what_comes_home_is_the_very_value(self, lua):
        value = ValueError("there and back")

        def fail():
            raise value

        group = from_lua(lua, "w.errgroup()")
        group.go(fail)
        assert "ValueError" in lua.run("return select(2, kept[1]:wait())")
        number = group.id
        del group
        gc.collect()
        with pytest.raises(ValueError) as raised:
            attach(number).wait()
        assert raised.value is value

    def test_a_lua_value_comes_home_through_a_python_task(self, lua):
        inner, outer = share(lua, "inner", ErrGroup()), share(lua, "outer", ErrGroup())
        lua.run("value = { 'the very' } inner:go(function() error(value, 0) end) inner:wait()")
        outer.go(inner.wait)
        assert lua.run("local ok, err = outer:wait() return tostring(err == value)") == "true"

    def test_a_stop_is_none(self, lua):
        group = share(lua, "g", ErrGroup())
        lua.run(
            "t = g:thread(function()  local ctx = require('waitgroup').current_context()  ctx:wait() ctx:check() end)"
        )
        task = group.go(lambda: (current_context().wait(), current_context().check()))
        group.cancel()
        group.wait(HANG)
        assert group.errors == () and task.cancelled()
        assert lua.run("return tostring(t:cancelled())") == "true"

    def test_causes(self, lua):
        parent = share(lua, "parent", Context())
        child = from_lua(lua, "w.context { parent = parent }")
        cause = KeyError("why")
        parent.cancel(cause)
        assert lua.run("return select(2, kept[1]:err())") == "KeyError: 'why'"
        assert child.cause is cause
        other = share(lua, "other", Context())
        lua.run("other:cancel('because')")
        assert isinstance(other.cause, ForeignError) and str(other.cause) == "because"
        with pytest.raises(Cancelled) as raised:
            other.check()
        assert raised.value.__cause__ is other.cause


class TestContexts:
    def test_a_lua_failure_ends_a_python_wait(self, lua):
        group = from_lua(lua, "w.errgroup()")
        waiting = threading.Event()

        def wait():
            waiting.set()
            assert current_context().wait(HANG)
            return current_context() is group.context

        task = group.go(wait)
        assert waiting.wait(HANG)
        lua.run("kept[1]:thread(function() error('stop them', 0) end)")
        with pytest.raises(ForeignError, match="stop them"):
            group.wait(HANG)
        assert task.result()

    def test_a_python_failure_ends_a_lua_wait(self, lua):
        group = share(lua, "g", ErrGroup())
        lua.run(f"t = g:thread(function(seconds) return select(2, require('waitgroup').sleep(seconds)) end, {HANG})")
        group.go(int, "x")
        with pytest.raises(ValueError):
            group.wait(HANG)
        assert lua.run("return select(2, t:result())") == "cancelled"

    def test_deadlines_and_callbacks(self, lua):
        context = from_lua(lua, "w.context { timeout = 0.01 }")
        called = threading.Event()
        context.add_callback(called.set)
        assert called.wait(HANG) and isinstance(context.cause, DeadlineExceeded)
        other = share(lua, "c", Context())
        lua.run("c:on_cancel(function() heard = true end)")
        other.cancel("enough")
        assert lua.run("w.yield() c:wait() return tostring(heard)") == "true"

    @pytest.mark.leaves_tasks
    def test_lua_in_a_task_of_python_sees_its_context(self, lua):
        group = share(lua, "g", ErrGroup())
        seen = group.go(lambda: lua.run("return tostring(w.current_context() == g:context())"))
        assert seen.result(HANG) == "true"
        assert lua.run("return tostring(w.current_context())") == "nil"

    def test_python_in_a_coroutine_task_sees_its_context(self, lua):
        seen = {}
        lua.give("see_one", lambda: seen.setdefault("one", []).append(current_context()))
        lua.give("see_two", lambda: seen.setdefault("two", []).append(current_context()))
        lua.give("see", lambda: seen.setdefault("none", []).append(current_context()))
        one, two = share(lua, "one", ErrGroup()), share(lua, "two", ErrGroup())
        outside = current_context()
        lua.run(
            "for _ = 1, 2 do "
            "  one:go(function() see_one() w.yield() see_one() end) "
            "  two:go(function() see_two() w.yield() see_two() end) "
            "end "
            "see() w.yield() see() one:wait() see() two:wait() see()"
        )
        assert seen == {"one": [one.context] * 4, "two": [two.context] * 4, "none": [outside] * 4}

    def test_a_coroutine_that_keeps_its_c_stack_keeps_its_context(self, lua):
        """In callbacks of gsub nothing can yield: the task waits on a C stack of its own, while others run."""
        seen = []
        lua.give("see", lambda: seen.append(current_context()))
        one, two = share(lua, "one", ErrGroup()), share(lua, "two", ErrGroup())
        lua.run(
            "local first, second = w.new(1), w.new(1) "
            "one:go(function() ('x'):gsub('x', function() see() first:wait() see() second:done() end) see() end) "
            "two:go(function() ('x'):gsub('x', function() see() first:done() second:wait() see() end) see() end) "
            "one:wait() two:wait() see()"
        )
        assert seen[0] is one.context and seen[1] is two.context and len(seen) == 7
        assert seen[:6].count(one.context) == 3 and seen[:6].count(two.context) == 3
        assert seen[6] is current_context()

    def test_waits_of_python_in_a_coroutine_task_end_with_its_group(self, lua):
        ended = []
        endless = Context(parent=None)

        def wait():
            try:
                endless.wait(HANG)
            except Cancelled:
                ended.append(threading.get_ident())

        lua.give("wait", wait)
        group = share(lua, "g", ErrGroup())
        started = threading.Event()
        lua.give("start", started.set)
        canceller = ErrGroup()
        canceller.go(lambda: (started.wait(HANG), group.cancel("enough")))
        lua.run("g:go(function() start() wait() end) w.run(function() g:wait() end)")
        canceller.wait(HANG)
        assert ended == [threading.get_ident()]

    @pytest.mark.leaves_tasks
    def test_contexts_nest_as_calls_do(self, lua, new_lua):
        """Python calls Lua, whose coroutine calls Python, which calls another state of Lua, and so on."""
        other, seen = new_lua(), []
        outer, inner, innermost = ErrGroup(), ErrGroup(), ErrGroup()
        share(lua, "g", inner), share(other, "g", innermost)

        def call_other():
            seen.append(current_context())
            other.run("g:go(see) g:wait()")
            seen.append(current_context())

        lua.give("call_other", call_other)
        other.give("see", lambda: seen.append(current_context()))

        def call_lua():
            seen.append(current_context())
            lua.run("g:go(call_other) g:wait()")
            seen.append(current_context())

        outer.go(call_lua).result(HANG)
        assert seen == [c.context for c in (outer, inner, innermost, inner, outer)]


class TestDeadlocks:
    """What Python code does to the thread on which it is called by a coroutine task of Lua."""

    @staticmethod
    def hear(errors, wait):
        def call():
            try:
                wait()
            except DeadlockError as error:
                errors.append(str(error))

        return call

    def test_a_coroutine_task_whose_callback_waits_for_its_group(self, lua):
        errors = []
        group = share(lua, "g", ErrGroup(name="own"))
        lua.give("wait", self.hear(errors, group.wait))
        lua.run("g:go(function() wait() end) assert(w.run(function() g:wait() end))")
        (error,) = errors
        assert "ErrGroup.wait() of group 'own'" in error

    def test_a_coroutine_task_whose_callback_waits_for_a_thread_that_waits_for_it(self, lua):
        errors = []
        python, group = ErrGroup(name="python"), share(lua, "g", ErrGroup(name="lua"))
        ready = threading.Event()
        lua.give("wait", self.hear(errors, lambda: (ready.set(), python.wait())))
        hold = python.go(ready.wait)  # so that its end is not there before
        python.go(lambda: (ready.wait(HANG), self.hear(errors, group.wait)()))
        # Not in the main thread of Python, whose waits end twice a second to look for signals.
        host = threading.Thread(target=lua.run, args=["g:go(function() wait() end) w.run(function() g:wait() end)"])
        host.start()
        host.join(HANG)
        python.wait(HANG)
        assert hold.done()
        (error,) = errors
        assert "of group 'python' (Python)" in error and "of group 'lua'" in error


class TestEnds:
    def test_a_lua_state_goes_with_coroutines_in_a_python_group(self, new_lua):
        lua = new_lua()
        group = share(lua, "g", ErrGroup())
        lua.run(f"g:go(function() w.sleep({HANG}) end)")
        started = threading.Event()
        task = group.go(lambda: started.set() or current_context().wait(HANG))
        assert started.wait(HANG)
        lua.close()
        lua.close = lambda: None
        with pytest.raises(ForeignError, match="its Lua state closed"):
            group.wait(HANG)
        assert task.result()

    def test_a_state_that_only_attached_does_not_end_the_group(self, new_lua):
        lua = new_lua()
        go_on = threading.Event()
        group = share(lua, "g", ErrGroup())
        task = group.go(go_on.wait, HANG)
        lua.close()
        lua.close = lambda: None
        assert group.try_go(int) is not None
        go_on.set()
        assert task.result(HANG)
        group.wait(HANG)

    @pytest.mark.leaves_tasks
    def test_nothing_stays(self, lua):
        def round():
            group = share(lua, "g", ErrGroup(limit=3))
            other = from_lua(lua, "w.errgroup()")
            group.go(int)
            lua.run("kept = nil g:thread(function() error('x', 0) end)")
            other.go(int, "x").exception(HANG)
            with pytest.raises(ForeignError):
                group.wait(HANG)
            lua.run("g = nil")

        def measure():
            for _ in range(50):
                round()
            gc.collect()
            lua.run("collectgarbage() collectgarbage()")
            return sum(type(thing) in (ErrGroup, Context, ForeignError) for thing in gc.get_objects())

        first = measure()
        assert measure() <= first + 5
