#include "../base/config.h"

#include "../base/os.h"
#include "work.h"

static struct wawo_mutex lock = WAWO_MUTEX_INIT;
static struct wawo_cond ready;
static bool ready_made;
static struct wawo_node *first, **last = &first;
static unsigned threads, idle, waiting; /* waiting: jobs in the queue */

static void worker(void *arg)
{
    struct wawo_work *w;

    (void)arg;
    wawo_mutex_lock(&lock);
    for (;;) {
        while (first == NULL) {
            idle++;
            wawo_cond_wait(&ready, &lock);
            idle--;
        }
        w = wawo_container_of(first, struct wawo_work, node);
        first = w->node.next;
        if (first == NULL)
            last = &first;
        waiting--;
        wawo_mutex_unlock(&lock);
        w->run(w);
        wawo_mutex_lock(&lock);
    }
}

int wawo_work_submit(struct wawo_work *w)
{
    struct wawo_thread t;
    int err = 0;

    wawo_mutex_lock(&lock);
    if (!ready_made) {
        wawo_cond_init(&ready);
        ready_made = true;
    }
    if (idle <= waiting && threads < WAWO_WORK_THREADS) {
        err = wawo_thread_start(&t, "wawo-work", worker, NULL);
        if (err == 0) {
            wawo_thread_detach(&t);
            threads++;
        }
    }
    if (threads > 0) { /* a busy thread will come to it */
        err = 0;
        w->node.next = NULL;
        *last = &w->node;
        last = &w->node.next;
        waiting++;
        wawo_cond_signal(&ready);
    }
    wawo_mutex_unlock(&lock);
    return err;
}

void wawo_work_after_fork(void)
{
    wawo_mutex_init(&lock);
    ready_made = false;
    first = NULL;
    last = &first;
    threads = idle = waiting = 0;
}
