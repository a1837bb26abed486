"""HAProxy: its coroutines wait by the adapter waitgroup.loops.haproxy; one state for all threads, or one for each."""

import signal
import subprocess
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import BUILD, EMBEDDING, HANG, HERE, free_port, need
from snippets import indented

CONFIGURATION = """
global
    nbthread {threads}
    lua-prepend-path {build}/?.so cpath
    lua-prepend-path {build}/?/init.lua
    lua-prepend-path {build}/?.lua
    lua-prepend-path {here}/?.lua
    {load} {here}/haproxy.lua
defaults
    mode http
    timeout connect 60s
    timeout client 100s
    timeout server 100s
frontend all
    bind 127.0.0.1:{port}
{rules}
"""

SERVICES = ["tour", "alone", "held", "release", "held_by_thread", "io", "hello", "joined", "started", "blocked"]
RULES = "\n".join(f"    http-request use-service lua.{name} if {{ path /{name} }}" for name in SERVICES)


class HAProxy:
    def __init__(self, serve, directory, load, threads, *options):
        program = need("haproxy")
        self.port = free_port()
        configuration = directory / "haproxy.cfg"
        configuration.write_text(
            CONFIGURATION.format(threads=threads, build=BUILD, here=HERE, load=load, port=self.port, rules=RULES)
        )
        self.server = serve([program, "-db", *options, "-f", configuration])
        self.server.wait_until(lambda: self.server.listens(self.port))

    def get(self, path):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{path}", headers={"x-port": str(self.port)})
        try:
            with urllib.request.urlopen(request, timeout=HANG) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            return f"{error.code}: {error.read().decode()}"


@pytest.fixture(params=["lua-load", "lua-load-per-thread"])
def haproxy(request, serve, tmp_path):
    """HAProxy with two threads."""
    return HAProxy(serve, tmp_path, request.param, 2)


@pytest.fixture(params=["lua-load", "lua-load-per-thread"])
def with_one_thread(request, serve, tmp_path):
    return HAProxy(serve, tmp_path, request.param, 1)


def test_all_that_the_module_does(haproxy):
    assert haproxy.get("alone") == "ok", haproxy.server.log()


def test_requests_at_the_same_time(haproxy):
    with ThreadPoolExecutor(6) as clients:
        answers = list(clients.map(haproxy.get, ["tour", "io", "blocked", "joined"] * 5))
    assert set(answers) == {"ok", "1hello 2hello 3hello 4hello 5hello", "aa bb cc", "2"}, haproxy.server.log()


@pytest.mark.parametrize("held", ["held", "held_by_thread"])
def test_a_wait_does_not_block_the_thread(with_one_thread, held):
    with ThreadPoolExecutor(3) as clients:
        waiting = [clients.submit(with_one_thread.get, held) for _ in range(3)]
        assert with_one_thread.get("hello") == "hello"
        assert with_one_thread.get("release") == "released"
        assert {w.result() for w in waiting} <= {"true released", "true"}, with_one_thread.server.log()


def test_tasks_sleep_and_read_as_coroutines_of_haproxy_do(with_one_thread):
    assert with_one_thread.get("io") == "1hello 2hello 3hello 4hello 5hello", with_one_thread.server.log()


def test_its_coroutines_join_a_group(haproxy):
    assert haproxy.get("joined") == "2", haproxy.server.log()


def test_a_task_that_was_started_before_it_ran(haproxy):
    assert haproxy.get("started") == "true", haproxy.server.log()


def test_it_stops_cleanly(haproxy):
    """By SIGUSR1, at which HAProxy closes its states and exits."""
    haproxy.get("tour")
    assert haproxy.server.stop(signal.SIGUSR1) == 0, haproxy.server.log()


def test_it_stops_with_tasks_running(haproxy):
    with ThreadPoolExecutor(1) as clients:
        waiting = clients.submit(haproxy.get, "held_by_thread")
        assert haproxy.get("hello") == "hello"
        assert haproxy.server.stop() == -signal.SIGTERM, haproxy.server.log()
        assert waiting.exception()  # cut off


def test_with_a_master_process(serve, tmp_path):
    """The workers are forked from it."""
    haproxy = HAProxy(serve, tmp_path, "lua-load", 2, "-W")
    assert haproxy.get("alone") == "ok", haproxy.server.log()
    assert haproxy.get("started") == "true", haproxy.server.log()
    assert haproxy.server.stop(signal.SIGUSR1) == 0, haproxy.server.log()


def test_the_example_of_the_guide(serve, tmp_path):
    program = need("haproxy")
    configuration, service = indented(EMBEDDING, "HAProxy")
    (tmp_path / "service.lua").write_text(service)
    port = free_port()
    (tmp_path / "haproxy.cfg").write_text(
        configuration.replace("/path/to/service.lua", f"{tmp_path}/service.lua").replace("/path/to", str(BUILD))
        + f"    mode http\n    bind 127.0.0.1:{port}\n    timeout client 100s\n"
    )
    server = serve([program, "-db", "-f", tmp_path / "haproxy.cfg"])
    server.wait_until(lambda: server.listens(port))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=HANG) as answer:
        assert answer.read() == b"500000500000\n", server.log()


def test_the_configuration_can_be_checked(tmp_path):
    """It loads the Lua files, and ends."""
    program = need("haproxy")
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(
        CONFIGURATION.format(threads=2, build=BUILD, here=HERE, load="lua-load", port=free_port(), rules=RULES)
    )
    checked = subprocess.run([program, "-c", "-f", configuration], capture_output=True, text=True, timeout=HANG)
    assert checked.returncode == 0, checked.stderr
