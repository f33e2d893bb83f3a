/* SPDX-License-Identifier: Apache-2.0
 *
 * Sets the wall clock of one process LAB_CLOCK_OFFSET seconds ahead, loaded
 * with LD_PRELOAD. Only what tells the date is wrong: timers and waits go by
 * the monotonic clock, which is nobody's date. (libfaketime changes both, and
 * then Python's sleep() fails or its locks wait for ever.)
 *
 * LAB_CLOCK_FILE names a file with as many nanoseconds more, as eight bytes:
 * whoever writes it has the clock of a running process jump.
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NANO 1000000000LL

static long long offset;
static const long long none;
static const volatile long long *jump = &none;

__attribute__((constructor)) static void read_offset(void)
{
    const char *text = getenv("LAB_CLOCK_OFFSET");

    const char *path = getenv("LAB_CLOCK_FILE");
    void *page;
    int file;

    offset = text ? (long long)(atof(text) * NANO) : 0;
    file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    page = mmap(NULL, sizeof(*jump), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (page != MAP_FAILED)
        jump = page;
}

int clock_gettime(clockid_t id, struct timespec *now)
{
    long long nanoseconds;
    int result = syscall(SYS_clock_gettime, id, now);

    if (result || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE))
        return result;
    nanoseconds = now->tv_sec * NANO + now->tv_nsec + offset + *jump;
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
