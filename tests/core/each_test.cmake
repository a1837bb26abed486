# Read by ctest; above stand `programs` and `directory`, where tests run. WG_TEST_UNDER is a command that runs each test,
# such as valgrind; WG_TEST_TIMEOUT the seconds that a test may take, if not 300. A program that cannot name its tests is
# a test of its own, which fails.
separate_arguments(under UNIX_COMMAND "$ENV{WG_TEST_UNDER}")
set(timeout 300)
if(DEFINED ENV{WG_TEST_TIMEOUT})
    set(timeout $ENV{WG_TEST_TIMEOUT})
endif()
foreach(program IN LISTS programs)
    get_filename_component(label ${program} NAME)
    set(ENV{WG_TEST_LIST} 1)
    execute_process(COMMAND ${program} --list
        OUTPUT_VARIABLE names ERROR_VARIABLE errors RESULT_VARIABLE status TIMEOUT 60)
    unset(ENV{WG_TEST_LIST})
    string(REGEX MATCHALL "[^\n]+" names "${names}")
    if(NOT status EQUAL 0 OR names STREQUAL "")
        message("${program} cannot name its tests: ${status}: ${errors}")
        add_test(${label} false)
        continue()
    endif()
    foreach(name IN LISTS names)
        add_test(${label}.${name} ${under} ${program} ${name})
        set_tests_properties(${label}.${name} PROPERTIES ENVIRONMENT WG_TEST=${name} LABELS ${label} TIMEOUT ${timeout}
            WORKING_DIRECTORY ${directory} SKIP_REGULAR_EXPRESSION "\\[  SKIPPED \\]")
    endforeach()
endforeach()
