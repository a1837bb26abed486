"""What the stable ABI would cost each task; docs/python-abi.md has the figures.

usage: run.py
"""

import contextvars
import importlib.util
import platform
import statistics
import tempfile
import time
from pathlib import Path

from setuptools import Distribution, Extension

HERE = Path(__file__).parent
TASKS, ROUNDS = 200_000, 15
MACROS = {"full": [("FULL", "1")], "limited": [("Py_LIMITED_API", "0x030B0000")]}


def build(name, directory):
    extension = Extension(name, [str(HERE / "per_task.c")], define_macros=MACROS[name])
    distribution = Distribution({"ext_modules": [extension]})
    command = distribution.get_command_obj("build_ext")
    command.build_lib, command.build_temp = directory, directory
    command.ensure_finalized()
    command.run()
    spec = importlib.util.spec_from_file_location(name, command.get_ext_fullpath(name))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def nanoseconds(module):
    start = time.perf_counter()
    module.run(TASKS, contextvars.copy_context, lambda x: x, 1)
    return (time.perf_counter() - start) / TASKS * 1e9


with tempfile.TemporaryDirectory() as directory:
    modules = {name: build(name, directory) for name in MACROS}
    samples = {name: [] for name in MACROS}
    for _ in range(ROUNDS):
        for name, module in modules.items():
            samples[name].append(nanoseconds(module))
print(f"Python {platform.python_version()}")
for name, values in samples.items():
    low, median, high = statistics.quantiles(values, n=4)
    print(f"  {name:8} {median:6.0f} ns a task (quartiles {low:.0f} and {high:.0f})")
