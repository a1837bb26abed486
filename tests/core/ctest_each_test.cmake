# ctest_each_test(PROGRAM...): each test of each program is a test for ctest, named program.test and labelled with the
# program, so that `ctest -L test_wait` runs one program and the report counts tests. Programs are asked when ctest runs:
# they print the names of their tests for WG_TEST_LIST=1 or --list, and run one by WG_TEST=NAME or by the argument NAME.
# Programs for another platform run under the emulator that their toolchain file names. Tests whose names match
# WAITGROUP_TESTS_SKIPPED are skipped, and counted as skipped: the toolchain file says what they need and the platform lacks.
function(ctest_each_test)
    set(lines "set(directory [==[${PROJECT_SOURCE_DIR}]==])\nset(emulator [==[${CMAKE_CROSSCOMPILING_EMULATOR}]==])\n")
    string(APPEND lines "set(skipped [==[${WAITGROUP_TESTS_SKIPPED}]==])\nset(programs)\n")
    foreach(program IN LISTS ARGN)
        string(APPEND lines "list(APPEND programs [==[$<TARGET_FILE:${program}>]==])\n")
    endforeach()
    file(READ ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/each_test.cmake script)
    file(GENERATE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/each_test.cmake CONTENT "${lines}${script}")
    set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${CMAKE_CURRENT_BINARY_DIR}/each_test.cmake)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/each_test.cmake)
endfunction()
