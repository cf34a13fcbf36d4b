/*
 * The decoder against the host's processor, over VEX and EVEX encodings of 64- and 32-bit code,
 * with every field of EVEX varied, those that have one legal value, too: whether it is an
 * instruction, and its length. A SIGTRAP handler puts the bytes into place and returns into them;
 * the single-step trap or the fault behind them brings the next signal. Usage: decode_host [-f] -f
 * all that decode visits, not a sample of it; so does GNOMON_FULL in the environment Features that
 * the host lacks are off in the decoder. What makers differ in is counted, see enum allowance.
 * Skipped on hosts without AVX-512.
 */
#include "decode_diff.h"

#include "base/check.h"
#include "cpu/cpuid.h"
#include "cpu/decode.h"
#include "cpu/mode.h"

#include <cpuid.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define EXIT_SKIPPED 77
#define BATCH        65536u
#define MAX_REPORTS  40

/* Of so many encodings one is asked for, unless all are. */
#define SAMPLE_DEFINED   16u
#define SAMPLE_UNDEFINED 64u

/* What registers hold: most addresses within 2 GiB of its multiples can be read, so that most
 * instructions run to their end. Sanitizers leave it alone. */
#define BASE_VALUE   0x110000000000ull
#define WINDOW       0x80000000ull
#define WINDOW_COUNT 5
#define CODE_ADDRESS 0x10000000ull /* below 4 GiB, so that 32-bit code reaches it */

#define USER32_CS   0x23
#define USER64_CS   0x33
#define EFLAGS_TRAP 0x100

struct verdict {
    bool undefined;
    bool unknown;   /* ours: no row has the opcode with this prefix */
    uint8_t length; /* 0: it faulted, and nobody knows */
};

struct question {
    struct encoding e;
    struct verdict ours, theirs;
};

/* A test program, one thread: the handler needs a way to its state. */
static struct question questions[BATCH];
static unsigned question_count, next;
static bool running;
static uint8_t *code;
static struct vcpu cpu;
static uint64_t asked, lengths, reports;
static bool full;

/* ---- The host's ----------------------------------------------------------------------------- */

static void install(ucontext_t *u, const struct question *q)
{
    static const int registers[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                      REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                      REG_R12, REG_R13, REG_R14, REG_R15};
    greg_t *g = u->uc_mcontext.gregs;
    greg_t cs = q->e.mode == 64 ? USER64_CS : USER32_CS;

    for (unsigned n = 0; n < ARRAY_SIZE(registers); n++)
        g[registers[n]] = (greg_t)BASE_VALUE;
    memcpy(code, q->e.bytes, sizeof(q->e.bytes));
    g[REG_RIP] = (greg_t)code;
    g[REG_EFL] = (g[REG_EFL] & ~(greg_t)0xcd5) | EFLAGS_TRAP;
    g[REG_CSGSFS] = (g[REG_CSGSFS] & ~(greg_t)0xffff) | cs;
    u->uc_mcontext.fpregs->mxcsr = 0x1f80; /* VLDMXCSR changes it */
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    static ucontext_t home; /* where the batch began */
    ucontext_t *u = context;

    (void)info;
    if (running) {
        struct verdict *v = &questions[next++].theirs;

        v->undefined = number == SIGILL;
        v->length = number == SIGTRAP ? (uint8_t)(u->uc_mcontext.gregs[REG_RIP] - (greg_t)code) : 0;
    } else {
        memcpy(home.uc_mcontext.gregs, u->uc_mcontext.gregs, sizeof(home.uc_mcontext.gregs));
        running = true;
    }
    if (next < question_count) {
        install(u, &questions[next]);
        return;
    }
    running = false;
    memcpy(u->uc_mcontext.gregs, home.uc_mcontext.gregs, sizeof(home.uc_mcontext.gregs));
    u->uc_mcontext.fpregs->mxcsr = 0x1f80;
}

static void host_create(void)
{
    static const int signals[] = {SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    static char memory[256 * 1024];
    stack_t stack = {.ss_sp = memory, .ss_size = sizeof(memory)};

    CHECK(sigaltstack(&stack, NULL) == 0);
    for (unsigned n = 0; n < ARRAY_SIZE(signals); n++)
        CHECK(sigaction(signals[n], &action, NULL) == 0);
    for (uint64_t n = 1; n <= WINDOW_COUNT; n++) /* without one of them, fewer lengths are known */
        mmap((void *)(n * BASE_VALUE - WINDOW), 2 * WINDOW, PROT_READ,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    code = mmap((void *)CODE_ADDRESS, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (code == MAP_FAILED) {
        perror("decode_host: mmap");
        exit(1);
    }
}

/* ---- Ours ----------------------------------------------------------------------------------- */

static bool host_has(uint32_t leaf, uint32_t subleaf, unsigned reg, unsigned bit)
{
    uint32_t out[4];

    return __get_cpuid_count(leaf, subleaf, &out[0], &out[1], &out[2], &out[3]) &&
           (out[reg] >> bit & 1);
}

/* The features that both have. */
static void ours_create(void)
{
    enum { EAX, EBX, ECX, EDX };
    struct cpu_model model;
    struct error err;

    CHECK(cpu_model_parse("max", &model, &err));
    memcpy(cpu.features, model.features, sizeof(cpu.features));
#define X(name, word, leaf, subleaf, reg, bit)                                                     \
    if (FEATURE_##name != FEATURE_BASE && !host_has(leaf, subleaf, reg, bit))                      \
        cpu.features[FEATURE_##name / 64] &= ~(1ull << FEATURE_##name % 64);
    CPU_FEATURES(X)
#undef X
}

static struct verdict ours(const struct encoding *e)
{
    uint32_t mode = MODE_PROT | MODE_OSFXSR | MODE_OSXSAVE | MODE_AVX | MODE_AVX512 | MODE_FLAT |
                    (e->mode == 64 ? MODE_64 | MODE_LONG : MODE_CS32 | MODE_SS32);
    struct insn i;
    uint32_t attrs;

    if (decode_insn(&cpu, mode, e->bytes, sizeof(e->bytes), 0, &i, &attrs) != DECODE_OK)
        return (struct verdict){0};
    return (struct verdict){.undefined = i.op == op_ud || i.op == op_gap,
                            .unknown = i.op == op_gap,
                            .length = (uint8_t)i.ip_next};
}

/* ---- What is left to processors ------------------------------------------------------------- */

enum allowance {
    ALLOWED_NONE,
    ALLOWED_FEATURE, /* the host has a feature that the models lack: FP16, ... */
    ALLOWED_SAME,    /* gathers into their own index: op functions raise that #UD */
    ALLOWED_W,       /* VPEXTRQ, VPINSRQ outside 64-bit mode: AMD's are undefined */
    ALLOWED_VEX_W,   /* VPERMQ, VPERMPD, KMOVQ from and to general registers: AMD's ignore W */
    ALLOWED_OPMASK,  /* R and the high bit of vvvv: AMD's know no ninth opmask register */
    ALLOWED_V2,      /* V' outside 64-bit mode: AMD's ignore it */
    ALLOWED_B,       /* b where there is nothing to broadcast or round: AMD's ignore it */
    ALLOWED_Z,       /* z where aaa is 0: AMD's ignore it in instructions without opmask */
    ALLOWANCE_COUNT,
};

static const char *const allowance_names[ALLOWANCE_COUNT] = {
    [ALLOWED_NONE] = "differences",
    [ALLOWED_FEATURE] = "of the host only",
    [ALLOWED_SAME] = "gathers",
    [ALLOWED_W] = "W outside 64-bit mode",
    [ALLOWED_VEX_W] = "W of VPERMQ, KMOVQ",
    [ALLOWED_OPMASK] = "opmask numbers",
    [ALLOWED_V2] = "V'",
    [ALLOWED_B] = "b",
    [ALLOWED_Z] = "z",
};

/* The decoder does what Intel's manual says (SDM 2A 2.7.11, and each instruction's page); the
 * makers differ in bits that have no meaning. */
static enum allowance allowance(const struct question *q)
{
    const struct encoding *e = &q->e;
    const uint8_t *bytes = e->bytes;
    bool opmask = (e->map == MAP_VEX_0F && ((e->opcode >= 0x41 && e->opcode <= 0x4b) ||
                                            (e->opcode >= 0x90 && e->opcode <= 0x99))) ||
                  (e->map == MAP_VEX_0F3A && e->opcode >= 0x30 && e->opcode <= 0x33);

    if (q->theirs.undefined) {
        if ((e->map == MAP_VEX_0F38 || e->map == MAP_EVEX_0F38) && e->opcode >= 0x90 &&
            e->opcode <= 0x93)
            return ALLOWED_SAME;
        return e->map == MAP_VEX_0F3A && (e->opcode == 0x16 || e->opcode == 0x22) && e->mode != 64
                   ? ALLOWED_W
                   : ALLOWED_NONE;
    }
    if (!q->ours.undefined)
        return ALLOWED_NONE;
    if (q->ours.unknown)
        return ALLOWED_FEATURE;
    if ((e->map == MAP_VEX_0F3A && e->opcode <= 0x01) ||
        (opmask && e->mode != 64 && (e->opcode & ~1) == 0x92))
        return ALLOWED_VEX_W;
    if (opmask && e->mode == 64)
        return ALLOWED_OPMASK;
    while (bytes[0] == 0x67 || bytes[0] == 0x2e || bytes[0] == 0x65)
        bytes++;
    if (bytes[0] != 0x62)
        return ALLOWED_NONE;
    if (e->mode != 64 && !(bytes[3] & 0x08))
        return ALLOWED_V2;
    if ((bytes[3] & 0x10) && bytes[5] >= 0xc0)
        return ALLOWED_B;
    return (bytes[3] & 0x80) && !(bytes[3] & 7) ? ALLOWED_Z : ALLOWED_NONE;
}

/* ---- The walk ------------------------------------------------------------------------------- */

static uint64_t allowance_counts[ALLOWANCE_COUNT];

static void compare_batch(void)
{
    next = 0;
    if (question_count != 0)
        raise(SIGTRAP);
    for (unsigned n = 0; n < question_count; n++) {
        const struct question *q = &questions[n];

        asked++;
        lengths += !q->theirs.undefined && q->theirs.length != 0;
        if (q->ours.undefined == q->theirs.undefined &&
            (q->ours.undefined || q->theirs.length == 0 || q->ours.length == q->theirs.length))
            continue;
        allowance_counts[allowance(q)]++;
        if (allowance(q) != ALLOWED_NONE || ++reports > MAX_REPORTS)
            continue;
        printf("%s op=%02x %u-bit:", space_map_names[q->e.map], q->e.opcode, q->e.mode);
        for (unsigned k = 0; k < sizeof(q->e.bytes); k++)
            printf(" %02x", q->e.bytes[k]);
        printf("\n  ours: %s, %u bytes; the host's: %s, %u bytes\n",
               q->ours.undefined ? "undefined" : "defined", q->ours.length,
               q->theirs.undefined ? "undefined" : "defined", q->theirs.length);
    }
    question_count = 0;
}

static void ask(const struct encoding *e, struct verdict v)
{
    questions[question_count++] = (struct question){.e = *e, .ours = v};
    if (question_count == BATCH)
        compare_batch();
}

/* The same with something that must not be: a prefix before, or a reserved bit or map. */
static void ask_spoilt(const struct encoding *e, unsigned how)
{
    static const uint8_t prefixes[] = {0x66, 0xf2, 0xf3, 0xf0, 0x48, 0x2e, 0x65};
    struct encoding other = *e;
    bool evex = e->bytes[0] == 0x62;

    if (how < ARRAY_SIZE(prefixes)) {
        other.bytes[0] = prefixes[how];
        memcpy(other.bytes + 1, e->bytes, sizeof(other.bytes) - 1);
    } else if (evex && how < 15) {
        other.bytes[1] = (uint8_t)((e->bytes[1] & 0xf0) | (how == 7 ? 0 : how));
    } else if (evex) {
        other.bytes[2] &= (uint8_t)~4;
    } else {
        return;
    }
    ask(&other, ours(&other));
}

static void visit(void *opaque, const struct encoding *e)
{
    uint32_t *count = opaque, h = ++*count * 0x9e3779b1u >> 8;
    struct verdict v;

    if (e->map < MAP_VEX_0F || e->mode == 16)
        return;
    v = ours(e);
    if (!full && h % (v.undefined ? SAMPLE_UNDEFINED : SAMPLE_DEFINED) != 0)
        return;
    ask(e, v);
    h = (h >> 12) % 256;
    if (h < 16)
        ask_spoilt(e, h);
}

int main(int argc, char **argv)
{
    struct decoder *decoder = decoder_create();
    uint32_t count = 0;

    full = getenv("GNOMON_FULL") != NULL || (argc == 2 && strcmp(argv[1], "-f") == 0);
    if (!host_has(7, 0, 1, 16)) {
        printf("skipped: the host has no AVX-512\n");
        decoder_destroy(decoder);
        return EXIT_SKIPPED;
    }
    host_create();
    ours_create();
    cpu.decoder = decoder;
    space_walk(false, 0, visit, &count);
    compare_batch();
    decoder_destroy(decoder);
    printf("%" PRIu64 " encodings, and the lengths of %" PRIu64 "\n", asked, lengths);
    for (unsigned n = ALLOWANCE_COUNT; n-- > 0;)
        printf("%8" PRIu64 " %s\n", allowance_counts[n], allowance_names[n]);
    return allowance_counts[ALLOWED_NONE] == 0 ? 0 : 1;
}
