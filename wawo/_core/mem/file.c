#include "file.h"

#include "../base/alloc.h"
#include "../base/atomic.h"
#include "../base/check.h"
#include "../base/os.h"

/* All that are open: a child of a fork closes them. It may be made at any moment, with the lock held by a thread that it
 * does not have: so it goes through the list without, and every store leaves a list that can be read. */
static struct wawo_file *all;
static struct wawo_mutex all_lock = WAWO_MUTEX_INIT;
static size_t live; /* atomic */

static void enlist(struct wawo_file *f)
{
    wawo_mutex_lock(&all_lock);
    f->next = all;
    f->link = &all;
    if (all != NULL)
        all->link = &f->next;
    wawo_store(&all, f);
    wawo_mutex_unlock(&all_lock);
}

static void delist(struct wawo_file *f)
{
    wawo_mutex_lock(&all_lock);
    wawo_store(f->link, f->next);
    if (f->next != NULL)
        f->next->link = f->link;
    wawo_mutex_unlock(&all_lock);
}

struct wawo_file *wawo_file_new(int fd, uint64_t offset, uint64_t count)
{
    struct wawo_file *f = wawo_alloc_zero(sizeof *f);

    WAWO_CHECK(count > 0);
    if (f == NULL)
        return NULL;
    f->refs = 1;
    f->fd = fd;
    f->offset = offset;
    f->left = count;
    f->cache = wawo_os_file_prepare(fd, offset);
    enlist(f);
    wawo_add_relaxed(&live, 1);
    return f;
}

void wawo_file_hold(struct wawo_file *f)
{
    wawo_add_relaxed(&f->refs, 1);
}

void wawo_file_drop(struct wawo_file *f)
{
    if (wawo_sub(&f->refs, 1) != 1)
        return;
    delist(f); /* before the close: a child must not close a stranger's descriptor */
    wawo_os_file_close(f->fd);
    wawo_free(f);
    wawo_sub(&live, 1);
}

size_t wawo_file_live(void)
{
    return wawo_load(&live);
}

void wawo_file_after_fork(void)
{
    struct wawo_file *f;

    for (f = all; f != NULL; f = f->next)
        wawo_os_file_close(f->fd);
    all = NULL;
    wawo_mutex_init(&all_lock);
    wawo_store(&live, 0);
}
