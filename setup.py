"""The C extension; everything else is in pyproject.toml.

CWAITGROUP_DEBUG=1 in the environment builds without optimisation, with warnings as errors, and with the address and
undefined-behaviour sanitizers.
"""

import os
import re
import sys
from glob import glob
from pathlib import Path

from setuptools import Extension, setup

HEADERS = "core/include"


def version() -> str:
    text = Path(HEADERS, "waitgroup/status.h").read_text()
    return re.search(r'#define WG_VERSION "(.+)"', text).group(1)


def core_sources() -> list[str]:
    linux = sys.platform.startswith("linux")
    # One of two ways to make a descriptor readable, and one of two to sleep.
    not_here = "signal_pipe.c" if linux else "signal_eventfd.c"
    sources = [s for s in glob("core/src/*.c") if not s.endswith(not_here)]
    return [*sources, "core/src/park/" + ("futex.c" if linux else "pthread.c")]


FLAGS = ["-std=c11", "-fvisibility=hidden", "-fexceptions", "-Wall", "-Wextra"]
LINK: list[str] = []
if os.environ.get("CWAITGROUP_DEBUG"):
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    FLAGS += ["-O1", "-g", "-Werror", "-UNDEBUG", *sanitize]
    LINK += sanitize

setup(
    version=version(),
    ext_modules=[
        Extension(
            "cwaitgroup._core",
            sources=sorted(core_sources() + glob("bindings/python/*.c")),
            depends=glob("core/**/*.h", recursive=True) + glob("bindings/python/*.h"),
            include_dirs=[HEADERS],
            define_macros=[("WG_API", "")],  # the core's names stay inside the extension
            extra_compile_args=FLAGS,
            extra_link_args=LINK,
        )
    ],
)
