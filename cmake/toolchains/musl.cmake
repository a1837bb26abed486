# Linux with musl in place of glibc: Debian's musl-gcc. The headers of the kernel are the same for both, and come last.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_C_COMPILER musl-gcc)
foreach(headers /usr/include/${CMAKE_HOST_SYSTEM_PROCESSOR}-linux-gnu /usr/include)
    add_compile_options("SHELL:-idirafter ${headers}")
endforeach()
# In the child of a fork, musl 1.2.3 leaves its list of threads locked when the thread that forked ends before others do.
set(WAITGROUP_TESTS_SKIPPED "^test_fork_pool[.]")
