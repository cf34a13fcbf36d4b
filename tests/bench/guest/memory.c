/* Memory: latency, bandwidth, and code that is written while it runs. */
#include "bench.h"

#include <string.h>
#include <sys/mman.h>

#define MIB ((uint64_t)1 << 20)

/* A chain of pointers through 48 MiB, in an order that no prefetcher knows: each step misses the
 * TLB. A unit is 1000 steps. */
static uint64_t run_chase(uint64_t units)
{
    uint64_t bytes = 48 * MIB, lines = bytes / 64, at = 0;
    uint64_t *memory = map_pages(bytes);

    /* A linear congruential generator of full period: one ring through all lines. */
    for (uint64_t n = 0; n < lines; n++)
        memory[n * 8] = (n * 2654435761u + 12347) % lines * 8;
    for (uint64_t u = 0; u < units; u++)
        for (unsigned n = 0; n < 1000; n++)
            at = memory[at];
    unmap_pages(memory, bytes);
    return at;
}

/* Blocks of 4 MiB copied by the string instruction. A unit is 1 MiB. */
static uint64_t run_copy_string(uint64_t units)
{
    uint64_t bytes = 4 * MIB;
    uint8_t *from = map_pages(bytes), *to = map_pages(bytes);
    uint64_t sum;

    for (uint64_t n = 0; n < bytes; n += 64)
        from[n] = (uint8_t)(n >> 6);
    for (uint64_t u = 0; u < units; u++) {
        uint8_t *d = to + u % 4 * MIB, *s = from + (u + 1) % 4 * MIB;
        uint64_t count = MIB;

        __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(count) : : "memory");
    }
    sum = mix(to[64], to[bytes - 64]);
    unmap_pages(from, bytes);
    unmap_pages(to, bytes);
    return sum;
}

/* The same by SSE loads and stores. */
static uint64_t run_copy_sse(uint64_t units)
{
    uint64_t bytes = 4 * MIB;
    uint8_t *from = map_pages(bytes), *to = map_pages(bytes);
    uint64_t sum;

    for (uint64_t n = 0; n < bytes; n += 64)
        from[n] = (uint8_t)(n >> 6);
    for (uint64_t u = 0; u < units; u++) {
        uint8_t *d = to + u % 4 * MIB, *s = from + (u + 1) % 4 * MIB;

        for (uint64_t n = 0; n < MIB; n += 64) {
            __asm__ volatile("movdqu (%0), %%xmm0\n\tmovdqu 16(%0), %%xmm1\n\t"
                             "movdqu 32(%0), %%xmm2\n\tmovdqu 48(%0), %%xmm3\n\t"
                             "movups %%xmm0, (%1)\n\tmovups %%xmm1, 16(%1)\n\t"
                             "movups %%xmm2, 32(%1)\n\tmovups %%xmm3, 48(%1)"
                             :
                             : "r"(s + n), "r"(d + n)
                             : "xmm0", "xmm1", "xmm2", "xmm3", "memory");
        }
    }
    sum = mix(to[64], to[bytes - 64]);
    unmap_pages(from, bytes);
    unmap_pages(to, bytes);
    return sum;
}

/* Three streams of words: a[n] = b[n] + 3 * c[n]. A unit is 512 KiB each. */
static uint64_t run_stream(uint64_t units)
{
    uint64_t count = 64 << 10, sum;
    uint64_t *a = map_pages(count * 8), *b = map_pages(count * 8), *c = map_pages(count * 8);

    for (uint64_t n = 0; n < count; n++) {
        b[n] = n;
        c[n] = n * n;
    }
    for (uint64_t u = 0; u < units; u++) {
        for (uint64_t n = 0; n < count; n++) {
            uint64_t v = b[n] + 3 * c[n];

            __asm__ volatile("" : "+r"(v)); /* no vectors here */
            a[n] = v + u;
        }
    }
    sum = mix(a[1], a[count - 1]);
    unmap_pages(a, count * 8);
    unmap_pages(b, count * 8);
    unmap_pages(c, count * 8);
    return sum;
}

/* A translator at work: writes a small function, calls it, rewrites it. A unit is one function. */
static uint64_t run_rewrite(uint64_t units)
{
    uint8_t *code =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    /* lea rax, [rdi + imm32]; ret */
    static const uint8_t body[] = {0x48, 0x8d, 0x87, 0, 0, 0, 0, 0xc3};
    uint64_t v = 0;

    need(code != MAP_FAILED, "mmap of code");
    for (uint64_t u = 0; u < units; u++) {
        uint8_t *at = code + u % 16 * 64;
        uint32_t imm = (uint32_t)u & 0xffff;
        uint64_t (*function)(uint64_t) = (uint64_t(*)(uint64_t))(uintptr_t)at;

        memcpy(at, body, sizeof(body));
        memcpy(at + 3, &imm, 4);
        __asm__ volatile("" : : : "memory");
        for (unsigned n = 0; n < 20; n++)
            v = function(v);
    }
    unmap_pages(code, 4096);
    return v;
}

const struct program memory_programs[] = {
    {"chase", "memory", 500, run_chase},        {"copy_string", "memory", 1000, run_copy_string},
    {"copy_sse", "memory", 1000, run_copy_sse}, {"stream", "memory", 1000, run_stream},
    {"rewrite", "memory", 250000, run_rewrite}, {0},
};
