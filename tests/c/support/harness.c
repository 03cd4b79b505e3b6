/* One child for each test: a crash, a hang or a leak is that test's alone. */
#include "harness.h"

#include "expected.h"
#include "os.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/os.h"
#include "io/backend.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXIT_FAILED 1
#define EXIT_SKIPPED 77
#define DEADLINE_S 20
#define OUTPUT_MAX (256 * 1024)

enum outcome { PASSED, FAILED, SKIPPED };

struct run {
    enum outcome outcome;
    const char *why; /* of a failure that the child could not print itself, else NULL */
    int detail;      /* a signal or an exit status that goes with `why` */
    double seconds;
    size_t length;
    char output[OUTPUT_MAX + 1];
};

const char harness_backends[] = "each backend", harness_pollers[] = "each poller";
static struct harness_test *tests;

void harness_register(struct harness_test *test)
{
    test->next = tests;
    tests = test;
}

/* ---- operands and assertions ---- */

struct harness_value harness_of_int(intmax_t v)
{
    return (struct harness_value){.kind = HARNESS_INT, .negative = v < 0, .u = (uintmax_t)v};
}

struct harness_value harness_of_uint(uintmax_t v)
{
    return (struct harness_value){.kind = HARNESS_UINT, .u = v};
}

struct harness_value harness_of_bool(bool v)
{
    return (struct harness_value){.kind = HARNESS_BOOL, .u = v};
}

struct harness_value harness_of_double(double v)
{
    return (struct harness_value){.kind = HARNESS_DOUBLE, .d = v};
}

struct harness_value harness_of_pointer(const volatile void *v)
{
    return (struct harness_value){.kind = HARNESS_POINTER, .u = (uintptr_t)v, .p = (const void *)(uintptr_t)v};
}

static double as_double(const struct harness_value *v)
{
    if (v->kind == HARNESS_DOUBLE)
        return v->d;
    return v->negative ? (double)(intmax_t)v->u : (double)v->u;
}

static bool holds(const struct harness_value *a, const char *op, const struct harness_value *b)
{
    bool less, equal, greater;

    if (a->kind == HARNESS_DOUBLE || b->kind == HARNESS_DOUBLE) {
        less = as_double(a) < as_double(b);
        equal = as_double(a) == as_double(b);
        greater = as_double(a) > as_double(b); /* a NaN is none of the three */
    } else {
        equal = a->negative == b->negative && a->u == b->u;
        /* Two negative numbers keep their order in two's complement. */
        less = a->negative == b->negative ? a->u < b->u : a->negative;
        greater = !less && !equal;
    }
    switch (op[0]) {
    case '=':
        return equal;
    case '!':
        return !equal;
    case '<':
        return less || (op[1] == '=' && equal);
    default:
        return greater || (op[1] == '=' && equal);
    }
}

static void print_value(const struct harness_value *v)
{
    switch (v->kind) {
    case HARNESS_INT:
        fprintf(stderr, "%" PRIdMAX, (intmax_t)v->u);
        break;
    case HARNESS_UINT:
        fprintf(stderr, "%" PRIuMAX " (0x%" PRIxMAX ")", v->u, v->u);
        break;
    case HARNESS_BOOL:
        fputs(v->u ? "true" : "false", stderr);
        break;
    case HARNESS_DOUBLE:
        fprintf(stderr, "%.17g", v->d);
        break;
    case HARNESS_POINTER:
        fprintf(stderr, "%p", v->p);
        break;
    }
}

/* At once and without exit handlers: other threads may be running. */
static _Noreturn void leave_failed(void)
{
    fflush(NULL);
    _exit(EXIT_FAILED);
}

void harness_compare(const char *file, int line, const char *a_text, const char *op, const char *b_text,
                     struct harness_value a, struct harness_value b)
{
    if (holds(&a, op, &b))
        return;
    fprintf(stderr, "%s:%d: %s %s %s does not hold\n    left:  ", file, line, a_text, op, b_text);
    print_value(&a);
    fputs("\n    right: ", stderr);
    print_value(&b);
    fputc('\n', stderr);
    leave_failed();
}

void harness_true(const char *file, int line, const char *text, bool wanted, bool value)
{
    if (value != wanted)
        harness_fail(file, line, "%s is %s", text, value ? "true" : "false");
}

void harness_text(const char *file, int line, const char *a_text, const char *b_text, const char *a, const char *b)
{
    if (a == b || (a != NULL && b != NULL && strcmp(a, b) == 0))
        return;
    harness_fail(file, line, "%s == %s does not hold\n    left:  %s%s%s\n    right: %s%s%s", a_text, b_text,
                 a ? "\"" : "", a ? a : "NULL", a ? "\"" : "", b ? "\"" : "", b ? b : "NULL", b ? "\"" : "");
}

static void print_bytes(const char *label, const unsigned char *bytes, size_t from, size_t to)
{
    fprintf(stderr, "    %s", label);
    for (size_t i = from; i < to; i++)
        fprintf(stderr, " %02x", (unsigned)bytes[i]);
    fputc('\n', stderr);
}

void harness_bytes(const char *file, int line, const char *a_text, const char *b_text, const void *a, const void *b,
                   size_t size)
{
    const unsigned char *x = a, *y = b;
    size_t at = 0, from, to;

    while (at < size && x[at] == y[at])
        at++;
    if (at == size)
        return;
    from = at < 8 ? 0 : at - 8;
    to = size - from > 24 ? from + 24 : size;
    fprintf(stderr, "%s:%d: %s and %s differ first at byte %zu of %zu; from byte %zu:\n", file, line, a_text, b_text,
            at, size, from);
    print_bytes("left: ", x, from, to);
    print_bytes("right:", y, from, to);
    leave_failed();
}

void harness_fail(const char *file, int line, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "%s:%d: ", file, line);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    leave_failed();
}

void harness_skip(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    fflush(NULL);
    _exit(EXIT_SKIPPED);
}

/* ---- running ---- */

/* WAWO_TEST_DEADLINE, in seconds, for slow machines and debuggers. */
static int deadline_s(void)
{
    const char *text = getenv("WAWO_TEST_DEADLINE");
    int given = text != NULL ? atoi(text) : 0;

    return given > 0 ? given : DEADLINE_S;
}

/* tests/c/base/test_mpsc.c and push become base/mpsc/push. */
static void full_name(const struct harness_test *test, char *name, size_t size)
{
    const char *start = strstr(test->file, "tests/c/");
    const char *base, *dot;

    start = start != NULL ? start + strlen("tests/c/") : test->file;
    base = strrchr(start, '/');
    base = base != NULL ? base + 1 : start;
    dot = strrchr(base, '.');
    snprintf(name, size, "%.*s%.*s/%s%s%s", (int)(base - start), start,
             (int)(dot - base) - (strncmp(base, "test_", 5) == 0 ? 5 : 0),
             strncmp(base, "test_", 5) == 0 ? base + 5 : base, test->name, test->backend ? "/" : "",
             test->backend ? test->backend : "");
}

/* Ends the test if its backend does not work here: as skipped, or as failed where it was expected to. */
static void ask_backend(const struct harness_test *test)
{
    const struct wawo_backend_ops *const *b = wawo_backends;
    const char *why = NULL, *excuse;
    int err;

    while (strcmp((*b)->name, test->backend) != 0)
        b++;
    err = (*b)->probe(*b, &why);
    if (err == 0)
        return;
    excuse = expected_excuse(test->backend);
    if (excuse == NULL)
        harness_fail(test->file, test->line, "%s should work here and does not: %s (%d)", test->backend,
                     why != NULL ? why : "no reason given", err);
    harness_skip("%s does not work here: %s (%s)", test->backend, why != NULL ? why : wawo_err_text(err), excuse);
}

/* Exits through exit(), so that a leak checker of the compiler has its say too. */
static _Noreturn void run_body(const struct harness_test *test)
{
    size_t before = wawo_alloc_live(), after;

    if (test->backend != NULL)
        ask_backend(test);
    test->body(test->backend);
    after = wawo_alloc_live();
    if (after != before)
        harness_fail(test->file, test->line, "%s left %zd allocations alive", test->name, (ptrdiff_t)(after - before));
    exit(EXIT_SUCCESS);
}

static void run_child(const void *test)
{
    run_body(test);
}

static void run_test(const struct harness_test *test, const char *name, struct run *run)
{
    const struct os_child child = {run_child, test, "-r", name};
    int64_t start = wawo_os_now_ns();
    struct os_end end = os_run(&child, deadline_s(), run->output, OUTPUT_MAX, &run->length);

    run->seconds = (double)(wawo_os_now_ns() - start) / 1e9;
    run->output[run->length] = '\0';
    run->outcome = FAILED;
    run->why = end.why;
    run->detail = 0;
    if (end.why != NULL) {
        run->detail = end.status;
    } else if (end.status == EXIT_SUCCESS) {
        run->outcome = PASSED;
    } else if (end.status == EXIT_SKIPPED) {
        run->outcome = SKIPPED;
    } else if (end.status != EXIT_FAILED) {
        run->detail = end.status;
        run->why = "exit status";
    }
}

static void report(const char *name, const struct run *run, bool verbose)
{
    static const char *const words[] = {[PASSED] = "ok  ", [FAILED] = "FAIL", [SKIPPED] = "skip"};
    bool ends_line = run->length > 0 && run->output[run->length - 1] == '\n';

    if (run->outcome == PASSED && !verbose && run->seconds < 1.0)
        return;
    printf("%s %s (%.0f ms)\n", words[run->outcome], name, run->seconds * 1e3);
    if (run->outcome != PASSED && run->length > 0)
        printf("%s%s", run->output, ends_line ? "" : "\n");
    if (run->why != NULL && run->detail != 0)
        printf("%s: %s %d\n", name, run->why, run->detail);
    else if (run->why != NULL)
        printf("%s: %s\n", name, run->why);
    fflush(stdout);
}

/* By file, then in the order of the file: the linker's order means nothing. */
static int by_place(const void *a, const void *b)
{
    const struct harness_test *x = *(struct harness_test *const *)a, *y = *(struct harness_test *const *)b;
    int files = strcmp(x->file, y->file);

    if (files != 0)
        return files;
    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    return strcmp(x->backend ? x->backend : "", y->backend ? y->backend : "");
}

/* Puts one entry for each backend in the place of those that ask for all of them. */
static void expand_tests(void)
{
    struct harness_test *t = tests, *next, *one;
    const struct wawo_backend_ops *const *b;

    for (tests = NULL; t != NULL; t = next) {
        next = t->next;
        if (t->backend != harness_backends && t->backend != harness_pollers) {
            harness_register(t);
            continue;
        }
        for (b = wawo_backends; *b != NULL; b++) {
            if (t->backend == harness_pollers && (*b)->arg == NULL)
                continue;
            one = malloc(sizeof(*one));
            if (one == NULL)
                abort();
            *one = *t;
            one->backend = (*b)->name;
            harness_register(one);
        }
    }
}

static struct harness_test **sorted_tests(size_t *count)
{
    struct harness_test **list;
    size_t n = 0;

    expand_tests();
    for (struct harness_test *t = tests; t != NULL; t = t->next)
        n++;
    list = calloc(n + 1, sizeof(*list));
    if (list == NULL)
        abort();
    n = 0;
    for (struct harness_test *t = tests; t != NULL; t = t->next)
        list[n++] = t;
    qsort(list, n, sizeof(*list), by_place);
    *count = n;
    return list;
}

enum { LEFT_OUT_MAX = 256 };
static const char *left_out[LEFT_OUT_MAX];
static size_t left_out_count;

static void leave_out(const char *name)
{
    if (left_out_count == LEFT_OUT_MAX) {
        fputs("harness: too many -x\n", stderr);
        exit(2);
    }
    left_out[left_out_count++] = name;
}

static bool is_left_out(const char *name)
{
    for (size_t i = 0; i < left_out_count; i++) {
        size_t all = strlen(name), len = strlen(left_out[i]);

        if ((len == all || (left_out[i][0] == '/' && len < all)) && strcmp(name + all - len, left_out[i]) == 0)
            return true;
    }
    return false;
}

static bool wanted(const char *name, char **filters)
{
    if (is_left_out(name))
        return false;
    if (*filters == NULL)
        return true;
    for (; *filters != NULL; filters++)
        if (strstr(name, *filters) != NULL)
            return true;
    return false;
}

static const struct harness_test *find_test(struct harness_test *const *list, size_t count, const char *wanted_name)
{
    char name[512];

    for (size_t i = 0; i < count; i++) {
        full_name(list[i], name, sizeof(name));
        if (strcmp(name, wanted_name) == 0)
            return list[i];
    }
    fprintf(stderr, "harness: no test is named %s\n", wanted_name);
    exit(2);
}

static int usage(void)
{
    puts("usage: tests [-l] [-v] [-1] [-r NAME] [-x NAME]... [FILTER...]\n"
         "  FILTER  run the tests whose name contains it (any of several)\n"
         "  -l      list the names and do nothing else\n"
         "  -v      print passed tests too\n"
         "  -x NAME leave the test of that full name out, or with /NAME those that end so\n"
         "  -1      run the first match in this process, without a deadline: for a debugger\n"
         "  -r NAME run the test of that full name in the same way");
    return 2;
}

int main(int argc, char **argv)
{
    static struct run run;
    bool list = false, verbose = false, here = false;
    size_t count, done[3] = {0, 0, 0};
    struct harness_test **all = sorted_tests(&count);
    int option;

    os_begin();
    while ((option = getopt(argc, argv, "lv1r:x:")) != -1) {
        if (option == 'x')
            leave_out(optarg);
        if (option == 'r')
            run_body(find_test(all, count, optarg));
        list |= option == 'l';
        verbose |= option == 'v';
        here |= option == '1';
        if (option == '?')
            return usage();
    }
    for (size_t i = 0; i < count; i++) {
        char name[512];

        full_name(all[i], name, sizeof(name));
        if (!wanted(name, argv + optind))
            continue;
        if (list) {
            puts(name);
            continue;
        }
        if (here)
            run_body(all[i]);
        run_test(all[i], name, &run);
        report(name, &run, verbose);
        done[run.outcome]++;
    }
    free(all);
    if (list)
        return 0;
    if (done[PASSED] + done[FAILED] + done[SKIPPED] == 0)
        puts("no test has such a name");
    printf("%zu passed, %zu failed, %zu skipped\n", done[PASSED], done[FAILED], done[SKIPPED]);
    return done[FAILED] > 0 || done[PASSED] + done[SKIPPED] == 0;
}
