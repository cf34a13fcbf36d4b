/* Debug registers: what they take, and which accesses hit (SDM 3B 17.2, 17.3). */
#include "debug.h"
#include "segments.h"

#if defined(__x86_64__)
#define ACC     "rax"
#define COUNTER "%%rcx"
#define DROP    "lea 8(%%rsp), %%rsp"
#else
#define ACC     "eax"
#define COUNTER "%%ecx"
#define DROP    "lea 4(%%esp), %%esp"
#endif

/* ---- The registers themselves ---- */

static void reserved_bits(void)
{
    write_dr6(0);
    EXPECT_EQ(read_dr6(), DR6_INIT);
    write_dr6(0xffffffff);
    EXPECT_EQ(read_dr6(), 0xffffefff);
    write_dr6(DR6_B(2) | DR6_BS);
    EXPECT_EQ(read_dr6(), DR6_INIT | DR6_B(2) | DR6_BS);
    write_dr7(0);
    EXPECT_EQ(read_dr7(), DR7_INIT);
    write_dr7(0xffff0300);
    EXPECT_EQ(read_dr7(), 0xffff0700);
    write_dr7(0xd000);
    EXPECT_EQ(read_dr7(), DR7_INIT);
#if defined(__x86_64__)
    TRY_FAULT(GP, 0, "mov %0, %%dr6", : : "r"(1ull << 32));
    TRY_FAULT(GP, 0, "mov %0, %%dr7", : : "r"(1ull << 63));
    write_dr0(0x123456789abcdef0);
    EXPECT_EQ(read_dr0(), 0x123456789abcdef0);
#endif
    points_clear();
}

static void aliases(void)
{
    unsigned long v = 0;

    write_dr6(DR6_B(1));
    TRY_OK(".byte 0x0f, 0x21, 0xe0", : "=a"(v)); /* MOV EAX, DR4 */
    EXPECT_EQ(v, DR6_INIT | DR6_B(1));
    TRY_OK(".byte 0x0f, 0x21, 0xe8", : "=a"(v));
    EXPECT_EQ(v, DR7_INIT);
    TRY_OK(".byte 0x0f, 0x23, 0xe8", : : "a"(0x700ul)); /* MOV DR5, EAX */
    EXPECT_EQ(read_dr7(), 0x700);
    TRY_OK(".byte 0x0f, 0x23, 0xe0", : : "a"(0ul));
    EXPECT_EQ(read_dr6(), DR6_INIT);
    write_cr4(read_cr4() | CR4_DE);
    TRY_FAULT(UD, 0, ".byte 0x0f, 0x21, 0xe0", : "=a"(v));
    TRY_FAULT(UD, 0, ".byte 0x0f, 0x21, 0xe8", : "=a"(v));
    TRY_FAULT(UD, 0, ".byte 0x0f, 0x23, 0xe0", : : "a"(0ul));
    TRY_FAULT(UD, 0, ".byte 0x0f, 0x23, 0xe8", : : "a"(0ul));
#if defined(__x86_64__)
    TRY_FAULT(UD, 0, ".byte 0x44, 0x0f, 0x21, 0xc0", : "=a"(v)); /* DR8 */
#endif
    points_clear();
}

USER_CODE(user_read_dr0, "mov %dr0, %" ACC);
USER_CODE(user_write_dr7, "mov %" ACC ", %dr7");

static void general_detect(void)
{
    unsigned long v;

    write_dr7(DR7_INIT | DR7_GD);
    TRY("mov %%dr0, %0", : "=r"(v));
    EXPECT_FAULT(DB, 0);
    EXPECT(trap.flags & FL_RF);
    EXPECT_EQ(read_dr7(), DR7_INIT); /* GD was cleared on the way to the handler */
    EXPECT_EQ(read_dr6(), DR6_INIT | DR6_BD);
    write_dr6(DR6_INIT);
    write_dr7(DR7_INIT | DR7_GD);
    TRY_FAULT(DB, 0, "mov %0, %%dr7", : : "r"(0ul));
    EXPECT_EQ(read_dr6(), DR6_INIT | DR6_BD);
    context("at CPL 3");
    write_dr6(DR6_INIT);
    write_dr7(DR7_INIT | DR7_GD);
    run_user(user_read_dr0);
    EXPECT_FAULT(GP, 0);
    run_user(user_write_dr7);
    EXPECT_FAULT(GP, 0);
    TRY_FAULT(DB, 0, "mov %%dr7, %0", : "=r"(v));
    points_clear();
}

/* ---- Data ---- */

static uint8_t data[4096] __attribute__((aligned(64)));

static void access_bytes(volatile void *p, unsigned size, bool write)
{
    if (size == 1 && write)
        asm volatile("movb $1, (%0)" : : "r"(p) : "memory");
    else if (size == 2 && write)
        asm volatile("movw $1, (%0)" : : "r"(p) : "memory");
    else if (size == 4 && write)
        asm volatile("movl $1, (%0)" : : "r"(p) : "memory");
    else if (size == 1)
        asm volatile("movb (%0), %%al" : : "r"(p) : "memory", "eax");
    else if (size == 2)
        asm volatile("movw (%0), %%ax" : : "r"(p) : "memory", "eax");
    else if (size == 4)
        asm volatile("movl (%0), %%eax" : : "r"(p) : "memory", "eax");
#if defined(__x86_64__)
    else if (write)
        asm volatile("movq $1, (%0)" : : "r"(p) : "memory");
    else
        asm volatile("movq (%0), %%rax" : : "r"(p) : "memory", "rax");
#endif
}

/* Every length of point and access, at every distance. Points lie aligned: their low address bits
 * count as clear. */
static void data_overlap(void)
{
    DEBUG_START();
    for (unsigned length = 1; length <= sizeof(long); length *= 2)
        for (unsigned skew = 0; skew < length; skew++)
            for (unsigned size = 1; size <= sizeof(long); size *= 2)
                for (int at = 32 - 9; at < 32 + 9; at++) {
                    bool hit = at < 32 + (int)length && at + (int)size > 32;

                    context("length %u, %u bytes at %d", length, size, at - 32);
                    point_set(1, POINT_WRITE, (unsigned long)data + 32 + skew, length);
                    debug_count = 0;
                    access_bytes(data + at, size, false);
                    EXPECT_EQ(debug_count, 0);
                    access_bytes(data + at, size, true);
                    EXPECT_EQ(debug_count, hit);
                    point_set(1, POINT_ACCESS, (unsigned long)data + 32 + skew, length);
                    debug_count = 0;
                    access_bytes(data + at, size, false);
                    EXPECT_EQ(debug_count, hit);
                    access_bytes(data + at, size, true);
                    EXPECT_EQ(debug_count, 2u * hit);
                    if (hit)
                        EXPECT_EQ(debug_hits[0].dr6, DR6_INIT | DR6_B(1));
                }
    points_clear();
}

static void several_points(void)
{
    DEBUG_START();
    point_set(0, POINT_WRITE, (unsigned long)data, 4);
    point_set(1, POINT_ACCESS, (unsigned long)data + 2, 2);
    point_set(2, POINT_WRITE, (unsigned long)data + 4, 4);
    point_set(3, POINT_ACCESS, (unsigned long)data, 1);
    access_bytes(data, 4, true);
    EXPECT_EQ(debug_count, 1);
    EXPECT_EQ(debug_hits[0].dr6, DR6_INIT | 0xb);
    access_bytes(data + 3, 2, true);
    EXPECT_EQ(debug_count, 2);
    EXPECT_EQ(debug_hits[1].dr6, DR6_INIT | 0x7);
    access_bytes(data, 4, false);
    EXPECT_EQ(debug_count, 3);
    EXPECT_EQ(debug_hits[2].dr6, DR6_INIT | 0xa);
    context("locally enabled");
    points_clear();
    write_dr0((unsigned long)data);
    write_dr7(DR7_LOCAL(0) | DR7_POINT(0, POINT_WRITE, 0));
    access_bytes(data, 1, true);
    EXPECT_EQ(debug_count, 4);
    context("not enabled");
    write_dr7(DR7_POINT(0, POINT_WRITE, 0));
    access_bytes(data, 1, true);
    EXPECT_EQ(debug_count, 4);
    EXPECT_EQ(read_dr6() & 0xe00f, 0);
    points_clear();
}

/* Traps: the instruction is done, the pushed address is the next one's, RF is clear. */
static void data_traps(void)
{
    points_clear();
    point_set(0, POINT_WRITE, (unsigned long)data, 4);
    *(volatile uint32_t *)(data + 4) = 0;
    TRY("movl $7, %0\n nop", : "=m"(data[0]));
    EXPECT_TRAP(DB, 0);
    EXPECT(trap.ip > try_start);
    EXPECT_EQ(trap.flags & FL_RF, 0);
    EXPECT_EQ(*(volatile uint32_t *)data, 7);
    context("B bits stay until somebody clears them");
    point_set(1, POINT_WRITE, (unsigned long)data + 4, 4);
    TRY("movl $7, %0", : "=m"(data[4]));
    EXPECT_EQ(read_dr6(), DR6_INIT | 3);
    points_clear();
}

/* What counts as an access, by instruction: 'r' read, 'w' write, 'b' both. */
#define DATA_CASE(kind, code, ...)                                                                 \
    do {                                                                                           \
        context("%s", code);                                                                       \
        point_set(0, POINT_WRITE, (unsigned long)spot, 4);                                         \
        debug_count = 0;                                                                           \
        asm volatile(code __VA_ARGS__ : "ecx", "memory", "cc");                                    \
        EXPECT_EQ(debug_count, (kind) != 'r');                                                     \
        point_set(0, POINT_ACCESS, (unsigned long)spot, 4);                                        \
        debug_count = 0;                                                                           \
        asm volatile(code __VA_ARGS__ : "ecx", "memory", "cc");                                    \
        EXPECT_EQ(debug_count, 1);                                                                 \
    } while (0)

static void data_instructions(void)
{
    uint8_t *spot = data + 3072; /* room for a stack below */
    uint8_t *end = spot + sizeof(long);
    unsigned long scratch;
    unsigned value;

    DEBUG_START();
    asm volatile("fninit");
    DATA_CASE('b', "addl $1, (%0)", : : "r"(spot));
    DATA_CASE('b', "lock xaddl %%eax, (%0)", : : "r"(spot), "a"(0));
    DATA_CASE('b', "xchg %%eax, (%0)", : : "r"(spot), "a"(0));
    DATA_CASE('r', "cmpl $1, (%0)", : : "r"(spot));
    DATA_CASE('r', "btl $1, (%0)", : : "r"(spot));
    DATA_CASE('b', "btsl $1, (%0)", : : "r"(spot));
    DATA_CASE('r', "push %0\n pop " COUNTER, : : "m"(*(unsigned long *)spot));
    DATA_CASE('w', "setz (%0)", : : "r"(spot));
    DATA_CASE('w', "xchg %0, " SP "\n push $5\n " DROP "\n xchg %0, " SP, : "+r"(end) :);
    DATA_CASE('w', "xchg %0, " SP "\n call 1f\n1: " DROP "\n xchg %0, " SP, : "+r"(end) :);
    DATA_CASE('b', "movsb", : "=&S"(scratch), "=&D"(scratch) : "0"(spot), "1"(spot));
    DATA_CASE('r', "lodsl", : "=&S"(scratch), "=a"(value) : "0"(spot));
    DATA_CASE('r', "scasl", : "=&D"(scratch) : "0"(spot), "a"(0));
    DATA_CASE('w', "stosl", : "=&D"(scratch) : "0"(spot), "a"(0));
    DATA_CASE('w', "fnstcw (%0)", : : "r"(spot));
    DATA_CASE('r', "fldcw (%0)", : : "r"(spot));
    DATA_CASE('w', "fld1\n fstpl (%0)", : : "r"(spot));
    DATA_CASE('w', "sgdt (%0)", : : "r"(spot));
    write_cr4(read_cr4() | CR4_OSFXSR);
    DATA_CASE('w', "movups %%xmm0, (%0)", : : "r"(spot));
    DATA_CASE('r', "movups -12(%0), %%xmm0", : : "r"(spot));
    DATA_CASE('w', "fxsave (%0)", : : "r"(spot));
    points_clear();
}

/* ---- Code ---- */

extern char code_at[], code_second[], code_prefix[], undefined_at[];
asm(".pushsection .text\n"
    "code_at: mov $1, %eax\n"
    "code_second: add $2, %eax\n"
    "code_prefix: .byte 0x3e, 0x3e\n nop\n"
    "ret\n"
    "undefined_at: ud2\n"
    ".popsection");

static unsigned call_code(void)
{
    unsigned value;

    asm volatile("call code_at" : "=a"(value) : : "memory", "cc");
    return value;
}

static void code_points(void)
{
    DEBUG_START();
    point_set(0, POINT_EXEC, (unsigned long)code_second, 1);
    EXPECT_EQ(call_code(), 3);
    EXPECT_EQ(debug_count, 1);
    EXPECT_EQ(debug_hits[0].ip, (unsigned long)code_second); /* a fault */
    EXPECT_EQ(debug_hits[0].dr6, DR6_INIT | 1);
    EXPECT_EQ(debug_hits[0].flags & FL_RF, 0);
    context("each time");
    for (unsigned n = 0; n < 5; n++)
        EXPECT_EQ(call_code(), 3);
    EXPECT_EQ(debug_count, 6);
    context("two at one address");
    point_set(3, POINT_EXEC, (unsigned long)code_second, 1);
    debug_count = 0;
    call_code();
    EXPECT_EQ(debug_count, 1);
    EXPECT_EQ(debug_hits[0].dr6, DR6_INIT | 9);
    context("in the middle of an instruction");
    points_clear();
    debug_count = 0;
    point_set(0, POINT_EXEC, (unsigned long)code_at + 1, 1);
    point_set(1, POINT_EXEC, (unsigned long)code_prefix + 1, 1);
    call_code();
    EXPECT_EQ(debug_count, 0);
    context("at the first prefix");
    point_set(1, POINT_EXEC, (unsigned long)code_prefix, 1);
    call_code();
    EXPECT_EQ(debug_count, 1);
    context("two instructions in a row");
    points_clear();
    debug_count = 0;
    point_set(0, POINT_EXEC, (unsigned long)code_at, 1);
    point_set(1, POINT_EXEC, (unsigned long)code_second, 1);
    EXPECT_EQ(call_code(), 3);
    EXPECT_EQ(debug_count, 2);
    EXPECT_EQ(debug_hits[1].ip, (unsigned long)code_second);
    context("switched off");
    points_clear();
    debug_count = 0;
    call_code();
    EXPECT_EQ(debug_count, 0);
}

/* REP: a code breakpoint hits once, a data breakpoint after the iteration that touches it. */
static uint8_t pages[3 * 4096];
extern char rep_at[];
asm(".pushsection .text\n"
    "rep_code: nop\nrep_at: rep stosb\n ret\n"
    ".popsection");

static unsigned long rep_call(uint8_t *to, unsigned long count)
{
    asm volatile("call rep_code" : "+D"(to), "+c"(count) : "a"(0x5a) : "memory");
    return count;
}

static volatile unsigned long rep_left;

static bool note_count(struct frame *f)
{
#if defined(__x86_64__)
    rep_left = f->rcx;
#else
    rep_left = f->ecx;
#endif
    return debug_hook(f);
}

static void repetition(void)
{
    DEBUG_START();
    point_set(0, POINT_EXEC, (unsigned long)rep_at, 1);
    EXPECT_EQ(rep_call(pages, sizeof(pages)), 0);
    EXPECT_EQ(pages[sizeof(pages) - 1], 0x5a);
    EXPECT_EQ(debug_count, 1);
    context("data");
    points_clear();
    point_set(0, POINT_WRITE, (unsigned long)pages + 3, 1);
    debug_count = 0;
    trap_hook = note_count;
    EXPECT_EQ(rep_call(pages, 8), 0);
    EXPECT_EQ(debug_count, 1);
    EXPECT_EQ(rep_left, 4);
    EXPECT_EQ(debug_hits[0].ip, (unsigned long)rep_at);
    EXPECT(debug_hits[0].flags & FL_RF);
    context("data of the last iteration");
    debug_count = 0;
    EXPECT_EQ(rep_call(pages, 4), 0);
    EXPECT_EQ(debug_count, 1);
    EXPECT_EQ(debug_hits[0].ip, (unsigned long)rep_at + 2);
    EXPECT_EQ(debug_hits[0].flags & FL_RF, 0);
    context("both");
    point_set(1, POINT_EXEC, (unsigned long)rep_at, 1);
    debug_count = 0;
    EXPECT_EQ(rep_call(pages, 8), 0);
    EXPECT_EQ(debug_count, 2);
    points_clear();
}

/* A fault at the instruction after the breakpoint: RF was set for it, and the fault pushes RF. */
static void resume_flag(void)
{
    DEBUG_START();
    points_clear();
    point_set(0, POINT_EXEC, (unsigned long)undefined_at, 1);
    TRY("call undefined_at", :);
    EXPECT_TRAP(UD, 0);
    EXPECT_EQ(trap.ip, (unsigned long)undefined_at);
    EXPECT(trap.flags & FL_RF);
    EXPECT_EQ(debug_count, 1);
    EXPECT_EQ(debug_hits[0].ip, trap.ip);
    points_clear();
    context("POPF does not set RF");
    EXPECT_EQ(read_flags() & FL_RF, 0);
    write_flags(FL_RF | 2);
    EXPECT_EQ(read_flags() & FL_RF, 0);
}

/* ---- Ports ---- */

static void port_points(void)
{
    static const unsigned sizes[] = {1, 2, 4};
    unsigned long memory = 0x588;
    uint8_t *p = data;

    DEBUG_START();
    write_cr4(read_cr4() | CR4_DE);
    for (unsigned l = 0; l < 3; l++)
        for (unsigned s = 0; s < 3; s++)
            for (int at = -5; at < 5; at++) {
                uint16_t port = (uint16_t)(0x588 + at);
                bool hit = at < (int)sizes[l] && at + (int)sizes[s] > 0;

                context("length %u, %u bytes at %d", sizes[l], sizes[s], at);
                point_set(2, POINT_IO, 0x588, sizes[l]);
                debug_count = 0;
                if (s == 0)
                    asm volatile("outb %%al, %0\n inb %0, %%al" : : "d"(port) : "eax");
                else if (s == 1)
                    asm volatile("outw %%ax, %0\n inw %0, %%ax" : : "d"(port) : "eax");
                else
                    asm volatile("outl %%eax, %0\n inl %0, %%eax" : : "d"(port) : "eax");
                EXPECT_EQ(debug_count, 2u * hit);
                if (hit)
                    EXPECT_EQ(debug_hits[0].dr6, DR6_INIT | DR6_B(2));
            }
    context("INS and OUTS");
    point_set(2, POINT_IO, 0x588, 1);
    debug_count = 0;
    asm volatile("outsb" : "+S"(p) : "d"(0x588) : "memory");
    asm volatile("insb" : "+D"(p) : "d"(0x588) : "memory");
    EXPECT_EQ(debug_count, 2);
    context("memory at that address");
    debug_count = 0;
    access_bytes((void *)memory, 1, false);
    EXPECT_EQ(debug_count, 0);
    points_clear();
}

const struct test_case cases[] = {
    {"reserved bits", reserved_bits},
    {"DR4 and DR5", aliases},
    {"general detect", general_detect},
    {"overlap of data", data_overlap},
    {"several points", several_points},
    {"data breakpoints are traps", data_traps},
    {"data by instruction", data_instructions},
    {"code", code_points},
    {"REP", repetition},
    {"RF", resume_flag},
    {"ports", port_points},
};
PROGRAM("breakpoints");
