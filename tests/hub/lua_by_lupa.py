"""Lua inside this process, by lupa: `new_lua()` is a runtime in which `w` is the module."""

import os
import sys

# Modules for Lua look for its functions among those of the whole process.
flags = sys.getdlopenflags()
sys.setdlopenflags(os.RTLD_NOW | os.RTLD_GLOBAL)
from lupa.lua54 import LuaError, LuaRuntime  # noqa: E402

sys.setdlopenflags(flags)

__all__ = ["HANG", "LuaError", "new_lua"]

HANG = 60  # seconds; tells a hang from a slow machine


def new_lua() -> LuaRuntime:
    lua = LuaRuntime()
    lua.execute("w = require 'waitgroup'")
    return lua
