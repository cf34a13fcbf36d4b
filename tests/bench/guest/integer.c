/* Integer work and branches. */
#include "bench.h"

#include <stdlib.h>

/* Hashing: shifts, multiplications and loads, one long loop. A unit is 64 KiB. */
static uint64_t run_hash(uint64_t units)
{
    uint64_t bytes = 64 << 10, sum = 14695981039346656037ull;
    uint32_t *words = map_pages(bytes);

    for (uint64_t n = 0; n < bytes / 4; n++)
        words[n] = (uint32_t)(n * 2654435761u);
    for (uint64_t u = 0; u < units; u++) {
        for (uint64_t n = 0; n < bytes / 4; n++) {
            sum ^= words[n];
            sum = (sum << 31 | sum >> 33) * 1099511628211ull;
        }
    }
    unmap_pages(words, bytes);
    return sum;
}

static void quick_sort(uint32_t *v, long low, long high)
{
    while (low < high) {
        uint32_t pivot = v[(low + high) / 2];
        long i = low, j = high;

        while (i <= j) {
            while (v[i] < pivot)
                i++;
            while (v[j] > pivot)
                j--;
            if (i <= j) {
                uint32_t t = v[i];

                v[i++] = v[j];
                v[j--] = t;
            }
        }
        if (j - low < high - i) {
            quick_sort(v, low, j);
            low = i;
        } else {
            quick_sort(v, i, high);
            high = j;
        }
    }
}

/* Sorting: branches that no predictor knows. A unit is an array of 20000 numbers. */
static uint64_t run_sort(uint64_t units)
{
    uint64_t count = 20000, state = 1, sum = 0;
    uint32_t *v = map_pages(count * sizeof(*v));

    for (uint64_t u = 0; u < units; u++) {
        for (uint64_t n = 0; n < count; n++)
            v[n] = (uint32_t)next_random(&state);
        quick_sort(v, 0, (long)count - 1);
        sum = mix(sum, v[count / 2]);
    }
    unmap_pages(v, count * sizeof(*v));
    return sum;
}

/* CRC-32 by table, a byte at a time. A unit is 64 KiB. */
static uint64_t run_crc(uint64_t units)
{
    uint64_t bytes = 64 << 10;
    uint8_t *data = map_pages(bytes);
    uint32_t table[256], crc = ~0u;

    for (uint32_t n = 0; n < 256; n++) {
        uint32_t c = n;

        for (unsigned bit = 0; bit < 8; bit++)
            c = c & 1 ? c >> 1 ^ 0xedb88320 : c >> 1;
        table[n] = c;
    }
    for (uint64_t n = 0; n < bytes; n++)
        data[n] = (uint8_t)(n * n >> 3);
    for (uint64_t u = 0; u < units; u++)
        for (uint64_t n = 0; n < bytes; n++)
            crc = crc >> 8 ^ table[(crc ^ data[n]) & 255];
    unmap_pages(data, bytes);
    return crc;
}

/* Modular powers: 64-bit multiplications and divisions. A unit is one power. */
static uint64_t run_muldiv(uint64_t units)
{
    uint64_t state = 7, sum = 0;

    for (uint64_t u = 0; u < units; u++) {
        uint64_t modulus = next_random(&state) >> 32 | 1, power = next_random(&state) >> 32;
        uint64_t base = next_random(&state) % modulus, r = 1;

        for (; power > 0; power >>= 1) {
            if (power & 1)
                r = r * base % modulus;
            base = base * base % modulus;
        }
        sum = mix(sum, r);
    }
    return sum;
}

enum bytecode { BC_ADD, BC_XOR, BC_SHIFT, BC_SWAP, BC_LOAD, BC_STORE, BC_MUL, BC_LOOP, BC_COUNT };

/* A bytecode interpreter: indirect jumps. A unit is one pass through the code. */
static uint64_t run_bytecode(uint64_t units)
{
    uint8_t code[1024];
    uint64_t memory[64] = {0}, a = 1, b = 2, state = 3;

    for (unsigned n = 0; n < sizeof(code); n++)
        code[n] = (uint8_t)(next_random(&state) % BC_LOOP);
    code[sizeof(code) - 1] = BC_LOOP;
    for (uint64_t u = 0, at = 0; u < units;) {
        uint64_t t;

        switch (code[at++]) {
        case BC_ADD:
            a += b;
            break;
        case BC_XOR:
            a ^= b >> 3;
            break;
        case BC_SHIFT:
            a = a << 7 | a >> 57;
            break;
        case BC_SWAP:
            t = a;
            a = b;
            b = t;
            break;
        case BC_LOAD:
            b ^= memory[a & 63];
            break;
        case BC_STORE:
            memory[b & 63] = a;
            break;
        case BC_MUL:
            a = a * 6364136223846793005ull + at;
            break;
        default:
            at = 0;
            u++;
            break;
        }
    }
    return mix(a, b);
}

static uint64_t __attribute__((noinline)) fibonacci(uint64_t n)
{
    uint64_t r;

    if (n < 2)
        return n;
    r = fibonacci(n - 1);
    __asm__ volatile("" : "+r"(r)); /* keeps the compiler from unrolling the recursion */
    return r + fibonacci(n - 2);
}

/* Recursion: calls and returns. A unit is fibonacci(20). */
static uint64_t run_calls(uint64_t units)
{
    uint64_t sum = 0;

    for (uint64_t u = 0; u < units; u++)
        sum = mix(sum, fibonacci(20));
    return sum;
}

/* A byte at a time decides between five ways. A unit is 4096 decisions. */
static uint64_t run_branches(uint64_t units)
{
    uint64_t a = 0, b = 0, c = 0, state = 11;

    for (uint64_t u = 0; u < units; u++) {
        for (unsigned n = 0; n < 512; n++) {
            uint64_t r = next_random(&state);

            for (unsigned byte = 0; byte < 8; byte++, r >>= 8) {
                unsigned v = r & 255;

                if (v < 30)
                    a += v;
                else if (v & 1)
                    b ^= a + v;
                else if (v > 180)
                    c += b | 1;
                else if (v == 100)
                    a ^= c;
                else
                    b++;
            }
        }
    }
    return mix(mix(a, b), c);
}

static uint64_t visit_a(uint64_t v)
{
    return v * 3 + 1;
}

static uint64_t visit_b(uint64_t v)
{
    return v ^ v >> 5;
}

static uint64_t visit_c(uint64_t v)
{
    return v + 0x9e37;
}

/* Calls through a table of functions. A unit is 1024 calls. */
static uint64_t run_indirect(uint64_t units)
{
    static uint64_t (*volatile const visitors[4])(uint64_t) = {visit_a, visit_b, visit_c, visit_b};
    uint64_t v = 1;

    for (uint64_t u = 0; u < units; u++)
        for (unsigned n = 0; n < 1024; n++)
            v = visitors[(v >> 7 ^ n) & 3](v);
    return v;
}

const struct program integer_programs[] = {
    {"hash", "integer", 1500, run_hash},
    {"sort", "integer", 35, run_sort},
    {"crc", "integer", 250, run_crc},
    {"muldiv", "integer", 250000, run_muldiv},
    {"bytecode", "integer", 20000, run_bytecode},
    {"branches", "branches", 2000, run_branches},
    {"calls", "branches", 2500, run_calls},
    {"indirect", "branches", 20000, run_indirect},
    {0},
};
