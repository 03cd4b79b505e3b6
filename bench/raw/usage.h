/* What a process has used: the scheduler's own counts, read at both ends of a window. */
#ifndef BENCH_USAGE_H
#define BENCH_USAGE_H

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "latency.h"

static inline uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;

    if (clock_gettime(clock, &t) != 0)
        return 0;
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline uint64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

/* CPU time is the scheduler's own sum over all threads, ended ones too: what schedstat shows, in one call. */
static inline uint64_t cpu_ns(pid_t pid)
{
    clockid_t clock;

    if (pid == 0 || clock_getcpuclockid(pid, &clock) != 0)
        return 0;
    return clock_ns(clock);
}

/* How long its threads were ready to run and did not: somebody else had the core. */
static inline uint64_t waited_ns(pid_t pid)
{
    char path[64 + sizeof(((struct dirent *)0)->d_name)];
    unsigned long long ran, waited, sum = 0;
    struct dirent *entry;
    DIR *tasks;

    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    tasks = opendir(path);
    if (tasks == NULL)
        return 0;
    while ((entry = readdir(tasks)) != NULL) {
        FILE *file;

        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", (int)pid, entry->d_name);
        file = entry->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (file == NULL)
            continue;
        if (fscanf(file, "%llu %llu", &ran, &waited) == 2)
            sum += waited;
        fclose(file);
    }
    closedir(tasks);
    return sum;
}

struct usage {
    uint64_t at, count, server_cpu, load_cpu, server_waited, load_waited; /* times in ns */
};

/* `count` is what was done so far; `server` may be 0: then nothing is known of it. */
static inline struct usage usage_now(pid_t server, uint64_t count)
{
    return (struct usage){
        .at = now_ns(),
        .count = count,
        .server_cpu = cpu_ns(server),
        .load_cpu = cpu_ns(getpid()),
        .server_waited = server == 0 ? 0 : waited_ns(server),
        .load_waited = waited_ns(getpid()),
    };
}

/* The members of the result that every load has; one count is so many messages. */
static inline void usage_report(const struct usage *begin, const struct usage *end, double messages,
                                const struct latency *latency)
{
    double wall = (double)(end->at - begin->at), cpu = (double)(end->server_cpu - begin->server_cpu);
    double count = (double)(end->count - begin->count) * messages;

    printf(", \"seconds\": %.4f, \"messages\": %.0f, \"per_second\": %.1f", wall / 1e9, count, count / wall * 1e9);
    printf(", \"load_busy\": %.4f, \"load_waited\": %.4f", (double)(end->load_cpu - begin->load_cpu) / wall,
           (double)(end->load_waited - begin->load_waited) / wall);
    printf(", \"server_busy\": %.4f, \"server_waited\": %.4f", cpu / wall,
           (double)(end->server_waited - begin->server_waited) / wall);
    if (cpu > 0 && count > 0)
        printf(", \"cpu_us\": %.5f", cpu / 1e3 / count);
    latency_report(latency);
}

#endif
