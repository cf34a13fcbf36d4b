#define _GNU_SOURCE 1 /* memfd_create, sched_getaffinity */

#include "base/host/host.h"

#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

static _Noreturn void out_of_memory(size_t size)
{
    fprintf(stderr, "gnomon: the host refuses %zu bytes of memory: %s\n", size, strerror(errno));
    abort();
}

uint64_t host_monotonic_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int64_t host_wall_seconds(void)
{
    return (int64_t)time(NULL);
}

unsigned host_processor_count(void)
{
    long count;
#ifdef __linux__
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        return (unsigned)CPU_COUNT(&set);
#endif
    count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (unsigned)count : 1;
}

void *host_reserve(size_t size, struct error *err)
{
    void *base = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (base == MAP_FAILED) {
        error_set(err, "cannot reserve %zu MiB of address space: %s", size >> 20, strerror(errno));
        return NULL;
    }
    return base;
}

/* A nameless file in memory, or -1 where the host has none. */
static int memory_file(size_t size)
{
#ifdef __linux__
    int fd = memfd_create("gnomon", MFD_CLOEXEC);

    if (fd >= 0 && ftruncate(fd, (off_t)size) != 0) {
        close(fd);
        return -1;
    }
    return fd;
#else
    (void)size;
    return -1;
#endif
}

bool host_commit(void *base, size_t offset, size_t size, struct error *err)
{
    uint8_t *at = (uint8_t *)base + offset;
    int fd = memory_file(size);
    void *got;

    if (fd >= 0) {
        got = mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, 0);
        close(fd);
        if (got != MAP_FAILED)
            return true;
        /* The old mapping may be gone: fall through and put another in its place. */
    }
    got = mmap(at, size, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
    if (got == MAP_FAILED)
        return error_set(err, "cannot allocate %zu MiB of memory: %s", size >> 20, strerror(errno));
    return true;
}

#ifdef __linux__
/* True if the pages are gone. Rounded up to whole host pages, which may be larger than the guest's,
 * the range would hold bytes of others: then nothing is done. */
static bool give_back(volatile uint8_t *base, size_t size)
{
    size_t mask = (size_t)sysconf(_SC_PAGESIZE) - 1;
    bool done;

    if (((uintptr_t)base & mask) != 0 || (size & mask) != 0 || size == 0)
        return false;
    *base = 1;
    done = madvise((void *)base, size, MADV_REMOVE) == 0;
    /* EINVAL: not a shared file mapping. Only a private one reads zero after DONTNEED. */
    if (!done && errno == EINVAL)
        done = madvise((void *)base, size, MADV_DONTNEED) == 0;
    return done && *base == 0; /* user-mode emulators say yes and do nothing */
}
#else
static bool give_back(volatile uint8_t *base, size_t size)
{
    (void)base;
    (void)size;
    return false;
}
#endif

void host_discard(void *base, size_t size)
{
    if (!give_back(base, size))
        memset(base, 0, size);
}

void host_release(void *base, size_t size)
{
    if (base != NULL)
        munmap(base, size);
}

void *host_alloc_lazy(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED)
        out_of_memory(size);
#ifdef MADV_NOHUGEPAGE
    madvise(memory, size, MADV_NOHUGEPAGE); /* sparse: one byte must not cost 2 MiB */
#endif
    return memory;
}

void host_free_lazy(void *memory, size_t size)
{
    host_release(memory, size);
}

void *host_alloc(size_t size)
{
    void *memory = calloc(1, size > 0 ? size : 1);

    if (memory == NULL)
        out_of_memory(size);
    return memory;
}

/* Reads all of fd. The buffer has one byte more than the limit, to notice a file that is larger. */
static uint8_t *read_all(int fd, size_t limit, size_t *length, struct error *err)
{
    size_t size = 65536, used = 0;
    struct stat st;
    uint8_t *buffer;
    ssize_t n = 1;

    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size >= 0)
        size = (uint64_t)st.st_size < limit ? (size_t)st.st_size + 1 : limit + 1;
    buffer = malloc(size);
    while (buffer != NULL && n != 0 && used <= limit) {
        if (used == size) {
            uint8_t *larger = realloc(buffer, MIN(size * 2, limit + 1));
            size = MIN(size * 2, limit + 1);
            if (larger == NULL)
                free(buffer);
            buffer = larger;
            continue;
        }
        n = read(fd, buffer + used, size - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            error_set(err, "%s", strerror(errno));
            free(buffer);
            return NULL;
        }
        used += (size_t)n;
    }
    if (buffer == NULL) {
        error_set(err, "out of memory");
    } else if (used > limit) {
        error_set(err, "the file is larger than %zu bytes", limit);
        free(buffer);
        return NULL;
    }
    *length = used;
    return buffer;
}

void *host_read_file(const char *path, size_t limit, size_t *length, struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *bytes;

    if (fd < 0) {
        error_set(err, "cannot open '%s': %s", path, strerror(errno));
        return NULL;
    }
    CHECK(limit < SIZE_MAX / 2);
    bytes = read_all(fd, limit, length, err);
    close(fd);
    if (bytes == NULL)
        error_prefix(err, "cannot read '%s'", path);
    return bytes;
}
