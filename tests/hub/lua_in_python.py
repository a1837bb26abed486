"""Lua inside this process, by ctypes: `lua = Lua(); lua.run("code")`."""

import ctypes

# Modules for Lua expect its names in the program; a host that is not linked to Lua shows them in this way.
_lua = ctypes.CDLL("liblua5.4.so.0", mode=ctypes.RTLD_GLOBAL)
_lua.luaL_newstate.restype = ctypes.c_void_p
_lua.luaL_openlibs.argtypes = [ctypes.c_void_p]
_lua.luaL_loadstring.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
_lua.lua_pcallk.argtypes = [
    ctypes.c_void_p,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_ssize_t,
    ctypes.c_void_p,
]
_lua.lua_tolstring.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
_lua.lua_tolstring.restype = ctypes.c_char_p
_lua.lua_settop.argtypes = [ctypes.c_void_p, ctypes.c_int]
_lua.lua_close.argtypes = [ctypes.c_void_p]
_lua.lua_pushcclosure.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
_lua.lua_setglobal.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
_Function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


class LuaError(Exception):
    pass


class Lua:
    """A Lua state with the standard libraries."""

    def __init__(self) -> None:
        self._state = _lua.luaL_newstate()
        self._functions = []
        _lua.luaL_openlibs(self._state)

    def run(self, code: str) -> str | None:
        """Run `code`; the string that it returns, or None. LuaError if it raises."""
        failed = _lua.luaL_loadstring(self._state, code.encode()) or _lua.lua_pcallk(self._state, 0, 1, 0, 0, None)
        text = _lua.lua_tolstring(self._state, -1, None)
        _lua.lua_settop(self._state, -2)
        if failed:
            raise LuaError(text.decode() if text else "an error that is no string")
        return text.decode() if text else None

    def give(self, name: str, fn) -> None:
        """The global `name` is a function there that calls fn(), which must not raise."""
        self._functions.append(_Function(lambda state: (fn() and 0) or 0))
        _lua.lua_pushcclosure(self._state, self._functions[-1], 0)
        _lua.lua_setglobal(self._state, name.encode())

    def close(self) -> None:
        _lua.lua_close(self._state)
