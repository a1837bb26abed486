/* Errors in words, whatever language they are of; and what the library says of a status, a time in seconds, a version. */
#include "support.h"

#include <math.h>

/* A value of a language whose texts are made when they are asked for. */
struct exception {
    int line;
    char text[40], traceback[40];
    int *destroyed;
};

static void destroy(void *value) {
    struct exception *exception = value;
    ++*exception->destroyed;
}

static const char *say(void *value) {
    struct exception *exception = value;
    snprintf(exception->text, sizeof exception->text, "Trouble: %d", exception->line);
    return exception->text;
}

static const char *trace(void *value) {
    struct exception *exception = value;
    snprintf(exception->traceback, sizeof exception->traceback, "line %d", exception->line);
    return exception->traceback;
}

static const wg_error_type exceptions = {.language = "Toy", .destroy = destroy, .text = say, .traceback = trace};

static void an_error_says_what_its_type_knows(void **state) {
    (void)state;
    int destroyed = 0;
    struct exception exception = {.line = 7, .destroyed = &destroyed};
    wg_error *error = wg_error_of_type(&exceptions, WG_ERROR_STOP, &exception);
    assert_string_equal(wg_error_language(error), "Toy");
    assert_string_equal(wg_error_text(error), "Trouble: 7");
    assert_string_equal(wg_error_traceback(error), "line 7");
    assert_ptr_equal(wg_error_value(error), &exception);
    assert_ptr_equal(wg_error_get_type(error), &exceptions);
    assert_int_equal(wg_error_get_kind(error), WG_ERROR_STOP);
    wg_error_release(wg_error_retain(error));
    assert_int_equal(destroyed, 0);
    wg_error_release(error);
    assert_int_equal(destroyed, 1);
}

static const wg_plain *pieces_of(void *value, size_t *count) {
    (void)value;
    static const wg_plain pieces[] = {{.kind = WG_PLAIN_TABLE, .as.table = {1, 0}},
                                      {.kind = WG_PLAIN_SAME, .as.same = 0}};
    *count = 2;
    return pieces;
}

static void an_error_tells_its_value_if_that_is_plain(void **state) {
    (void)state;
    static const wg_error_type plain = {.plain = pieces_of};
    size_t count = 7;
    wg_error *error = wg_error_of_type(&plain, WG_ERROR_FAILURE, NULL);
    assert_int_equal(wg_error_plain(error, &count)[1].kind, WG_PLAIN_SAME);
    assert_int_equal(count, 2);
    assert_non_null(wg_error_plain(error, NULL));
    wg_error_release(error);
    error = wg_errorf("text");
    wg_error *const others[] = {error, wg_error_cancelled(), NULL};
    for (int i = 0; i < 3; i++) {
        assert_null(wg_error_plain(others[i], &count));
        assert_int_equal(count, 0);
    }
    wg_error_release(error);
}

static const char *nothing(void *unused) {
    (void)unused;
    return NULL;
}

static void a_type_need_not_know_anything(void **state) {
    (void)state;
    static const wg_error_type dumb = {0}, mute = {.language = "Mute", .text = nothing, .traceback = nothing};
    wg_error *errors[] = {wg_error_of_type(NULL, WG_ERROR_FAILURE, NULL),
                          wg_error_of_type(&dumb, WG_ERROR_FAILURE, NULL),
                          wg_error_of_type(&mute, WG_ERROR_FAILURE, NULL), wg_error_new(WG_ERROR_FAILURE, NULL, NULL)};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        assert_string_equal(wg_error_language(errors[i]), i == 2 ? "Mute" : "C");
        assert_string_equal(wg_error_text(errors[i]), "an error without a text");
        assert_null(wg_error_traceback(errors[i]));
        wg_error_release(errors[i]);
    }
    assert_string_equal(wg_error_text(NULL), "no error");
    assert_string_equal(wg_error_language(NULL), "C");
    assert_null(wg_error_traceback(NULL));
    assert_null(wg_error_get_type(NULL));
}

static void an_error_is_made_from_a_format(void **state) {
    (void)state;
    char longer[5000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    wg_error *error = wg_errorf("%s: %d of %s", "a", 3, longer);
    assert_int_equal(strlen(wg_error_text(error)), sizeof longer - 1 + strlen("a: 3 of "));
    assert_memory_equal(wg_error_text(error), "a: 3 of xxx", 11);
    assert_string_equal(wg_error_language(error), "C");
    assert_int_equal(wg_error_get_kind(error), WG_ERROR_FAILURE);
    assert_ptr_equal(wg_error_value(error), wg_error_text(error));
    assert_null(wg_error_get_type(error));
    wg_error_release(error);
}

static void immortal_errors_have_texts(void **state) {
    (void)state;
    assert_string_equal(wg_error_text(wg_error_no_memory()), "out of memory");
    assert_string_equal(wg_error_text(wg_error_cancelled()), "cancelled");
    assert_string_equal(wg_error_text(wg_error_deadline()), "deadline exceeded");
    assert_string_equal(wg_error_text(wg_error_thread_ended()), "the task ended its thread");
    assert_null(wg_error_get_type(wg_error_cancelled()));
    assert_null(wg_error_value(wg_error_thread_ended()));
}

static void each_status_has_a_remedy_apart_from_its_text(void **state) {
    (void)state;
    assert_string_equal(wg_status_remedy(WG_OK), "");
    for (int s = WG_OK + 1; strcmp(wg_strstatus((wg_status)s), "unknown status") != 0; s++) {
        assert_true(strlen(wg_status_remedy((wg_status)s)) > 0);
        assert_null(strstr(wg_strstatus((wg_status)s), wg_status_remedy((wg_status)s)));
    }
    assert_string_equal(wg_status_remedy((wg_status)-1), "");
    assert_string_equal(wg_status_remedy((wg_status)1000), "");
}

static void seconds_become_deadlines(void **state) {
    (void)state;
    assert_int_equal(wg_after_seconds(INFINITY), WG_FOREVER);
    assert_int_equal(wg_after_seconds(1e300), WG_FOREVER);
    assert_int_equal(wg_after_seconds(9223372036.854775808), WG_FOREVER);
    assert_int_equal(wg_after_seconds(NAN), WG_POLL);
    assert_int_equal(wg_after_seconds(-INFINITY), WG_POLL);
    assert_int_equal(wg_after_seconds(-1e-9), WG_POLL);
    assert_int_equal(wg_after_seconds(0), WG_POLL);
    static const struct {
        double seconds;
        int64_t nanoseconds;
    } table[] = {{1e-300, 1},
                 {1e-10, 1},
                 {1e-9, 1},
                 {1.1e-9, 2},
                 {0.1, 100000000},
                 {1, WG_SECOND},
                 {1.5, 1500000000},
                 {3600, 3600 * WG_SECOND},
                 {1e9, WG_SECOND * WG_SECOND}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        int64_t before = wg_now(), deadline = wg_after_seconds(table[i].seconds), after = wg_now();
        assert_true(deadline >= before + table[i].nanoseconds && deadline <= after + table[i].nanoseconds);
    }
}

static void the_version_is_a_number_too(void **state) {
    (void)state;
    int numbers[3];
    assert_int_equal(sscanf(WG_VERSION, "%d.%d.%d", &numbers[0], &numbers[1], &numbers[2]), 3);
    assert_int_equal(WG_VERSION_NUMBER, numbers[0] * 10000 + numbers[1] * 100 + numbers[2]);
    assert_int_equal(wg_version_number(), WG_VERSION_NUMBER);
}

int main(void) {
    struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_says_what_its_type_knows),
        cmocka_unit_test(a_type_need_not_know_anything),
        cmocka_unit_test(an_error_tells_its_value_if_that_is_plain),
        cmocka_unit_test(an_error_is_made_from_a_format),
        cmocka_unit_test(immortal_errors_have_texts),
        cmocka_unit_test(each_status_has_a_remedy_apart_from_its_text),
        cmocka_unit_test(seconds_become_deadlines),
        cmocka_unit_test(the_version_is_a_number_too),
    };
    return RUN("errors", tests);
}
