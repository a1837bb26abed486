"""usage: python tools/embed_flags.py

Prints what a C compiler needs to build a program with this Python in it."""

import shlex
import sysconfig


def flags() -> list[str]:
    def get(name: str) -> str:
        return str(sysconfig.get_config_var(name) or "")

    return [
        f"-I{sysconfig.get_path('include')}",
        f"-L{get('LIBDIR')}",
        f"-L{get('LIBPL')}",
        f"-Wl,-rpath,{get('LIBDIR')}",
        f"-lpython{get('LDVERSION')}",
        *shlex.split(f"{get('LIBS')} {get('SYSLIBS')} {get('LINKFORSHARED')}"),
    ]


if __name__ == "__main__":
    print(shlex.join(flags()))
