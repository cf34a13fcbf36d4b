/* What asks the kernel: system calls, pipes, signals, page faults. */
#include "bench.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096ull

/* The cheapest call there is. A unit is 1000. */
static uint64_t run_syscall(uint64_t units)
{
    uint64_t sum = 0;

    for (uint64_t u = 0; u < units; u++)
        for (unsigned n = 0; n < 1000; n++)
            sum += (uint64_t)(syscall(SYS_getppid) >= 0);
    return sum;
}

/* 4 KiB into a pipe and out of it again. A unit is 100 round trips. */
static uint64_t run_pipe(uint64_t units)
{
    uint64_t sum = 0;
    char buffer[4096];
    int p[2];

    need(pipe(p) == 0, "pipe");
    memset(buffer, 1, sizeof(buffer));
    for (uint64_t u = 0; u < units; u++) {
        for (unsigned n = 0; n < 100; n++) {
            buffer[n] = (char)u;
            need(write(p[1], buffer, sizeof(buffer)) == sizeof(buffer), "write to a pipe");
            need(read(p[0], buffer, sizeof(buffer)) == sizeof(buffer), "read from a pipe");
            sum += (uint64_t)(uint8_t)buffer[n];
        }
    }
    close(p[0]);
    close(p[1]);
    return sum;
}

static volatile sig_atomic_t signals;

static void on_signal(int number)
{
    (void)number;
    signals++;
}

/* A signal to oneself. A unit is 100. */
static uint64_t run_signal(uint64_t units)
{
    struct sigaction action = {.sa_handler = on_signal};

    signals = 0;
    need(sigaction(SIGUSR1, &action, NULL) == 0, "sigaction");
    for (uint64_t u = 0; u < units; u++)
        for (unsigned n = 0; n < 100; n++)
            kill(getpid(), SIGUSR1);
    return (uint64_t)signals;
}

/* New pages: map 1 MiB, touch every page, unmap. A unit is one such round. */
static uint64_t run_fault(uint64_t units)
{
    uint64_t bytes = 256 * PAGE, sum = 0;

    for (uint64_t u = 0; u < units; u++) {
        uint8_t *pages = map_pages(bytes);

        for (uint64_t n = 0; n < bytes; n += PAGE) {
            sum += pages[n];
            pages[n] = 1;
        }
        unmap_pages(pages, bytes);
    }
    return sum + units;
}

/* Rights taken away and given back, with a write in between. A unit is 100 rounds on 8 pages. */
static uint64_t run_protect(uint64_t units)
{
    uint64_t bytes = 8 * PAGE, sum;
    uint8_t *pages = map_pages(bytes);

    for (uint64_t u = 0; u < units; u++) {
        for (unsigned n = 0; n < 100; n++) {
            pages[n % 8 * PAGE]++;
            need(mprotect(pages, bytes, PROT_READ) == 0, "mprotect");
            need(mprotect(pages, bytes, PROT_READ | PROT_WRITE) == 0, "mprotect");
        }
    }
    sum = pages[0];
    unmap_pages(pages, bytes);
    return sum;
}

static uint8_t *guarded;

static void on_fault(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    (void)context;
    mprotect(guarded, PAGE, PROT_READ | PROT_WRITE);
    signals++;
}

/* Write barriers as garbage collectors have them: a page is protected, a store faults, a handler
 * opens the page. A unit is 10. */
static uint64_t run_barrier(uint64_t units)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO}, old;

    guarded = map_pages(PAGE);
    signals = 0;
    need(sigaction(SIGSEGV, &action, &old) == 0, "sigaction");
    for (uint64_t u = 0; u < units * 10; u++) {
        mprotect(guarded, PAGE, PROT_READ);
        *(volatile uint8_t *)guarded = (uint8_t)u;
    }
    sigaction(SIGSEGV, &old, NULL);
    unmap_pages(guarded, PAGE);
    return (uint64_t)signals;
}

const struct program system_programs[] = {
    {"syscall", "syscalls", 250, run_syscall},
    {"pipe", "syscalls", 600, run_pipe},
    {"signal", "syscalls", 150, run_signal},
    {"fault", "faults", 80, run_fault},
    {"protect", "faults", 120, run_protect},
    {"barrier", "faults", 800, run_barrier},
    {0},
};
