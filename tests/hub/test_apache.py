"""Apache with mod_wsgi: its threads are not Python's, and its applications run in interpreters of their own.

`make verify-apache` runs this. WAITGROUP_WSGI_PATH is where the Python of mod_wsgi finds cwaitgroup."""

import os
import shutil
import socket
import subprocess
import tempfile
import textwrap
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

PACKAGE = os.environ.get("WAITGROUP_WSGI_PATH")
MODULES = Path("/usr/lib/apache2/modules")
HANG = 60

pytestmark = pytest.mark.skipif(not PACKAGE, reason="needs Apache and mod_wsgi: run by make verify-apache")

APPLICATION = """
import os, sys, threading, time
sys.path.insert(0, os.path.dirname(__file__))
from cwaitgroup import *

def use():
    with ErrGroup(limit=2) as g:
        squares = g.map(pow, range(5), [2] * 5)
    wg = WaitGroup()
    for _ in range(3):
        wg.go(time.sleep, 0.001)
    assert wg.wait(30)
    called = threading.Event()
    ctx = Context(timeout=0.001)
    ctx.add_callback(called.set)
    assert called.wait(30)
    try:
        with ErrGroup() as g:
            g.go(g.context.wait)
            g.go(int, "x")
    except ValueError:
        return str(squares)

def application(environ, start_response):
    body = use().encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""

CONFIGURATION = """
ServerName localhost
ServerRoot {directory}
Listen 127.0.0.1:{port}
PidFile {directory}/pid
ErrorLog {directory}/error.log
User www-data
Group www-data
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule wsgi_module {modules}/mod_wsgi.so
StartServers 1
ServerLimit 2
ThreadsPerChild 8
MaxRequestWorkers 16
WSGISocketPrefix {directory}/wsgi
{daemons}
WSGIScriptAlias /one {directory}/application.wsgi application-group=one
WSGIScriptAlias /two {directory}/application.wsgi application-group=two
WSGIScriptAlias /main {directory}/application.wsgi application-group=%{{GLOBAL}}
<Directory {directory}>
    Require all granted
</Directory>
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Apache:
    def __init__(self, directory, daemons):
        self.directory, self.port = directory, free_port()
        directory.chmod(0o755)  # of the test's user, while requests are served by another
        shutil.copytree(Path(PACKAGE, "cwaitgroup"), directory / "cwaitgroup")
        (directory / "application.wsgi").write_text(textwrap.dedent(APPLICATION))
        (directory / "httpd.conf").write_text(
            CONFIGURATION.format(directory=directory, port=self.port, modules=MODULES, daemons=daemons)
        )
        self.process = subprocess.Popen(["apache2", "-f", directory / "httpd.conf", "-DFOREGROUND"])
        self.wait_until_it_listens()

    def wait_until_it_listens(self):
        end = time.monotonic() + HANG
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.port), timeout=HANG).close()
            except OSError:
                assert self.process.poll() is None, self.log()
                assert time.monotonic() < end, self.log()
                time.sleep(0.02)

    def log(self):
        return (self.directory / "error.log").read_text()

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=HANG) as answer:
            return answer.read().decode()

    def stop(self):
        self.process.terminate()
        return self.process.wait(HANG)


@pytest.fixture(params=["", "WSGIDaemonProcess d threads=8\nWSGIProcessGroup d"], ids=["embedded", "daemon"])
def apache(request):
    with tempfile.TemporaryDirectory(prefix="apache-", dir="/tmp") as directory:
        server = Apache(Path(directory), request.param)
        yield server
        if server.process.poll() is None:
            server.stop()


def test_requests_use_groups_in_several_interpreters(apache):
    """The first request of each hung for ever on CPython 3.11."""
    paths = ["one", "two", "main"] * 20
    with ThreadPoolExecutor(6) as clients:
        answers = set(clients.map(apache.get, paths))
    assert answers == {"[0, 1, 4, 9, 16]"}, apache.log()


def test_it_stops_cleanly_after_requests(apache):
    """It takes as long as for an application that only imports threading: CPython 3.11 joins the state of a thread that
    Apache has ended already, until Apache loses patience."""
    for path in ("one", "two", "main"):
        apache.get(path)
    assert apache.stop() == 0, apache.log()
    assert "exit signal" not in apache.log() and "Fatal Python error" not in apache.log(), apache.log()
