/* The test harness of the C floors.
 *
 *     TEST(push_then_take) { ASSERT_EQ(wawo_mpsc_empty(&q), true); }
 *     TEST_EACH_BACKEND(echo, backend) { ... open a loop with this `backend` ... }
 *
 * The backends are those of this platform's table. One that does not work here is skipped, or fails where
 * support/expected.h says that it should.
 *
 * A test registers itself; its full name is <floor>/<file>/<name>[/<backend>]. Each runs in a child process with a
 * deadline, its output is shown when it fails, and wawo_alloc_live() must be back where it was when it ends. Every
 * assertion may be used from any thread, ends the child, and does not depend on NDEBUG. Operands are evaluated once.
 * Comparisons are of values: -1 is less than 1u. */
#ifndef WAWO_TESTS_HARNESS_H
#define WAWO_TESTS_HARNESS_H

#include "support/os.h" /* first: base/config.h in it sets the feature macros of the system's headers */

struct harness_test {
    const char *file;
    int line;
    const char *name;
    const char *backend; /* NULL: the test does not ask for one; one of the two below: for each of them */
    void (*body)(const char *backend);
    struct harness_test *next;
};

/* Known by their addresses. */
extern const char harness_backends[], harness_pollers[];

/* Keeps `test`, which must live as long as the program. */
void harness_register(struct harness_test *test);

#define HARNESS_ENTRY(name_, backend_, suffix_)                                                                        \
    __attribute__((constructor)) static void register_##name_##suffix_(void)                                           \
    {                                                                                                                  \
        static struct harness_test entry = {__FILE__, __LINE__, #name_, backend_, test_##name_, NULL};                 \
        harness_register(&entry);                                                                                      \
    }

#define TEST(name)                                                                                                     \
    static void body_##name(void);                                                                                     \
    static void test_##name(const char *backend_)                                                                      \
    {                                                                                                                  \
        (void)backend_;                                                                                                \
        body_##name();                                                                                                 \
    }                                                                                                                  \
    HARNESS_ENTRY(name, NULL, )                                                                                        \
    static void body_##name(void)

/* The body once for each backend of the table in io/backend.c. */
#define TEST_EACH_BACKEND(name, backend) HARNESS_EACH(name, backend, harness_backends)
/* The same for those that stand on a poller. */
#define TEST_EACH_POLLER(name, backend) HARNESS_EACH(name, backend, harness_pollers)

#define HARNESS_EACH(name, backend, which)                                                                             \
    static void test_##name(const char *backend);                                                                      \
    HARNESS_ENTRY(name, which, _each)                                                                                  \
    static void test_##name(const char *backend)

/* ---- operands: any number, bool or pointer ---- */

enum harness_kind { HARNESS_INT, HARNESS_UINT, HARNESS_BOOL, HARNESS_DOUBLE, HARNESS_POINTER };

struct harness_value {
    enum harness_kind kind;
    bool negative; /* of an integer; `u` then holds its two's complement */
    uintmax_t u;
    double d;
    const void *p;
};

struct harness_value harness_of_int(intmax_t v);
struct harness_value harness_of_uint(uintmax_t v);
struct harness_value harness_of_bool(bool v);
struct harness_value harness_of_double(double v);
struct harness_value harness_of_pointer(const volatile void *v);

#define HARNESS_VALUE(x)                                                                                               \
    _Generic((x),                                                                                                      \
        bool: harness_of_bool,                                                                                         \
        char: harness_of_int,                                                                                          \
        signed char: harness_of_int,                                                                                   \
        short: harness_of_int,                                                                                         \
        int: harness_of_int,                                                                                           \
        long: harness_of_int,                                                                                          \
        long long: harness_of_int,                                                                                     \
        unsigned char: harness_of_uint,                                                                                \
        unsigned short: harness_of_uint,                                                                               \
        unsigned: harness_of_uint,                                                                                     \
        unsigned long: harness_of_uint,                                                                                \
        unsigned long long: harness_of_uint,                                                                           \
        float: harness_of_double,                                                                                      \
        double: harness_of_double,                                                                                     \
        default: harness_of_pointer)(x)

void harness_compare(const char *file, int line, const char *a_text, const char *op, const char *b_text,
                     struct harness_value a, struct harness_value b);
void harness_true(const char *file, int line, const char *text, bool wanted, bool value);
void harness_text(const char *file, int line, const char *a_text, const char *b_text, const char *a, const char *b);
void harness_bytes(const char *file, int line, const char *a_text, const char *b_text, const void *a, const void *b,
                   size_t size);
_Noreturn void harness_fail(const char *file, int line, const char *format, ...) OS_PRINTF(3, 4);
_Noreturn void harness_skip(const char *format, ...) OS_PRINTF(1, 2);

#define HARNESS_COMPARE(a, op, b) harness_compare(__FILE__, __LINE__, #a, op, #b, HARNESS_VALUE(a), HARNESS_VALUE(b))

#define ASSERT_EQ(a, b) HARNESS_COMPARE(a, "==", b)
#define ASSERT_NE(a, b) HARNESS_COMPARE(a, "!=", b)
#define ASSERT_LT(a, b) HARNESS_COMPARE(a, "<", b)
#define ASSERT_LE(a, b) HARNESS_COMPARE(a, "<=", b)
#define ASSERT_GT(a, b) HARNESS_COMPARE(a, ">", b)
#define ASSERT_GE(a, b) HARNESS_COMPARE(a, ">=", b)
#define ASSERT_NULL(a) HARNESS_COMPARE(a, "==", NULL)
#define ASSERT_NOT_NULL(a) HARNESS_COMPARE(a, "!=", NULL)
#define ASSERT_TRUE(a) harness_true(__FILE__, __LINE__, #a, true, (a))
#define ASSERT_FALSE(a) harness_true(__FILE__, __LINE__, #a, false, (a))
/* NULL equals only NULL. */
#define ASSERT_STREQ(a, b) harness_text(__FILE__, __LINE__, #a, #b, (a), (b))
#define ASSERT_MEMEQ(a, b, size) harness_bytes(__FILE__, __LINE__, #a, #b, (a), (b), (size))
/* printf style. */
#define FAIL(...) harness_fail(__FILE__, __LINE__, __VA_ARGS__)
/* Ends the test here as skipped; printf style, says why. */
#define SKIP(...) harness_skip(__VA_ARGS__)

#endif
