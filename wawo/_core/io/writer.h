/* F2 writer: the way from a sock's ring into the kernel by the ordinary calls, bytes and files, a bounded part of them a
 * turn. Backends that write so share it. Its loop's thread. */
#ifndef WAWO_IO_WRITER_H
#define WAWO_IO_WRITER_H

#include "backend.h"

struct wawo_writer {
    const struct wawo_table *table;
    struct wawo_heap *heap;
    struct wawo_loop *loop;
    void (*go_on)(void *arg, struct wawo_sock *s); /* what its file waited for was read: it may be resumed */
    void *arg;
    size_t file_share; /* bytes of its file that each one that is ready may write */
    size_t files_left; /* of those of a turn, for those that begin in it */
};

void wawo_writer_init(struct wawo_writer *w, const struct wawo_backend_env *env,
                      void (*go_on)(void *arg, struct wawo_sock *s), void *arg);
/* A turn begins. */
void wawo_writer_turn(struct wawo_writer *w);
/* So many socks are ready in it, and share what of files may be written. */
void wawo_writer_share(struct wawo_writer *w, int ready);
/* Writes what the kernel takes at once: how much, or an error. *waits: the rest goes on when the kernel has room; else
 * nothing is left, or a file is read first (s->reading). */
ptrdiff_t wawo_writer_begin(struct wawo_writer *w, struct wawo_sock *s, bool *waits);
/* The kernel has room: writes, and fills *d. 1 if that is an event, else 0; *waits as above. */
int wawo_writer_resume(struct wawo_writer *w, struct wawo_sock *s, struct wawo_done *d, bool *waits);

#endif
