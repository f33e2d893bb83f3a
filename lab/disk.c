/* SPDX-License-Identifier: Apache-2.0
 *
 * The disks of a host's guests are full while a file is there: loaded into
 * QEMU with LD_PRELOAD, which libvirt hands on. QEMU pauses a guest whose
 * disk has no space left, unless it was told otherwise.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define FULL "/run/lab-disk-full"

static int is_full(void)
{
    return !strncmp(program_invocation_short_name, "qemu-system", 11) &&
           !access(FULL, F_OK);
}

#define REFUSE \
    if (is_full()) { \
        errno = ENOSPC; \
        return -1; \
    }

ssize_t pwrite64(int file, const void *from, size_t size, off64_t at)
{
    static ssize_t (*real)(int, const void *, size_t, off64_t);

    REFUSE
    if (!real)
        real = dlsym(RTLD_NEXT, "pwrite64");
    return real(file, from, size, at);
}

ssize_t pwritev64(int file, const struct iovec *from, int count, off64_t at)
{
    static ssize_t (*real)(int, const struct iovec *, int, off64_t);

    REFUSE
    if (!real)
        real = dlsym(RTLD_NEXT, "pwritev64");
    return real(file, from, count, at);
}
