/* Floating point and vectors: scalar SSE2, packed SSE2, integer vectors, x87. Every operation is
 * exact or correctly rounded, so that checksums agree. */
#include "bench.h"

#include <emmintrin.h>
#include <math.h>
#include <string.h>

static uint64_t bits_of(double v)
{
    uint64_t u;

    memcpy(&u, &v, 8);
    return u;
}

struct body {
    double x, y, z, vx, vy, vz, mass;
};

static void advance(struct body *b, unsigned count, double step)
{
    for (unsigned i = 0; i < count; i++) {
        for (unsigned j = i + 1; j < count; j++) {
            double dx = b[i].x - b[j].x, dy = b[i].y - b[j].y, dz = b[i].z - b[j].z;
            double square = dx * dx + dy * dy + dz * dz;
            double pull = step / (square * __builtin_sqrt(square));

            b[i].vx -= dx * b[j].mass * pull;
            b[i].vy -= dy * b[j].mass * pull;
            b[i].vz -= dz * b[j].mass * pull;
            b[j].vx += dx * b[i].mass * pull;
            b[j].vy += dy * b[i].mass * pull;
            b[j].vz += dz * b[i].mass * pull;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        b[i].x += step * b[i].vx;
        b[i].y += step * b[i].vy;
        b[i].z += step * b[i].vz;
    }
}

/* Five bodies and their gravity: scalar double. A unit is 100 steps. */
static uint64_t run_bodies(uint64_t units)
{
    struct body b[5] = {
        {0, 0, 0, 0, 0, 0, 40},
        {5, -1, -0.1, 0.6, 2.8, -0.02, 0.04},
        {8, 4, -0.4, -1.0, 1.8, 0.01, 0.01},
        {13, -15, -0.2, 1.1, 0.9, -0.01, 0.002},
        {15, -26, 0.2, 1.0, 0.6, -0.03, 0.002},
    };

    for (uint64_t u = 0; u < units; u++)
        for (unsigned n = 0; n < 100; n++)
            advance(b, 5, 0.001);
    return mix(bits_of(b[0].x), bits_of(b[4].vz));
}

/* Product of two matrices of 64 by 64 floats, four columns at a time. A unit is one product. */
static uint64_t run_matrix(uint64_t units)
{
    static float a[64][64], b[64][64], c[64][64];
    uint64_t sum = 0;

    for (unsigned y = 0; y < 64; y++) {
        for (unsigned x = 0; x < 64; x++) {
            a[y][x] = (float)((x * 7 + y * 3) % 13) / 8;
            b[y][x] = (float)((x * 5 + y * 11) % 17) / 16;
        }
    }
    for (uint64_t u = 0; u < units; u++) {
        for (unsigned y = 0; y < 64; y++) {
            for (unsigned x = 0; x < 64; x += 4) {
                __m128 r = _mm_setzero_ps();

                for (unsigned k = 0; k < 64; k++)
                    r = _mm_add_ps(r, _mm_mul_ps(_mm_set1_ps(a[y][k]), _mm_loadu_ps(&b[k][x])));
                _mm_storeu_ps(&c[y][x], r);
            }
        }
        a[u % 64][3] = c[5][u % 64] / 64;
    }
    for (unsigned n = 0; n < 64; n++)
        sum = mix(sum, bits_of((double)c[n][n]));
    return sum;
}

/* Sums of absolute differences, products of words, shuffles: integer vectors. A unit is 16 KiB. */
static uint64_t run_vector_integer(uint64_t units)
{
    uint64_t bytes = 16 << 10, out[2];
    uint8_t *data = map_pages(bytes);
    __m128i sum = _mm_setzero_si128(), old = _mm_set1_epi16(77);

    for (uint64_t n = 0; n < bytes; n++)
        data[n] = (uint8_t)(n * 31 + (n >> 8));
    for (uint64_t u = 0; u < units; u++) {
        for (uint64_t n = 0; n < bytes; n += 16) {
            __m128i v = _mm_loadu_si128((const __m128i *)(data + n));

            sum = _mm_add_epi64(sum, _mm_sad_epu8(v, old));
            sum = _mm_xor_si128(sum, _mm_madd_epi16(v, old));
            old = _mm_unpacklo_epi8(_mm_shuffle_epi32(v, 0x1b), _mm_srli_epi16(old, 3));
        }
    }
    _mm_storeu_si128((__m128i *)out, sum);
    unmap_pages(data, bytes);
    return mix(out[0], out[1]);
}

/* The Mandelbrot set in 80-bit arithmetic. A unit is a row of 64 points. */
static uint64_t run_x87(uint64_t units)
{
    uint64_t sum = 0;

    for (uint64_t u = 0; u < units; u++) {
        long double ci = (long double)(u % 64) / 32 - 1;

        for (unsigned x = 0; x < 64; x++) {
            long double cr = (long double)x / 24 - 2, zr = 0, zi = 0;
            unsigned n = 0;

            for (; n < 100 && zr * zr + zi * zi < 4; n++) {
                long double t = zr * zr - zi * zi + cr;

                zi = 2 * zr * zi + ci;
                zr = t;
            }
            sum += n;
        }
    }
    return sum;
}

/* x87 functions: square roots, sines, arc tangents, logarithms. Their last bits are the host's or
 * the emulator's own, so the checksum has only the leading ones. A unit is 100 of each. */
static uint64_t run_x87_functions(uint64_t units)
{
    long double sum = 0;

    for (uint64_t u = 0; u < units; u++) {
        for (unsigned n = 1; n <= 100; n++) {
            long double v = (long double)n / 64, r;

            __asm__("fsqrt\n\tfsin" : "=t"(r) : "0"(v));
            sum += r;
            __asm__("fld1\n\tfpatan" : "=t"(r) : "0"(v));
            sum += r;
            __asm__("fld1\n\tfxch\n\tfyl2x" : "=t"(r) : "0"(v));
            sum += r;
        }
    }
    return (uint64_t)(sum / (long double)units * 1000000);
}

const struct program float_programs[] = {
    {"bodies", "sse", 3000, run_bodies},
    {"matrix", "sse", 900, run_matrix},
    {"vector_integer", "sse", 40000, run_vector_integer},
    {"x87", "x87", 2500, run_x87},
    {"x87_functions", "x87", 2500, run_x87_functions},
    {0},
};
