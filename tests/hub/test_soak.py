"""Many groups, each shared by three languages, leave nothing behind: soak.c. WG_TEST_EFFORT=10 makes 10,000."""

import os

from conftest import HERE

GROUPS = max(100, int(1000 * float(os.environ.get("WG_TEST_EFFORT", "1"))))


def test_threads_descriptors_and_memory_stay_as_they_are(three_languages):
    ran = three_languages(HERE / "soak.c")(GROUPS)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
