/*
 * Code that one processor writes and others run (SDM 3A 8.1.3): with the manual's protocol for
 * cross-modifying code a processor runs the new bytes once it has serialised after the writer's
 * flag. Also breakpoints put into code that runs, as kernels patch themselves, and pages of code
 * that change places.
 */
#include "paging.h"
#include "smp.h"

#define SYNC       0xe2
#define ICR_ASSERT 0x4000

#ifndef ROUNDS
#define ROUNDS 100
#endif

static uint8_t code[3][4096] __attribute__((aligned(4096)));

/* ---- What is written: functions that return a number ---- */

static unsigned put32(volatile uint8_t *at, uint32_t value)
{
    for (unsigned n = 0; n < 4; n++)
        at[n] = (uint8_t)(value >> (8 * n));
    return 4;
}

/* Different lengths and instructions, so that nothing old fits to the new. */
static void write_function(volatile uint8_t *at, unsigned kind, uint32_t value)
{
    switch (kind % 4) {
    case 0: /* mov $value, %eax */
        *at++ = 0xb8;
        at += put32(at, value);
        break;
    case 1: /* mov $~value, %eax; not %eax */
        *at++ = 0xb8;
        at += put32(at, ~value);
        *at++ = 0xf7;
        *at++ = 0xd0;
        break;
    case 2: /* xor %eax, %eax; nop; lea value(%rax), %eax */
        *at++ = 0x31;
        *at++ = 0xc0;
        *at++ = 0x90;
        *at++ = 0x8d;
        *at++ = 0x80;
        at += put32(at, value);
        break;
    default: /* jmp over 3 bytes; mov $value, %ecx; mov %ecx, %eax */
        *at++ = 0xeb;
        *at++ = 0x03;
        *at++ = 0xcc;
        *at++ = 0xcc;
        *at++ = 0xcc;
        *at++ = 0xb9;
        at += put32(at, value);
        *at++ = 0x89;
        *at++ = 0xc8;
        break;
    }
    *at++ = 0xc3;
}

static uint32_t call(const volatile void *at)
{
    uint32_t value;

    asm volatile("call *%1" : "=a"(value) : "r"(at) : "rcx", "memory", "cc");
    return value;
}

/* ---- The manual's protocol ---- */

enum serialising { BY_CPUID, BY_IRET, BY_CR, BY_INVLPG, SERIALISINGS };
static const char *const serialising_names[] = {"CPUID", "IRET", "MOV to CR3", "INVLPG"};

static void serialise(enum serialising how)
{
    switch (how) {
    case BY_CPUID:
        (void)cpuid(0, 0);
        break;
    case BY_IRET:
        asm volatile(
            "mov %%rsp, %%rax\n push %0\n push %%rax\n pushf\n push %1\n push $1f\n iretq\n1:"
            :
            : "r"((uint64_t)SEL_DATA), "r"((uint64_t)SEL_CODE)
            : "rax", "memory", "cc");
        break;
    case BY_CR:
        write_cr3(read_cr3());
        break;
    default:
        invlpg(code);
        break;
    }
}

static struct {
    const volatile uint8_t *run; /* where the function is run, and where it is written */
    volatile uint8_t *write;
    enum serialising how;
    bool rerun; /* run it many times each round */
} job;

static volatile unsigned flag;
static volatile unsigned done[CPU_MAX];
static volatile struct {
    unsigned count, round;
    uint32_t seen;
} wrong[CPU_MAX];

/* The first wrong value is kept. */
static void note_wrong(unsigned me, unsigned round, uint32_t seen)
{
    if (wrong[me].count++ == 0) {
        wrong[me].round = round;
        wrong[me].seen = seen;
    }
}

/* Waits for the others' end; expected(round) is what they should have seen then. */
static void finish(uint32_t (*expected)(unsigned round))
{
    smp_stop = true;
    for (unsigned n = 1; n < cpu_count; n++) {
        smp_await(n);
        EXPECT_EQ(wrong[n].count, 0);
        if (wrong[n].count != 0)
            print("processor %u, round %u: expected %x, seen %x\n", n, wrong[n].round,
                  expected(wrong[n].round), wrong[n].seen);
    }
}

static uint32_t value_of(unsigned round)
{
    return 0x10000 + round * 0x1111;
}

static void run_rounds(void *unused)
{
    unsigned me = this_cpu()->index;

    (void)unused;
    wrong[me].count = 0;
    for (unsigned round = 1; round <= ROUNDS; round++) {
        if (!WAIT_FOR(flag == round))
            return;
        serialise(job.how);
        for (unsigned n = 0; n < (job.rerun ? 20 : 1); n++) {
            uint32_t seen = call(job.run);

            if (seen != value_of(round))
                note_wrong(me, round, seen);
        }
        done[me] = round;
    }
}

static void write_rounds(unsigned kinds)
{
    flag = 0;
    for (unsigned n = 0; n < CPU_MAX; n++)
        done[n] = 0;
    for (unsigned n = 1; n < cpu_count; n++)
        smp_start(n, run_rounds, NULL);
    for (unsigned round = 1; round <= ROUNDS; round++) {
        write_function(job.write, kinds == 1 ? 0 : round, value_of(round));
        flag = round;
        if (round % 3 == 0) /* the writer runs it, too */
            EXPECT_EQ((serialise(BY_CPUID), call(job.run)), value_of(round));
        for (unsigned n = 1; n < cpu_count; n++)
            EXPECT(WAIT_FOR(done[n] == round || cpus[n].state != CPU_RUNS));
    }
    finish(value_of);
}

static void protocol(void)
{
    for (unsigned how = 0; how < SERIALISINGS; how++) {
        for (unsigned kinds = 1; kinds <= 4; kinds += 3) {
            if (!smp_begin())
                return;
            context("%s, %s", serialising_names[how], kinds == 1 ? "immediates" : "everything");
            job.run = job.write = code[0] + 0x123;
            job.how = how;
            job.rerun = how % 2 == 0;
            write_rounds(kinds);
        }
    }
}

static void places(void)
{
    if (!smp_begin())
        return;
    job.how = BY_CPUID;
    job.rerun = true;
    context("across two pages");
    job.run = job.write = code[1] - 3;
    write_rounds(4);
    context("across two lines");
    job.run = job.write = code[1] + 62;
    write_rounds(4);
    context("written by another address");
    window_map(3, (uint64_t)code[0], PTE_P | PTE_W);
    job.run = code[0] + 0x200;
    job.write = (volatile uint8_t *)WINDOW + 3 * 4096 + 0x200;
    write_rounds(4);
    context("run by another address");
    job.run = (volatile uint8_t *)WINDOW + 3 * 4096 + 0x200;
    job.write = code[0] + 0x200;
    write_rounds(4);
    context("data beside code");
    job.run = job.write = code[0] + 0x100;
    write_rounds(1);
    pml4[2] = 0;
}

/* ---- An interrupt's return serialises: code that runs all the time ---- */

static volatile unsigned answered[CPU_MAX], published;

static bool synchronise(struct frame *f)
{
    struct cpu *cpu = this_cpu();

    if (f->vector != SYNC)
        return false;
    answered[cpu->index] = published;
    apic_set(APIC_EOI, 0);
    return true;
}

static bool synchronise_all(unsigned n)
{
    published = n;
    EXPECT(ipi_send(0, ICR_OTHERS | ICR_ASSERT | SYNC));
    for (unsigned p = 1; p < cpu_count; p++)
        if (!WAIT_FOR(answered[p] == n || cpus[p].state == CPU_DEAD) || answered[p] != n)
            return false;
    return true;
}

/* Function A returns 1, B returns 2, by a patched site: NOP of five bytes or JMP of five bytes. */
static uint8_t *const site = code[2] + 0x80 - 2; /* across two lines */

static void build_site(void)
{
    static const uint8_t start[] = {0x0f, 0x1f, 0x44, 0x00, 0x00, /* nopl */
                                    0xb8, 1,    0,    0,    0,    0xc3,
                                    0xcc, 0xcc, 0xcc, 0xcc, 0xcc, /* B is at 16 */
                                    0xb8, 2,    0,    0,    0,    0xc3};

    for (unsigned n = 0; n < sizeof(start); n++)
        ((volatile uint8_t *)site)[n] = start[n];
}

static volatile unsigned emulate; /* what #BP at the site stands for: 0 NOP, 1 JMP */
static volatile unsigned allowed_low, allowed_high; /* results that are legal now */
static volatile unsigned hits[CPU_MAX];

static bool patched_hook(struct frame *f)
{
    if (f->vector == BP && f->ip == (uint64_t)site + 1) {
        f->ip = (uint64_t)site + (emulate != 0 ? 16 : 5);
        hits[this_cpu()->index]++;
        return true;
    }
    return synchronise(f);
}

/* After a change's last step, of three. */
static uint32_t result_of(unsigned step)
{
    return step / 3 % 2 + 1;
}

static void call_site(void *unused)
{
    unsigned me = this_cpu()->index;

    (void)unused;
    wrong[me].count = 0;
    asm volatile("sti");
    while (!smp_stop) {
        unsigned step = answered[me];
        uint32_t seen = call(site);

        if (++done[me] % 4 == 0)
            smp_pause();
        /* Between the steps 3n + 3 and 3n + 4 nothing changes. */
        if (published != step || answered[me] != step || step % 3 != 0)
            continue;
        if (seen != result_of(step))
            note_wrong(me, step, seen);
    }
    asm volatile("cli");
}

static void write_byte(unsigned at, uint8_t value)
{
    ((volatile uint8_t *)site)[at] = value;
}

/* One change in three steps: breakpoint, the rest, the first byte. */
static bool patch(unsigned change)
{
    static const uint8_t bytes[2][5] = {{0x0f, 0x1f, 0x44, 0x00, 0x00}, {0xe9, 11, 0, 0, 0}};
    const uint8_t *to = bytes[change % 2];
    unsigned step = 3 * (change - 1), before[CPU_MAX];
    bool all;

    emulate = change % 2;
    published = step + 1; /* begins: nothing is checked any more */
    write_byte(0, 0xcc);
    smp_pause();
    all = synchronise_all(step + 1);
    for (unsigned n = 1; n < cpu_count; n++)
        before[n] = hits[n];
    for (unsigned n = 1; n < 5; n++) {
        write_byte(n, to[n]);
        smp_pause();
    }
    for (unsigned n = 1; n < cpu_count; n++)
        all = WAIT_FOR(hits[n] != before[n] || cpus[n].state != CPU_RUNS) && all;
    all = synchronise_all(step + 2) && all;
    write_byte(0, to[0]);
    smp_pause();
    return synchronise_all(step + 3) && all;
}

static void patched(void)
{
    if (!smp_begin())
        return;
    build_site();
    published = 0;
    for (unsigned n = 0; n < cpu_count; n++) {
        answered[n] = done[n] = hits[n] = 0;
        cpus[n].hook = patched_hook;
    }
    for (unsigned n = 1; n < cpu_count; n++)
        smp_start(n, call_site, NULL);
    for (unsigned change = 1; change <= ROUNDS; change++) {
        unsigned before[CPU_MAX];

        context("change %u", change);
        EXPECT(patch(change));
        for (unsigned n = 1; n < cpu_count; n++)
            before[n] = done[n];
        for (unsigned n = 1; n < cpu_count; n++)
            EXPECT(WAIT_FOR(done[n] >= before[n] + 2 || cpus[n].state != CPU_RUNS));
        EXPECT_EQ(call(site), result_of(3 * change));
    }
    context("the others");
    finish(result_of);
}

/* ---- Another page of code at the same address ---- */

static bool remap_hook(struct frame *f)
{
    if (f->vector == SYNC)
        invlpg((void *)(WINDOW + 4096));
    return synchronise(f);
}

static uint32_t page_of(unsigned step)
{
    return 0x100 + step % 2;
}

static void run_page(void *unused)
{
    unsigned me = this_cpu()->index;

    (void)unused;
    wrong[me].count = 0;
    asm volatile("sti");
    while (!smp_stop) {
        unsigned step = answered[me];
        uint32_t seen = call((void *)(WINDOW + 4096 + 0x10));

        if (++done[me] % 4 == 0)
            smp_pause();
        if (published != step || answered[me] != step)
            continue;
        if (seen != page_of(step))
            note_wrong(me, step, seen);
    }
    asm volatile("cli");
}

static void remapped(void)
{
    if (!smp_begin())
        return;
    write_function(code[0] + 0x10, 0, 0x100);
    write_function(code[1] + 0x10, 1, 0x101);
    window_map(1, (uint64_t)code[0], PTE_P);
    published = 0;
    for (unsigned n = 0; n < cpu_count; n++) {
        answered[n] = done[n] = 0;
        cpus[n].hook = remap_hook;
    }
    for (unsigned n = 1; n < cpu_count; n++)
        smp_start(n, run_page, NULL);
    for (unsigned step = 1; step <= ROUNDS; step++) {
        unsigned before[CPU_MAX];

        context("change %u", step);
        published = step;
        window_map(1, (uint64_t)code[step % 2], PTE_P);
        invlpg((void *)(WINDOW + 4096));
        EXPECT(synchronise_all(step));
        for (unsigned n = 1; n < cpu_count; n++)
            before[n] = done[n];
        for (unsigned n = 1; n < cpu_count; n++)
            EXPECT(WAIT_FOR(done[n] >= before[n] + 2 || cpus[n].state != CPU_RUNS));
        EXPECT_EQ(call((void *)(WINDOW + 4096 + 0x10)), page_of(step));
    }
    context("the others");
    finish(page_of);
    pml4[2] = 0;
}

const struct test_case cases[] = {
    {"the manual's protocol", protocol},
    {"places", places},
    {"patched while it runs", patched},
    {"pages that change places", remapped},
};
PROGRAM("smp_code");
