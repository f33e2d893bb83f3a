/* SPDX-License-Identifier: Apache-2.0
 *
 * Sets the wall clock of one process LAB_CLOCK_OFFSET seconds ahead, loaded
 * with LD_PRELOAD. Only what tells the date is wrong: timers and waits go by
 * the monotonic clock, which is nobody's date. (libfaketime changes both, and
 * then Python's sleep() fails or its locks wait for ever.)
 */

#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NANO 1000000000LL

static long long offset;

__attribute__((constructor)) static void read_offset(void)
{
    const char *text = getenv("LAB_CLOCK_OFFSET");

    offset = text ? (long long)(atof(text) * NANO) : 0;
}

int clock_gettime(clockid_t id, struct timespec *now)
{
    long long nanoseconds;
    int result = syscall(SYS_clock_gettime, id, now);

    if (result || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE))
        return result;
    nanoseconds = now->tv_sec * NANO + now->tv_nsec + offset;
    now->tv_sec = nanoseconds / NANO;
    now->tv_nsec = nanoseconds % NANO;
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec exact;

    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &exact))
        return -1;
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now)
{
    struct timespec exact;

    clock_gettime(CLOCK_REALTIME, &exact);
    if (now)
        *now = exact.tv_sec;
    return exact.tv_sec;
}
