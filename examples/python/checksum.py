"""SHA-256 of every file of a directory tree, in parallel, in the format of sha256sum.

usage: checksum.py [DIR]      default: the working directory; hidden files and directories are left out

Stops at the first file that cannot be read: its name on stderr, exit status 1. Ctrl-C: exit status 130.
"""

import hashlib
import os
import stat
import sys

from cwaitgroup import ErrGroup, current_context
from tqdm import tqdm


def tree(directory: str) -> list[str]:
    """All files below `directory`, sorted by path; links to files are in."""

    def fail(error: OSError) -> None:
        raise error

    files = []
    for folder, folders, names in os.walk(directory, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (os.path.join(folder, name) for name in names if not name.startswith(".")):
            if not os.path.exists(path) or stat.S_ISREG(os.stat(path).st_mode):
                files.append(path)
    return sorted(files, key=os.fsencode)


def sha256(path: str) -> str:
    """The task: hash one file, and look now and then whether that is still wanted."""
    context = current_context()
    assert context is not None
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(1 << 18):
            context.check()
            digest.update(chunk)
    return digest.hexdigest()


def line(digest: str, path: str) -> bytes:
    """As sha256sum does: a name with a backslash or an end of line is escaped, and its line starts with a backslash."""
    escaped = path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return os.fsencode(("\\" if escaped != path else "") + f"{digest}  {escaped}\n")


def main(directory: str) -> int:
    try:
        files = tree(directory)
        with (
            tqdm(total=len(files), unit=" files", disable=None) as bar,  # None: only on a terminal
            ErrGroup(limit=2 * (os.cpu_count() or 1), backlog=1000) as group,  # so that no thread waits for this one
        ):
            tasks = []
            for path in files:
                tasks.append(group.go(sha256, path))
                bar.update(group.completed - bar.n)
            group.wait()
            bar.update(group.completed - bar.n)
    except OSError as error:
        print(f"checksum: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    sys.stdout.buffer.writelines(line(task.result(), path) for task, path in zip(tasks, files, strict=False))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "."))
