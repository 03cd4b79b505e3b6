/* The pool for what blocks. */
#include "support/kit.h"

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/err.h"
#include "io/work.h"

struct job {
    struct wawo_work work;
    uint32_t *running, *most, *done, *gate; /* atomic */
};

static void run_job(struct wawo_work *w)
{
    struct job *j = wawo_container_of(w, struct job, work);
    uint32_t now = wawo_add(j->running, 1) + 1, most = wawo_load(j->most);

    while (now > most && !wawo_cas(j->most, &most, now))
        continue;
    KIT_UNTIL(wawo_load(j->gate) != 0);
    wawo_sub(j->running, 1);
    wawo_add(j->done, 1);
}

TEST(runs_on_a_few_threads)
{
    enum { JOBS = 100 };
    static struct job jobs[JOBS];
    static uint32_t running, most, done, gate; /* the threads live on */
    int i;

    for (i = 0; i < JOBS; i++) {
        jobs[i] = (struct job){{.run = run_job}, &running, &most, &done, &gate};
        ASSERT_EQ(wawo_work_submit(&jobs[i].work), 0);
    }
    KIT_UNTIL(wawo_load(&running) == WAWO_WORK_THREADS);
    wawo_store(&gate, 1);
    KIT_UNTIL(wawo_load(&done) == JOBS);
    ASSERT_EQ(most, (unsigned)WAWO_WORK_THREADS);
    KIT_UNTIL(wawo_alloc_live() == 0);
}

TEST(no_thread_no_work)
{
    static struct job job;
    static uint32_t running, most, done, gate = 1;

    job = (struct job){{.run = run_job}, &running, &most, &done, &gate};
    wawo_alloc_fail_at(1);
    ASSERT_EQ(wawo_work_submit(&job.work), WAWO_ENOMEM);
    wawo_alloc_fail_at(0);
    ASSERT_EQ(wawo_work_submit(&job.work), 0);
    KIT_UNTIL(wawo_load(&done) == 1);
    KIT_UNTIL(wawo_alloc_live() == 0);
}

#ifndef __SANITIZE_THREAD__ /* it cannot follow threads that a child of many threads starts */
static void work_in_child(void *arg)
{
    struct job *j = arg;

    wawo_work_after_fork();
    ASSERT_EQ(wawo_work_submit(&j->work), 0);
    KIT_UNTIL(wawo_load(j->done) == 2);
}

TEST(after_fork_it_starts_anew)
{
    static struct job job[2];
    static uint32_t running, most, done, gate = 1;

    job[0] = job[1] = (struct job){{.run = run_job}, &running, &most, &done, &gate};
    ASSERT_EQ(wawo_work_submit(&job[0].work), 0);
    KIT_UNTIL(wawo_load(&done) == 1);
    ASSERT_EQ(os_fork(work_in_child, &job[1]), 0);
    KIT_UNTIL(wawo_alloc_live() == 0);
}
#endif
