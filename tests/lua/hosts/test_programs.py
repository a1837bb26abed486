"""Programs that run a Lua file and end: neomutt, pandoc, dnsmasq."""

import os
import signal
import subprocess

import pytest
from conftest import ENVIRONMENT, HANG, HERE, need

SCRIPT = HERE / "whole_life.lua"


def whole_life(command, directory, status=0):
    """Run the host with the script. It ends as ever, also with a task that still runs on a thread."""
    outcome = directory / "outcome"
    ended = subprocess.run(
        command,
        env={**ENVIRONMENT, "WAITGROUP_TOUR": str(outcome), "HOME": str(directory)},
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANG,
    )
    assert outcome.exists(), ended
    assert outcome.read_text() == "true ok"
    assert ended.returncode == status, ended


def test_neomutt(tmp_path):
    alone = [need("neomutt"), "-n", "-F", "/dev/null"]
    # In some releases it exits with 1, with or without a script.
    status = subprocess.run([*alone, "-D"], capture_output=True, stdin=subprocess.DEVNULL).returncode
    whole_life([*alone, "-e", f"lua-source {SCRIPT}", "-D"], tmp_path, status)


def test_pandoc_as_a_filter(tmp_path):
    whole_life([need("pandoc"), "--lua-filter", SCRIPT, "/dev/null"], tmp_path)


def test_pandoc_as_an_interpreter(tmp_path):
    program = need("pandoc")
    if subprocess.run([program, "lua", "-e", ""], capture_output=True, stdin=subprocess.DEVNULL).returncode != 0:
        pytest.skip("pandoc is no Lua interpreter before 3.0")
    whole_life([program, "lua", SCRIPT], tmp_path)


def test_dnsmasq(serve, tmp_path):
    """Its helper process, which has Lua inside, is forked from it."""
    program = need("dnsmasq")
    if os.geteuid() != 0:
        pytest.skip("dnsmasq serves DHCP as root only")
    script = tmp_path / "script.lua"
    script.write_text("""
        local tour, waitgroup = require "tour", require "waitgroup"
        function init()
          print("<init: " .. tostring(select(2, pcall(tour.run, tour.threads()))) .. ">")
          waitgroup.errgroup():thread(function() while true do end end)
          io.stdout:flush()
        end
        function lease() end
        function shutdown()
          print("<shutdown: " .. tostring(select(2, pcall(tour.run))) .. ">")
          io.stdout:flush()
        end
    """)
    server = serve(
        [
            *(program, "--no-daemon", "--port=0", "--conf-file=/dev/null", "--user=root"),
            *("--dhcp-range=127.0.0.2,static", "--interface=lo", "--bind-interfaces", f"--dhcp-luascript={script}"),
            *(f"--pid-file={tmp_path}/pid", f"--dhcp-leasefile={tmp_path}/leases"),
        ]
    )
    server.wait_until(lambda: "<init:" in server.log())
    assert "<init: ok>" in server.log(), server.log()
    assert server.stop(signal.SIGTERM) == 0, server.log()
    server.wait_until(lambda: "<shutdown:" in server.log(), runs=False)
    assert "<shutdown: ok>" in server.log(), server.log()
