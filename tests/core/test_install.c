/* What others build against: every header stands alone in C and C++, an installed copy is found by pkg-config
 * and by CMake, the library exports what the headers declare and nothing else, and nothing warns. The commands run where make runs. */
#include "support.h"

#include <unistd.h>

#define STRICT "-Wall -Wextra -Wpedantic -Wconversion -Werror"
#define ROOT TEST_DIR "/install"
#define PREFIX "/opt/waitgroup"
#define INSTALLED ROOT PREFIX
#define PKG_CONFIG "PKG_CONFIG_LIBDIR=" INSTALLED "/lib/pkgconfig pkg-config --define-variable=prefix=" INSTALLED

/* Run a command, quiet unless it fails. */
static void run(const char *command) {
    char line[4096];
    REQUIRE(snprintf(line, sizeof line, "{ %s\n} >" TEST_DIR "/install.log 2>&1", command) < (int)sizeof line);
    if (system(line) == 0)
        return;
    int ignored = system("cat " TEST_DIR "/install.log");
    (void)ignored;
    fail_msg("failed: %s", command);
}

static void install(void) {
    static bool installed;
    if (!installed)
        run("rm -rf " ROOT " && env -u MAKEFLAGS -u MAKELEVEL make install DESTDIR=" ROOT " PREFIX=" PREFIX
            " CORE_DIR=" CORE_DIR " PARK=" PARK " SIGNAL=" SIGNAL);
    installed = true;
}

static void every_header_stands_alone_in_c(void **state) {
    (void)state;
    run("for h in $(cd core/include && ls *.h waitgroup/*.h); do"
        " echo \"#include <$h>\" | " CC " -std=c11 " STRICT " -Icore/include -fsyntax-only -x c - || exit 1; done");
}

static void every_header_stands_alone_in_cxx(void **state) {
    (void)state;
    run("for h in $(cd core/include && ls *.h waitgroup/*.h); do for std in c++11 c++20; do"
        " echo \"#include <$h>\" | " CXX " -std=$std " STRICT " -Icore/include -fsyntax-only -x c++ - || exit 1;"
        " done; done");
}

/* By every compiler of the kind that is installed: gcc, gcc-12 and so on. Each level has the time of a test, since there are
 * many sources, and may be many compilers. */
static void the_sources_compile_without_a_warning(const char *kind) {
    static const char *const levels[] = {"-O2", "-O3"};
    char line[1024];
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        snprintf(line, sizeof line,
                 "for cc in $(bash -c 'type -ap $(compgen -c %s | grep -xE \"%s(-[0-9]+)?\")' | xargs readlink -f | "
                 "sort -u);"
                 " do ls core/src/*.c core/src/park/*.c | grep -v windows | xargs -P 2 -I FILE"
                 " $cc -std=c11 %s -fexceptions " STRICT " -Icore/include -c -o /dev/null FILE || exit 1; done",
                 kind, kind, levels[i]);
        alarm(WATCHDOG_SECONDS);
        run(line);
    }
}

static void gcc_has_nothing_to_say(void **state) {
    (void)state;
    if (system("command -v gcc >/dev/null") != 0)
        skip();
    the_sources_compile_without_a_warning("gcc");
}

static void clang_has_nothing_to_say(void **state) {
    (void)state;
    if (system("command -v clang >/dev/null") != 0)
        skip();
    the_sources_compile_without_a_warning("clang");
}

static void an_installed_copy_is_complete(void **state) {
    (void)state;
    install();
    run("(cd core/include && find . -name '*.h') | sort >" TEST_DIR "/headers &&"
        " (cd " INSTALLED "/include && find . -type f) | sort | diff " TEST_DIR "/headers -");
    run("test -f " INSTALLED "/lib/libwaitgroup.a && test -f " INSTALLED "/lib/libwaitgroup.so." WG_VERSION " &&"
        " test \"$(readlink -f " INSTALLED "/lib/libwaitgroup.so)\" = \"$(readlink -f " INSTALLED
        "/lib/libwaitgroup.so." WG_VERSION ")\" && test -f " INSTALLED "/lib/pkgconfig/waitgroup.pc");
    run("test $(find " INSTALLED " -type f | wc -l) = $(($(wc -l <" TEST_DIR
        "/headers) + 7))"); /* 3 above, 4 for CMake */
}

static void pkg_config_finds_it(void **state) {
    (void)state;
    install();
    run("test $(" PKG_CONFIG " --modversion waitgroup) = " WG_VERSION);
    run("test $(PKG_CONFIG_LIBDIR=" INSTALLED "/lib/pkgconfig pkg-config --variable=prefix waitgroup) = " PREFIX);
}

static void a_program_builds_against_it(const char *compiler, const char *libs) {
    char line[2048];
    install();
    snprintf(line, sizeof line,
             "%s " STRICT " $(" PKG_CONFIG " --cflags waitgroup) -o " TEST_DIR
             "/consumer tests/core/consumer/consumer.c %s && "
             "LD_LIBRARY_PATH=" INSTALLED "/lib timeout 60 " TEST_DIR "/consumer",
             compiler, libs);
    run(line);
}

#define SHARED "$(" PKG_CONFIG " --libs waitgroup)"
#define STATIC INSTALLED "/lib/libwaitgroup.a -pthread"

static void a_c_program_builds_against_the_shared_library(void **state) {
    (void)state;
    a_program_builds_against_it(CC " -std=c11", SHARED);
}
static void a_c_program_builds_against_the_static_library(void **state) {
    (void)state;
    a_program_builds_against_it(CC " -std=c11", STATIC);
}
static void a_cxx_program_builds_against_the_shared_library(void **state) {
    (void)state;
    a_program_builds_against_it(CXX " -std=c++11 -x c++", "-x none " SHARED);
}
static void a_cxx_program_builds_against_the_static_library(void **state) {
    (void)state;
    a_program_builds_against_it(CXX " -std=c++11 -x c++", "-x none " STATIC);
}

/* No dynamic linker comes along, and no warning about one. */
static void a_static_program_links(void **state) {
    (void)state;
    install();
    run(CC " -std=c11 " STRICT " -static $(" PKG_CONFIG " --cflags waitgroup) -o " TEST_DIR
           "/consumer tests/core/consumer/consumer.c " STATIC " 2>&1 | tee " TEST_DIR "/static.log; test ! -s " TEST_DIR
           "/static.log && timeout 60 " TEST_DIR "/consumer");
}

static void a_plugin_may_be_unloaded_while_its_threads_are_idle(const char *libs) {
    char line[2048];
    install();
    snprintf(line, sizeof line,
             CC " -std=c11 " STRICT " -fPIC -shared $(" PKG_CONFIG " --cflags waitgroup) -o " TEST_DIR
                "/plugin.so tests/core/plugin.c %s && " CC " -std=gnu11 -o " TEST_DIR
                "/plugin_host tests/core/plugin_host.c -ldl && "
                "LD_LIBRARY_PATH=" INSTALLED "/lib timeout 60 " TEST_DIR "/plugin_host " TEST_DIR "/plugin.so",
             libs);
    run(line);
}

static void a_plugin_with_the_static_library_may_be_unloaded(void **state) {
    (void)state;
    a_plugin_may_be_unloaded_while_its_threads_are_idle(STATIC);
}
static void a_plugin_with_the_shared_library_may_be_unloaded(void **state) {
    (void)state;
    a_plugin_may_be_unloaded_while_its_threads_are_idle(SHARED);
}

/* WG_VERSION without what follows its second number. */
#define MINOR "$(echo " WG_VERSION " | cut -d. -f1,2)"

static void while_it_is_0_the_minor_number_is_part_of_its_name(void **state) {
    (void)state;
    install();
    run("soname=libwaitgroup.so." MINOR "; test -e " INSTALLED "/lib/$soname &&"
        " objdump -p " INSTALLED "/lib/libwaitgroup.so | grep -qx \"  SONAME  *$soname\"");
}

static void a_cmake_project(const char *version, const char *library) {
    char line[2048];
    install();
    snprintf(line, sizeof line,
             "build=" TEST_DIR "/cmake-%s; rm -rf $build && CC='" CC "' cmake -S tests/core/consumer -B $build"
             " -DCMAKE_PREFIX_PATH=$(realpath " INSTALLED ") -DVERSION=%s -DLIBRARY=%s &&"
             " cmake --build $build && timeout 60 $build/consumer",
             library, version, library);
    run(line);
}

static void a_cmake_project_finds_the_shared_library(void **state) {
    (void)state;
    a_cmake_project(MINOR, "waitgroup::waitgroup");
}
static void a_cmake_project_finds_the_static_library(void **state) {
    (void)state;
    a_cmake_project(MINOR, "waitgroup::static");
}
static void a_cmake_project_is_refused_a_version_that_does_not_fit(void **state) {
    (void)state;
    install();
    run("for v in 0.0 0.999 999; do cmake -S tests/core/consumer -B " TEST_DIR "/cmake-refused -DCMAKE_PREFIX_PATH="
        "$(realpath " INSTALLED
        ") -DVERSION=$v -DLIBRARY=waitgroup::static 2>&1 | grep 'not accepted' || exit 1; done");
}

static void an_exception_out_of_a_task_ends_the_program(const char *libs) {
    char line[2048];
    install();
    snprintf(
        line, sizeof line,
        CXX
        " -std=c++11 " STRICT " $(" PKG_CONFIG " --cflags waitgroup) -o " TEST_DIR
        "/throws tests/core/throws.cpp %s && for where in worker helper destroy observer release text traceback group "
        "start running; do "
        "LD_LIBRARY_PATH=" INSTALLED "/lib timeout 60 " TEST_DIR "/throws $where; "
        "status=$?; echo $where $status; test $status = 42 || exit 1; done",
        libs);
    run(line);
}

static void an_exception_ends_a_program_with_the_static_library(void **state) {
    (void)state;
    an_exception_out_of_a_task_ends_the_program(STATIC);
}
static void an_exception_ends_a_program_with_the_shared_library(void **state) {
    (void)state;
    an_exception_out_of_a_task_ends_the_program(SHARED);
}

static void the_shared_library_exports_what_the_headers_declare(void **state) {
    (void)state;
    install();
    run("sed -n 's/^WG_API [^(]*[ *]\\(wg_[a-z0-9_]*\\)(.*/\\1/p' core/include/waitgroup/*.h | sort >" TEST_DIR
        "/declared && test $(grep -c . " TEST_DIR
        "/declared) = $(cat core/include/waitgroup/*.h | grep -c '^WG_API') &&"
        " nm -D --defined-only " INSTALLED "/lib/libwaitgroup.so | awk '{ print $3 }' | sort | diff " TEST_DIR
        "/declared -");
}

static void the_library_that_runs_says_its_version_and_how_threads_sleep(void **state) {
    (void)state;
    assert_string_equal(wg_version(), WG_VERSION);
    assert_string_equal(wg_parking(), PARK);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(every_header_stands_alone_in_c),
        cmocka_unit_test(every_header_stands_alone_in_cxx),
        cmocka_unit_test(gcc_has_nothing_to_say),
        cmocka_unit_test(clang_has_nothing_to_say),
        cmocka_unit_test(an_installed_copy_is_complete),
        cmocka_unit_test(pkg_config_finds_it),
        cmocka_unit_test(a_c_program_builds_against_the_shared_library),
        cmocka_unit_test(a_c_program_builds_against_the_static_library),
        cmocka_unit_test(a_cxx_program_builds_against_the_shared_library),
        cmocka_unit_test(a_cxx_program_builds_against_the_static_library),
        cmocka_unit_test(a_static_program_links),
        cmocka_unit_test(a_plugin_with_the_static_library_may_be_unloaded),
        cmocka_unit_test(a_plugin_with_the_shared_library_may_be_unloaded),
        cmocka_unit_test(while_it_is_0_the_minor_number_is_part_of_its_name),
        cmocka_unit_test(a_cmake_project_finds_the_shared_library),
        cmocka_unit_test(a_cmake_project_finds_the_static_library),
        cmocka_unit_test(a_cmake_project_is_refused_a_version_that_does_not_fit),
        cmocka_unit_test(an_exception_ends_a_program_with_the_static_library),
        cmocka_unit_test(an_exception_ends_a_program_with_the_shared_library),
        cmocka_unit_test(the_shared_library_exports_what_the_headers_declare),
        cmocka_unit_test(the_library_that_runs_says_its_version_and_how_threads_sleep),
    };
    return RUN("install", tests);
}
