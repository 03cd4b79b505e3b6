#include "warm.h"

#include "../base/alloc.h"
#include "../base/err.h"
#include "threads.h"
#include "work.h"

enum { CACHED_BYTES = 2 * 1024 * 1024 }; /* of a file, looked for in memory at once */
#define WARM_NS (500 * WAWO_MSEC) /* what was in memory is taken to be there for this long */

struct warm {
    struct wawo_work work;
    struct wawo_call call;
    struct wawo_loop *loop; /* a reference of its threads */
    struct wawo_file *file; /* a reference */
    uint64_t id, offset;
    size_t len, ahead;
    int error;
    wawo_warm_answer answer;
    void *arg;
};

static void warm_free(struct warm *w)
{
    wawo_file_drop(w->file);
    wawo_free(w);
}

static void warm_answered(struct wawo_call *call, struct wawo_loop *loop, bool dead)
{
    struct warm *w = wawo_container_of(call, struct warm, call);

    (void)loop;
    if (!dead)
        w->answer(w->arg, w->id, w->file, w->len, w->error);
    warm_free(w);
}

static void warm_run(struct wawo_work *work)
{
    struct warm *w = wawo_container_of(work, struct warm, work);
    struct wawo_loop *loop = w->loop;
    struct wawo_threads *threads = loop->threads;

    w->error = wawo_os_file_load(w->file->fd, w->offset, w->len, w->ahead);
    if (!wawo_loop_post(loop, &w->call)) /* from here on `w` is the loop's */
        warm_free(w);
    wawo_threads_drop(threads);
}

size_t wawo_warm_cached(struct wawo_file *f, size_t want)
{
    int64_t now = wawo_os_now_coarse_ns();
    size_t len = f->left < CACHED_BYTES ? (size_t)f->left : CACHED_BYTES;

    if (f->offset >= f->warm_end || now - f->warm_ns > WARM_NS) {
        if (!wawo_os_file_cached(f->fd, f->cache, f->offset, len)) {
            if (want >= len || !wawo_os_file_cached(f->fd, f->cache, f->offset, want))
                return 0;
            len = want;
        }
        f->warm_end = f->offset + len;
        f->warm_ns = now;
    }
    return f->warm_end - f->offset < want ? (size_t)(f->warm_end - f->offset) : want;
}

int wawo_warm_start(struct wawo_loop *loop, uint64_t id, struct wawo_file *file, size_t len, size_t ahead,
                    wawo_warm_answer answer, void *arg)
{
    struct warm *w = wawo_alloc(sizeof *w);
    int err;

    if (w == NULL)
        return WAWO_ENOMEM;
    *w = (struct warm){.work.run = warm_run,
                       .call.run = warm_answered,
                       .loop = loop,
                       .file = file,
                       .id = id,
                       .offset = file->offset,
                       .len = len,
                       .ahead = ahead,
                       .answer = answer,
                       .arg = arg};
    wawo_file_hold(file);
    wawo_threads_hold(loop->threads);
    err = wawo_work_submit(&w->work);
    if (err != 0) {
        wawo_threads_drop(loop->threads);
        warm_free(w);
        return err;
    }
    wawo_bump(&loop->file_reads, 1);
    return 0;
}
