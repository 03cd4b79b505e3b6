# F5: the mirror of wawo.h, and nothing else.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "<base/err.h>" nogil:
    enum:
        WAWO_EAGAIN
        WAWO_ENOMEM
        WAWO_ENOBUFS
        WAWO_EINVAL
        WAWO_EMSGSIZE
        WAWO_EBADMSG
        WAWO_EPROTO
        WAWO_ECANCELED
        WAWO_ENOTSUP
        WAWO_ECLOSED
        WAWO_AGAIN
    const char *wawo_err_text(int code)

cdef extern from "<wawo.h>" nogil:
    struct wawo_threads:
        pass
    struct wawo_endpoint:
        pass
    struct wawo_chunk:
        pass
    struct wawo_share:
        pass
    struct wawo_file:
        pass

    enum wawo_event_kind:
        WAWO_ON_PREPARE_CONNECT
        WAWO_ON_ACCEPT
        WAWO_ON_CONNECT
        WAWO_ON_HANDSHAKE
        WAWO_ON_RECEIVE
        WAWO_ON_SEND
        WAWO_ON_DRAIN
        WAWO_ON_CLOSE
        WAWO_ON_SHUTDOWN
        WAWO_EVENT_KINDS
    enum:
        WAWO_ON_WRAP
    enum wawo_operation:
        WAWO_OP_UNKNOWN
        WAWO_OP_ACCEPT
        WAWO_OP_CONNECT
        WAWO_OP_SEND
        WAWO_OP_RECEIVE
        WAWO_OP_CLOSE
        WAWO_OPERATIONS
    struct wawo_event:
        uint8_t kind
        uint8_t operation
        int32_t error
        void *owner
        wawo_share *share
        wawo_chunk *chunk
        const uint8_t *ptr
        size_t len
    struct wawo_sink:
        void (*thread_start)(void *arg, const char *name) noexcept
        void (*thread_stop)(void *arg) noexcept
        void (*enter)(void *arg) noexcept
        void (*leave)(void *arg) noexcept
        void (*deliver)(void *arg, const wawo_event *events, unsigned count) noexcept
        void (*give_back)(void *loan) noexcept
        bint baton
    bint wawo_event_due(const wawo_event *e)
    void wawo_event_closed(const wawo_event *e)

    wawo_threads *wawo_engine_new(unsigned count, const char *backend, size_t pool_bytes, const wawo_sink *sink,
                                  void *arg, int *err)
    bint wawo_engine_stop(wawo_threads *t, int64_t timeout_ns)
    void wawo_engine_drop(wawo_threads *t)
    const char *wawo_engine_backend(const wawo_threads *t)
    unsigned wawo_engine_count(const wawo_threads *t)
    bint wawo_engine_current(const wawo_threads *t)
    struct wawo_loop_stats:
        uint64_t turns
        uint64_t wakes
        uint64_t batches
        uint64_t events
        uint64_t batch_max
        uint64_t gil_wait_ns
        uint64_t deliver_ns
        uint64_t slow_batches
        uint64_t baton_waits
        uint64_t file_reads
        uint64_t connections
        uint64_t pool_limit
        uint64_t pool_used
        uint64_t pool_exported
        uint64_t pool_bytes
        uint64_t pool_starved
        uint64_t pool_kept
        uint64_t slab_bytes
    void wawo_engine_stats(wawo_threads *t, unsigned loop, wawo_loop_stats *out)
    void wawo_engine_slow_ns(wawo_threads *t, int64_t ns)
    struct wawo_backend_info:
        const char *name
        const char *why
        bint on_request
    bint wawo_backend_at(unsigned rank, wawo_backend_info *info)
    void wawo_after_fork_child()
    size_t wawo_live_conns()
    size_t wawo_live_shares()
    size_t wawo_live_chunks()
    size_t wawo_live_files()
    unsigned wawo_live_threads()

    enum wawo_role:
        WAWO_SERVER
        WAWO_AGENT
        WAWO_CLIENT
    enum wawo_framing_kind:
        WAWO_FRAMING_RAW
        WAWO_FRAMING_LENGTH
        WAWO_FRAMING_FIELD
        WAWO_FRAMING_PACK
        WAWO_FRAMING_MARKS
        WAWO_FRAMING_FIXED
        WAWO_FRAMING_PACKET
        WAWO_FRAMING_PULL
    struct wawo_options:
        uint32_t max_connections
        uint32_t max_per_address
        bint close_when_full
        bint proxy_protocol
        bint auto_pause
        bint no_delay
        int keepalive_idle_s
        int keepalive_interval_s
        size_t high_water
        size_t low_water
        size_t max_pending
        size_t max_pending_total
        int64_t close_timeout_ns
        int64_t connect_timeout_ns
        int64_t idle_timeout_ns
        uint64_t receive_rate
        bint tls
        int64_t handshake_timeout_ns
    enum:
        WAWO_MARK_MAX
    struct wawo_framing:
        int kind
        uint64_t max_size
        uint8_t field_size
        bint little
        uint32_t offset
        int64_t adjust
        int32_t strip
        uint16_t flag
        uint8_t start_len
        uint8_t end_len
        uint8_t start[WAWO_MARK_MAX]
        uint8_t end[WAWO_MARK_MAX]
    wawo_endpoint *wawo_endpoint_new(wawo_threads *t, wawo_role role, const wawo_options *options,
                                     const wawo_framing *framing, unsigned mask, void *user, int *err)
    int wawo_endpoint_listen(wawo_endpoint *e, int fd, int loop)
    int wawo_endpoint_connect(wawo_endpoint *e, const char *host, uint16_t port, const char *local,
                              uint16_t local_port, int64_t timeout_ns,
                              void (*made)(wawo_share *s, void *arg) noexcept, void *arg)
    int wawo_endpoint_adopt(wawo_endpoint *e, int fd, void (*made)(wawo_share *s, void *arg) noexcept, void *arg)
    void wawo_endpoint_stop(wawo_endpoint *e, int64_t drain_ns)
    void wawo_endpoint_drop(wawo_endpoint *e)
    uint32_t wawo_endpoint_count(const wawo_endpoint *e)
    wawo_share *wawo_endpoint_find(wawo_endpoint *e, uint64_t id)
    size_t wawo_endpoint_list(wawo_endpoint *e, wawo_share **out, size_t max)
    ptrdiff_t wawo_endpoint_broadcast(wawo_endpoint *e, const void *data, size_t len, const uint64_t *ids,
                                      size_t count, bint evict)
    size_t wawo_endpoint_disconnect(wawo_endpoint *e, int64_t period_ns, bint silent)
    struct wawo_endpoint_stats:
        uint64_t accepts
        uint64_t connects
        uint64_t closed
        uint64_t rejected
        uint64_t rejected_address
        uint64_t rejected_proxy
        uint64_t accept_pauses
        uint64_t receive_pauses
        uint64_t rate_pauses
        uint64_t idle_closed
        uint64_t handshakes
        uint64_t handshakes_failed
        uint64_t messages_in
        uint64_t messages_out
        uint64_t broadcasts_skipped
        uint64_t bytes_in
        uint64_t bytes_out
    void wawo_endpoint_stats_read "wawo_endpoint_stats"(wawo_endpoint *e, wawo_endpoint_stats *out)

    void wawo_share_hold(wawo_share *s)
    void wawo_share_drop(wawo_share *s)
    uint64_t wawo_share_id(const wawo_share *s)
    unsigned wawo_share_loop(const wawo_share *s)
    void *wawo_share_user(wawo_share *s)
    void *wawo_share_set_user(wawo_share *s, void *user, void (*found)(void *user) noexcept)
    void *wawo_share_find_user(wawo_share *s, void (*found)(void *user) noexcept)
    void *wawo_share_take_user(wawo_share *s)
    int wawo_share_send(wawo_share *s, const void *data, size_t len)
    int wawo_share_lend(wawo_share *s, const void *data, size_t len, wawo_chunk *chunk, void *loan)
    struct wawo_part:
        const void *data
        size_t len
        wawo_chunk *chunk
        void *loan
        wawo_file *file
    int wawo_share_send_parts(wawo_share *s, const wawo_part *parts, unsigned count)
    bint wawo_share_looks(wawo_share *s)
    wawo_file *wawo_file_new(int fd, uint64_t offset, uint64_t count)
    void wawo_file_drop(wawo_file *f)
    bint wawo_share_close(wawo_share *s)
    bint wawo_share_abort(wawo_share *s)
    bint wawo_share_shutdown_write(wawo_share *s)
    bint wawo_share_flush(wawo_share *s)
    bint wawo_share_pause(wawo_share *s, bint pause)
    bint wawo_share_paused(const wawo_share *s)
    bint wawo_share_connected(const wawo_share *s)
    size_t wawo_share_unread(const wawo_share *s)
    int wawo_share_fetch(wawo_share *s, void *out, size_t n, bint consume)
    bint wawo_share_here(const wawo_share *s)
    void wawo_share_refuse(wawo_share *s, wawo_operation operation, int error)
    void wawo_share_leave_bare(wawo_share *s, int error)
    size_t wawo_share_pending(const wawo_share *s)
    int64_t wawo_share_connect_ns(const wawo_share *s)
    int64_t wawo_share_silence_ns(const wawo_share *s)
    enum:
        WAWO_HOST_TEXT
    int wawo_share_address(const wawo_share *s, bint local, char *host, int *family)
    int wawo_share_error(const wawo_share *s, int *operation, int *gai)
    const char *wawo_share_fault(const wawo_share *s)

    struct wawo_tls_pipe:
        const uint8_t *ptr
        size_t len
    int wawo_tls_put(wawo_tls_pipe *pipe, const void *data, size_t len)
    struct wawo_tls_ops:
        const char *name
        bint enters
        int (*attach)(void *session, wawo_tls_pipe *pipe) noexcept
        int (*handshake)(void *session) noexcept
        ptrdiff_t (*read)(void *session, void *to, size_t room) noexcept
        int (*pending)(void *session) noexcept
        ptrdiff_t (*write)(void *session, const void *data, size_t len) noexcept
        int (*shutdown)(void *session) noexcept
    enum:
        WAWO_TLS_CLIENT
        WAWO_TLS_LENIENT
    int wawo_share_secure(wawo_share *s, const wawo_tls_ops *ops, void *session, unsigned how)
    int wawo_share_start_tls(wawo_share *s, const wawo_tls_ops *ops, void *session, unsigned how)
    enum wawo_tls_fault:
        WAWO_TLS_FINE
        WAWO_TLS_FAILED
        WAWO_TLS_CUT
        WAWO_TLS_LATE
        WAWO_TLS_LEFTOVER
    wawo_tls_fault wawo_share_tls_fault(const wawo_share *s, unsigned long *code, long *verify)
    const wawo_tls_ops wawo_tls_openssl
    int wawo_openssl_find(const char *path, const char **missing)
    void *wawo_openssl_context(void *session)
    void *wawo_openssl_maker(void *session)
    const char *wawo_openssl_reason(unsigned long code)
    const char *wawo_openssl_library(unsigned long code)
    const char *wawo_openssl_verify_text(long verify)
    bint wawo_openssl_try(void *session)

    enum:
        WAWO_LOAD_CONNECTIONS_MAX
        WAWO_LOAD_DEPTH_MAX
        WAWO_LOAD_FLIGHT_MAX
    struct wawo_load_options:
        const char *host
        uint16_t port
        uint32_t connections
        uint32_t depth
        size_t size
        int64_t warmup_ns
        int64_t measure_ns
        int64_t patience_ns
        int (*progress)(void *arg, int64_t elapsed_ns, uint64_t messages) noexcept
        void *arg
    struct wawo_load_result:
        uint64_t messages
        int64_t elapsed_ns
        uint64_t p50_ns
        uint64_t p99_ns
        uint64_t p999_ns
        uint64_t max_ns
        uint32_t errors
        int error
    int wawo_load_run(const wawo_load_options *options, wawo_load_result *out)

    bint wawo_chunk_export(wawo_chunk *c)
    void wawo_chunk_hold(wawo_chunk *c)
    void wawo_chunk_drop(wawo_chunk *c)
