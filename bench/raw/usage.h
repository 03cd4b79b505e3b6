/* What a process has used: the scheduler's own counts, read at both ends of a window. */
#ifndef BENCH_USAGE_H
#define BENCH_USAGE_H

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <time.h>

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

#endif
