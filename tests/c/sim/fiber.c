/* Fibers: the threads of the core, one of which runs until it blocks. While one runs, the loop that it serves takes this
 * thread for its own, and all others take it for a stranger. */
#include "sim.h"

#include "base/atomic.h"
#include "io/loop.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#ifdef SIM_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

enum { FIBERS = 24, STACK = 512 * 1024, STRANGER = 1, PREEMPT = 30 };

struct fiber {
    ucontext_t context;
    void *stack; /* kept from run to run */
    void *fake; /* the sanitizer's */
    void *(*entry)(void *arg);
    void *arg;
    bool (*ready)(void *arg); /* NULL: always */
    void *ready_arg;
    int64_t deadline;
    int error; /* its errno */
    bool ended;
    struct wawo_loop *loop;
    uintptr_t self, runner; /* what loop->thread and loop->runner are while it runs */
};

void *__real_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);

static struct fiber fibers[FIBERS];
static unsigned count;
static struct fiber *current; /* NULL: the application's thread */
static bool undivided;
static ucontext_t scheduler;
static const void *main_stack;
static size_t main_stack_size;
static void *main_fake;
static int64_t main_deadline; /* of what the application's thread waits for; 0: it does not wait, -1: for ever */
static int (*swap)(ucontext_t *from, const ucontext_t *to); /* past the sanitizer's, which warns of what is told here */

static void leaving(void **fake, const void *to, size_t size)
{
#ifdef SIM_ASAN
    __sanitizer_start_switch_fiber(fake, to, size);
#else
    (void)fake, (void)to, (void)size;
#endif
}

static void arrived(void *fake, const void **from, size_t *size)
{
#ifdef SIM_ASAN
    __sanitizer_finish_switch_fiber(fake, from, size);
#else
    (void)fake, (void)from, (void)size;
#endif
}

static void leave(bool for_good)
{
    struct fiber *f = current;

    leaving(for_good ? NULL : &f->fake, main_stack, main_stack_size);
    (void)swap(&f->context, &scheduler);
    arrived(f->fake, &main_stack, &main_stack_size);
}

static void run(void)
{
    arrived(NULL, &main_stack, &main_stack_size);
    (void)current->entry(current->arg);
    current->ended = true;
    leave(true);
}

static void find_swap(void)
{
    void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);

    *(void **)(void *)&swap = libc != NULL ? dlsym(libc, "swapcontext") : NULL;
    if (swap == NULL)
        swap = swapcontext;
}

/* Apart: getcontext() may seem to return twice. */
static void prepare(ucontext_t *context, void *stack)
{
    SIM_CHECK(getcontext(context) == 0);
    context->uc_stack.ss_sp = stack;
    context->uc_stack.ss_size = STACK;
    context->uc_link = NULL;
    makecontext(context, run, 0);
}

struct fiber *fiber_start(void *(*entry)(void *arg), void *arg)
{
    struct fiber *f = &fibers[count];
    void *stack;

    if (count == FIBERS)
        return NULL;
    if (swap == NULL)
        find_swap();
    stack = f->stack;
    if (stack == NULL)
        stack = __real_mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SIM_CHECK(stack != MAP_FAILED);
    count++;
    memset(f, 0, sizeof *f);
    f->stack = stack;
    f->entry = entry;
    f->arg = arg;
    f->deadline = -1;
    prepare(&f->context, stack);
    return f;
}

void fiber_is_loop(unsigned nth, struct wawo_loop *loop)
{
    SIM_CHECK(nth < count);
    fibers[nth].loop = loop;
}

/* The loop's thread is this one from now on, or is not. */
static void change_hats(struct fiber *f, bool on)
{
    struct wawo_loop *loop = f->loop;

    if (loop == NULL)
        return;
    if (on) {
        wawo_store(&loop->thread, f->self);
        wawo_store(&loop->runner, f->runner);
        wawo_pool_bind(f->runner != 0 ? loop->heap.pool : NULL);
        return;
    }
    f->self = wawo_load(&loop->thread); /* 0 also where it stepped aside */
    f->runner = wawo_load(&loop->runner);
    if (f->self != 0)
        wawo_store(&loop->thread, STRANGER);
    if (f->runner != 0)
        wawo_store(&loop->runner, STRANGER);
    wawo_pool_bind(NULL);
}

static void resume(struct fiber *f)
{
    int error = errno;

    SIM_CHECK(current == NULL && !f->ended);
    current = f;
    change_hats(f, true);
    errno = f->error;
    leaving(&main_fake, f->stack, STACK);
    (void)swap(&scheduler, &f->context);
    arrived(main_fake, NULL, NULL);
    f->error = errno;
    errno = error;
    if (f->ended)
        wawo_pool_bind(NULL);
    else
        change_hats(f, false);
    current = NULL;
}

static bool can_run(const struct fiber *f)
{
    return !f->ended && (f->ready == NULL || f->ready(f->ready_arg) || (f->deadline >= 0 && sim_now >= f->deadline));
}

bool fiber_step(void)
{
    unsigned i, start = sim_below(count);

    for (i = 0; i < count; i++)
        if (can_run(&fibers[(start + i) % count])) {
            resume(&fibers[(start + i) % count]);
            return true;
        }
    return false;
}

int64_t fiber_next(void)
{
    int64_t next = main_deadline > 0 ? main_deadline : main_deadline == 0 ? sim_now : INT64_MAX;
    unsigned i;

    for (i = 0; i < count; i++)
        if (!fibers[i].ended && fibers[i].ready != NULL && fibers[i].deadline >= 0 && fibers[i].deadline < next)
            next = fibers[i].deadline;
    return next;
}

bool fiber_block(bool (*ready)(void *arg), void *arg, int64_t deadline)
{
    struct fiber *f = current;

    if (f == NULL) {
        while (!ready(arg) && (deadline < 0 || sim_now < deadline)) {
            main_deadline = deadline;
            world_step();
        }
        main_deadline = 0;
        return ready(arg);
    }
    f->ready = ready;
    f->ready_arg = arg;
    f->deadline = deadline;
    leave(false);
    f->ready = NULL;
    return ready(arg);
}

void fiber_yield(void)
{
    if (current != NULL)
        leave(false);
}

void fiber_undivided(bool on)
{
    undivided = on;
}

void fiber_preempt(void)
{
    if (current != NULL && !undivided && sim_chance(PREEMPT))
        leave(false);
}

bool fiber_ended(const struct fiber *f)
{
    return f->ended;
}

const struct fiber *fiber_current(void)
{
    return current;
}

int fiber_loop(void)
{
    return current != NULL && current->loop != NULL ? (int)current->loop->index : -1;
}

void fiber_reset(void)
{
    SIM_CHECK(current == NULL);
    count = 0;
}
