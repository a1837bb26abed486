"""SHA-256 of every file of a directory tree on a Dask cluster, in the format of sha256sum.

usage: cluster.py [DIR]      default: the working directory; hidden files and directories are left out

The cluster is two worker processes on this machine. On a real one the workers must see the same files: give the address
of its scheduler to Client in the place of a LocalCluster. Stops at the first file that cannot be read: its name on
stderr, exit status 1. Ctrl-C: exit status 130.
"""

import logging
import sys

from checksum import line, sha256, tree
from cwaitgroup import ErrGroup
from distributed import Client, LocalCluster


def main(directory: str) -> int:
    try:
        files = tree(directory)
        with (
            LocalCluster(
                n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
            ) as cluster,
            Client(cluster) as client,
            ErrGroup(limit=16, executor=client.get_executor()) as group,  # some more than workers, to keep them busy
        ):
            digests = group.map(sha256, files)
    except OSError as error:
        print(f"cluster: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    sys.stdout.buffer.writelines(line(digest, path) for digest, path in zip(digests, files, strict=True))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "."))
