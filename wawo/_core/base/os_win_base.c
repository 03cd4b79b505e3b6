/* F0 os for Windows: errors, time, random bytes, memory maps, libraries, threads. */
#include "os_win.h"

#include "alloc.h"
#include "atomic.h"
#include "os.h"

#include <bcrypt.h>
#include <process.h>
#include <stdlib.h>

_Static_assert(sizeof(struct wawo_mutex) == sizeof(SRWLOCK), "a mutex is a slim lock");
_Static_assert(sizeof(struct wawo_cond) == sizeof(CONDITION_VARIABLE), "a condition is a condition variable");

/* ---- errors ---- */

const char *wawo_os_error_text(int error)
{
    static WAWO_THREAD_LOCAL char text[256];
    wchar_t wide[160];
    DWORD n;

    if (error < WSABASEERR) {
#if defined(_MSC_VER)
        (void)strerror_s(text, sizeof text, error);
        return text;
#else
        return strerror(error);
#endif
    }
    n = FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS | FORMAT_MESSAGE_MAX_WIDTH_MASK, NULL,
                       (DWORD)error, 0, wide, sizeof wide / sizeof *wide, NULL);
    while (n > 0 && (wide[n - 1] == L' ' || wide[n - 1] == L'.')) /* a sentence, as POSIX has none */
        n--;
    n = (DWORD)WideCharToMultiByte(CP_UTF8, 0, wide, (int)n, text, sizeof text - 1, NULL, NULL);
    text[n] = '\0';
    return n > 0 ? text : "unknown error";
}

/* ---- time ---- */

int64_t wawo_os_now_ns(void)
{
    static wawo_i64 frequency; /* atomic; the same whoever writes it */
    int64_t per_second = wawo_load_relaxed(&frequency);
    LARGE_INTEGER count;

    if (wawo_unlikely(per_second == 0)) {
        (void)QueryPerformanceFrequency(&count);
        per_second = count.QuadPart;
        wawo_store_relaxed(&frequency, per_second);
    }
    (void)QueryPerformanceCounter(&count);
    return count.QuadPart / per_second * WAWO_SEC + count.QuadPart % per_second * WAWO_SEC / per_second;
}

int64_t wawo_os_now_coarse_ns(void)
{
    return wawo_os_now_ns(); /* the tick count costs a fourth of it, but is another clock */
}

/* ---- random bytes ---- */

int wawo_os_random(void *p, size_t len)
{
    return BCryptGenRandom(NULL, p, (ULONG)len, BCRYPT_USE_SYSTEM_PREFERRED_RNG) >= 0 ? 0 : WAWO_EIO;
}

/* ---- memory maps ---- */

void *wawo_os_map(size_t size)
{
    return wawo_alloc_fault() ? NULL : VirtualAlloc(NULL, size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}

void wawo_os_unmap(void *p, size_t size)
{
    (void)size;
    (void)VirtualFree(p, 0, MEM_RELEASE);
}

/* ---- libraries ---- */

void *wawo_os_library(const char *path)
{
    wchar_t wide[1024];
    HMODULE library = NULL;

    if (MultiByteToWideChar(CP_UTF8, 0, path, -1, wide, sizeof wide / sizeof *wide) > 0)
        (void)GetModuleHandleExW(0, wide, &library);
    return library;
}

/* The library that an import was bound to: there lies the first of the addresses that the loader has found. By its name
 * another one could be met, for two of a name may be loaded. */
static HMODULE bound_to(const uint8_t *base, const IMAGE_IMPORT_DESCRIPTOR *import)
{
    const IMAGE_THUNK_DATA *first = (const void *)(base + import->FirstThunk);
    const DWORD how = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT;
    HMODULE library = NULL;

    (void)GetModuleHandleExW(how, (const wchar_t *)(uintptr_t)first->u1.Function, &library);
    return library;
}

wawo_os_function wawo_os_library_function(void *library, const char *name)
{
    const uint8_t *base = library; /* GetProcAddress looks no further than there: hence all that it imports from */
    const IMAGE_DOS_HEADER *head = library;
    const IMAGE_NT_HEADERS *headers = (const void *)(base + head->e_lfanew);
    const IMAGE_DATA_DIRECTORY *imports = &headers->OptionalHeader.DataDirectory[IMAGE_DIRECTORY_ENTRY_IMPORT];
    const IMAGE_IMPORT_DESCRIPTOR *import = (const void *)(base + imports->VirtualAddress);
    FARPROC found = GetProcAddress(library, name);
    HMODULE other;

    for (; found == NULL && imports->Size > 0 && import->FirstThunk != 0; import++) {
        other = bound_to(base, import);
        if (other != NULL)
            found = GetProcAddress(other, name);
    }
    return (wawo_os_function)found;
}

/* ---- threads ---- */

static SRWLOCK *srw(struct wawo_mutex *m)
{
    return (SRWLOCK *)(void *)m;
}

static CONDITION_VARIABLE *cv(struct wawo_cond *c)
{
    return (CONDITION_VARIABLE *)(void *)c;
}

void wawo_mutex_init(struct wawo_mutex *m)
{
    InitializeSRWLock(srw(m));
}

void wawo_mutex_fini(struct wawo_mutex *m)
{
    (void)m;
}

void wawo_mutex_lock(struct wawo_mutex *m)
{
    AcquireSRWLockExclusive(srw(m));
}

void wawo_mutex_unlock(struct wawo_mutex *m)
{
    ReleaseSRWLockExclusive(srw(m));
}

void wawo_cond_init(struct wawo_cond *c)
{
    InitializeConditionVariable(cv(c));
}

void wawo_cond_fini(struct wawo_cond *c)
{
    (void)c;
}

void wawo_cond_signal(struct wawo_cond *c)
{
    WakeConditionVariable(cv(c));
}

void wawo_cond_broadcast(struct wawo_cond *c)
{
    WakeAllConditionVariable(cv(c));
}

void wawo_cond_wait(struct wawo_cond *c, struct wawo_mutex *m)
{
    (void)SleepConditionVariableSRW(cv(c), srw(m), INFINITE, 0);
}

bool wawo_cond_wait_for(struct wawo_cond *c, struct wawo_mutex *m, int64_t timeout_ns)
{
    int64_t ms = timeout_ns > 0 ? (timeout_ns + WAWO_MSEC - 1) / WAWO_MSEC : 0;

    return SleepConditionVariableSRW(cv(c), srw(m), ms < INT_MAX ? (DWORD)ms : INT_MAX, 0) != 0;
}

struct start {
    void (*main)(void *arg);
    void *arg;
    wchar_t name[16];
};

/* Windows 10; a debugger shows it. */
static void name_thread(const wchar_t *name)
{
    typedef HRESULT(WINAPI * describe_fn)(HANDLE thread, const wchar_t *name);
    FARPROC found = GetProcAddress(GetModuleHandleW(L"kernelbase.dll"), "SetThreadDescription");
    describe_fn describe;

    if (found == NULL)
        return;
    memcpy(&describe, &found, sizeof describe);
    (void)describe(GetCurrentThread(), name);
}

static unsigned __stdcall thread_entry(void *p)
{
    struct start s = *(struct start *)p;

    wawo_free(p);
    name_thread(s.name);
    s.main(s.arg);
    return 0;
}

int wawo_thread_start(struct wawo_thread *t, const char *name, void (*main)(void *arg), void *arg)
{
    struct start *s = wawo_alloc(sizeof *s);
    size_t i;

    if (s == NULL)
        return WAWO_ENOMEM;
    s->main = main;
    s->arg = arg;
    for (i = 0; i < sizeof s->name / sizeof *s->name - 1 && name[i] != '\0'; i++)
        s->name[i] = (wchar_t)(unsigned char)name[i];
    s->name[i] = L'\0';
    t->handle = (void *)_beginthreadex(NULL, 0, thread_entry, s, 0, NULL);
    if (t->handle != NULL)
        return 0;
    wawo_free(s);
    return WAWO_ENOMEM; /* no room for a thread: never "would block" */
}

void wawo_thread_join(struct wawo_thread *t)
{
    (void)WaitForSingleObject(t->handle, INFINITE);
    (void)CloseHandle(t->handle);
}

void wawo_thread_detach(struct wawo_thread *t)
{
    (void)CloseHandle(t->handle);
}

void wawo_thread_yield(void)
{
    (void)SwitchToThread();
}
