# What qemu-user cannot do is counted as skipped: a child, of a fork, that starts threads (release 7.2, which Debian 12 has,
# ends it; release 11 does not), and a limit for the address space.
set(WAITGROUP_TESTS_SKIPPED
    "^test_fork|[.](a|the)_child_of_a_fork_|[.]a_child_(answers|prepares|makes)_|_limit_of_address_space$")
