/* Each exception that a plain instruction can raise: vector, error code, pushed address. */
#include "segments.h"

static void divide_error(void)
{
    TRY_FAULT(DE, 0, "divl %0", : : "r"(0), "a"(1), "d"(0));
    TRY_FAULT(DE, 0, "divl %0", : : "r"(2), "a"(1), "d"(2));
    TRY_FAULT(DE, 0, "divw %w0", : : "r"(0), "a"(1), "d"(0));
    TRY_FAULT(DE, 0, "divb %b0", : : "q"(0), "a"(1));
    TRY_FAULT(DE, 0, "divb %b0", : : "q"(1), "a"(0x100));
    TRY_FAULT(DE, 0, "idivl %0", : : "r"(-1), "a"(0x80000000), "d"(0xffffffff));
    TRY_FAULT(DE, 0, "idivw %w0", : : "r"(-1), "a"(0x8000), "d"(0xffff));
    TRY_FAULT(DE, 0, "idivb %b0", : : "q"(-1), "a"(0xff80));
#if defined(__x86_64__)
    TRY_FAULT(DE, 0, "divq %0", : : "r"(2ull), "a"(1ull), "d"(2ull));
    TRY_FAULT(DE, 0, "idivq %0", : : "r"(-1ull), "a"(1ull << 63), "d"(-1ull));
#else
    TRY_FAULT(DE, 0, ".byte 0xd4, 0", : : "a"(5)); /* AAM 0 */
#endif
}

static void breakpoint(void)
{
    TRY("int3", :);
    EXPECT_TRAP(BP, 0);
    EXPECT_EQ(trap.ip, try_start + 1);
    EXPECT_EQ(trap.flags & FL_RF, 0);
    TRY(".byte 0xcd, 3", :); /* INT 3, two bytes */
    EXPECT_TRAP(BP, 0);
    EXPECT_EQ(trap.ip, try_start + 2);
}

static void software_interrupt(void)
{
    TRY("int $0x33", :);
    EXPECT_TRAP(0x33, 0);
    EXPECT_EQ(trap.ip, try_start + 2);
    /* INT n of a vector with error codes pushes none: the frame is one word short, so look at it
     * through a gate that takes it as it is. */
    idt_set(GP, SEL_CODE, trap_stubs + 16 * 0x33, ACC_P | ACC_INT, 0);
    TRY("int $13", :);
    EXPECT_TRAP(0x33, 0);
    EXPECT_EQ(trap.ip, try_start + 2);
}

static void int1(void)
{
    TRY(".byte 0xf1", :);
    EXPECT_TRAP(DB, 0);
    EXPECT_EQ(trap.ip, try_start + 1);
}

static void undefined(void)
{
    TRY_FAULT(UD, 0, "ud2", :);
    EXPECT(trap.flags & FL_RF);
    TRY_FAULT(UD, 0, ".byte 0x0f, 0xb9, 0xc0", :);            /* UD1 */
    TRY_FAULT(UD, 0, ".byte 0x0f, 0x04", :);                  /* no such opcode */
    TRY_FAULT(UD, 0, ".byte 0x8e, 0xc8", :);                  /* MOV CS, AX */
    TRY_FAULT(UD, 0, ".byte 0x8e, 0xf0", :);                  /* MOV seg 6 */
    TRY_FAULT(UD, 0, ".byte 0x8c, 0xf0", :);                  /* MOV from seg 6 */
    TRY_FAULT(UD, 0, ".byte 0xc6, 0xc8, 0", :);               /* C6 /1 */
    TRY_FAULT(UD, 0, ".byte 0xff, 0xf8", :);                  /* FF /7 */
    TRY_FAULT(UD, 0, ".byte 0xfe, 0xd0", :);                  /* FE /2 */
    TRY_FAULT(UD, 0, ".byte 0x8d, 0xc0", :);                  /* LEA of a register */
    TRY_FAULT(UD, 0, ".byte 0x0f, 0xb2, 0xc0", :);            /* LSS of a register */
    TRY_FAULT(UD, 0, ".byte 0x0f, 0xb4, 0xc0", :);            /* LFS of a register */
    TRY_FAULT(UD, 0, ".byte 0x0f, 0xc7, 0xc8", :);            /* CMPXCHG8B of a register */
    TRY_FAULT(UD, 0, ".byte 0x0f, 0x01, 0xd8 + 0x10 + 5", :); /* 0F 01 /5 register form */
    TRY_FAULT(UD, 0, ".byte 0x0f, 0xba, 0xc0, 0", :);         /* 0F BA /0 */
    TRY_FAULT(UD, 0, ".byte 0x8f, 0xc8", :);                  /* 8F /1 */
    TRY_FAULT(UD, 0, ".byte 0x0f, 0x01, 0xc1", :);            /* VMCALL */
    TRY_FAULT(UD, 0, ".byte 0xff, 0xe8", :);                  /* far JMP of a register */
    TRY_FAULT(UD, 0, ".byte 0xff, 0xd8", :);                  /* far CALL of a register */
    TRY_FAULT(UD, 0, ".byte 0x0f, 0x20, 0xc8", :);            /* MOV from CR1 */
    TRY_FAULT(UD, 0, ".byte 0x0f, 0x20, 0xe8", :);            /* MOV from CR5 */
    TRY_FAULT(UD, 0, ".byte 0x0f, 0x20, 0xf8", :);            /* MOV from CR7 */
    TRY_FAULT(UD, 0, ".byte 0x0f, 0x22, 0xc8", :);            /* MOV to CR1 */
}

#if defined(__x86_64__)
static void not_in_64_bit(void)
{
    static const uint8_t opcodes[] = {0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x27,
                                      0x2f, 0x37, 0x3f, 0x60, 0x61, 0xce, 0xd6};
    static uint8_t code[16];

    for (unsigned n = 0; n < COUNT(opcodes); n++) {
        context("opcode %2x", opcodes[n]);
        code[0] = opcodes[n];
        code[1] = 0xc3;
        TRY("call *%0", : : "r"(code) : "rax");
        EXPECT_EQ(trap.vector, UD);
        EXPECT_EQ(trap.ip, (unsigned long)code);
    }
    context("with immediates");
    TRY_FAULT(UD, 0, ".byte 0x62, 0x00, 0x00, 0x00, 0x00, 0x00", :); /* BOUND is EVEX here */
    TRY_FAULT(UD, 0, ".byte 0x9a, 0, 0, 0, 0, 0, 0", :);             /* CALL far */
    TRY_FAULT(UD, 0, ".byte 0xea, 0, 0, 0, 0, 0, 0", :);             /* JMP far */
    TRY_FAULT(UD, 0, ".byte 0xd4, 10", :);
    TRY_FAULT(UD, 0, ".byte 0xd5, 10", :);
    TRY_FAULT(UD, 0, ".byte 0x82, 0xc0, 0", :);
}
#else
static void overflow(void)
{
    TRY("into", :);
    EXPECT_NO_TRAP();
    TRY("mov $0x7f, %%al\n add $1, %%al\n 778: into\n", : : : "eax");
    EXPECT_TRAP(OF, 0);
    EXPECT_EQ(trap.ip, try_start + 5);
    TRY(".byte 0xcd, 4", :);
    EXPECT_TRAP(OF, 0);
    EXPECT_EQ(trap.ip, try_start + 2);
}

static void bounds(void)
{
    static volatile int32_t pair[2] = {-5, 10};
    static volatile int16_t words[2] = {-5, 10};

    TRY_OK("bound %0, %1", : : "r"(-5), "m"(pair));
    TRY_OK("bound %0, %1", : : "r"(10), "m"(pair));
    TRY_FAULT(BR, 0, "bound %0, %1", : : "r"(11), "m"(pair));
    TRY_FAULT(BR, 0, "bound %0, %1", : : "r"(-6), "m"(pair));
    TRY_OK("bound %w0, %1", : : "r"(0x1000a), "m"(words));
    TRY_FAULT(BR, 0, "bound %w0, %1", : : "r"(11), "m"(words));
    TRY_FAULT(UD, 0, ".byte 0x62, 0xc0", :);
}
#endif

static void not_available(void)
{
    static char area[512] __attribute__((aligned(16)));

    write_cr0(read_cr0() | CR0_TS);
    TRY_FAULT(NM, 0, "fninit", :);
    TRY_FAULT(NM, 0, "fld1", :);
    TRY_FAULT(NM, 0, "fwait", :);
    TRY_FAULT(NM, 0, "fxsave %0", : : "m"(area));
    TRY_FAULT(NM, 0, "emms", :);
    write_cr4(read_cr4() | CR4_OSFXSR);
    TRY_FAULT(NM, 0, "xorps %%xmm0, %%xmm0", :);
    write_cr0((read_cr0() & ~(unsigned long)CR0_MP) | CR0_TS);
    TRY_OK("fwait", :); /* WAIT looks at TS only with MP */
    asm volatile("clts");
    write_cr0(read_cr0() | CR0_EM);
    TRY_FAULT(NM, 0, "fninit", :);
    TRY_OK("fwait", :);
    TRY_FAULT(UD, 0, "emms", :);
    TRY_FAULT(UD, 0, "xorps %%xmm0, %%xmm0", :);
    TRY_FAULT(NM, 0, "fxsave %0", : : "m"(area));
    write_cr0((read_cr0() & ~(unsigned long)CR0_EM) | CR0_MP);
    write_cr4(read_cr4() & ~(unsigned long)CR4_OSFXSR);
    TRY_FAULT(UD, 0, "xorps %%xmm0, %%xmm0", :);
    TRY_OK("fxsave %0", : : "m"(area));
    write_cr0(read_cr0() | CR0_TS);
    TRY_FAULT(UD, 0, "xorps %%xmm0, %%xmm0", :); /* OSFXSR goes before TS */
}

static void x87_error(void)
{
    static const uint16_t unmasked = 0x037f & ~4, masked = 0x037f; /* ZM clear: divide by zero */

    asm volatile("fninit\n fldcw %0" : : "m"(unmasked));
    asm volatile("fldz\n fld1\n");
    asm volatile(".byte 0xd8, 0xf1"); /* FDIV ST, ST(1): 1 / 0 waits for the next instruction */
    TRY_FAULT(MF, 0, "fwait", :);
    TRY_FAULT(MF, 0, "fld1", :);
    TRY_OK("fnstsw %%ax", : : : "eax"); /* no-wait forms do not look */
    TRY_OK("fnclex", :);
    TRY_OK("fwait", :);
    asm volatile("fninit\n fldcw %0" : : "m"(masked));
}

static void simd_error(void)
{
    static const uint32_t unmasked = 0x1f80 & ~0x200, masked = 0x1f80; /* ZM clear */

    write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT);
    asm volatile("ldmxcsr %0" : : "m"(unmasked));
    asm volatile("xorps %xmm0, %xmm0\n pcmpeqd %xmm1, %xmm1\n pslld $25, %xmm1\n psrld $2, %xmm1");
    TRY_FAULT(XM, 0, "divss %%xmm0, %%xmm1", :);
    write_cr4(read_cr4() & ~(unsigned long)CR4_OSXMMEXCPT);
    asm volatile("ldmxcsr %0" : : "m"(unmasked));
    TRY_FAULT(UD, 0, "divss %%xmm0, %%xmm1", :);
    asm volatile("ldmxcsr %0" : : "m"(masked));
    TRY_OK("divss %%xmm0, %%xmm1", :);
    TRY_FAULT(GP, 0, "ldmxcsr %0", : : "m"((uint32_t){0x11f80}));
}

static void instruction_length(void)
{
    TRY_OK(".fill 14, 1, 0x66\n nop", :);
    TRY_FAULT(GP, 0, ".fill 15, 1, 0x66\n nop", :);
    TRY_OK(".fill 4, 1, 0x66\n .fill 3, 1, 0x3e\n .byte 0xc7, 0xc0, 0, 0", : : : "eax");
    TRY_OK(".fill 11, 1, 0x66\n .byte 0xc7, 0xc0, 0, 0", : : : "eax");
    TRY_FAULT(GP, 0, ".fill 12, 1, 0x66\n .byte 0xc7, 0xc0, 0, 0", : : : "eax");
    TRY_FAULT(GP, 0, ".fill 15, 1, 0xf2\n ud2", :);
}

/* A LOCK prefix where it may not be, as bytes: absolute or RIP-relative address 0. */
static const struct {
    const char *name;
    uint8_t bytes[8];
} bad_locks[] = {
    {"NOP", {0xf0, 0x90}},
    {"ADD to a register", {0xf0, 0x01, 0xc0}},
    {"MOV", {0xf0, 0x89, 0x05}},
    {"CMP", {0xf0, 0x39, 0x05}},
    {"TEST", {0xf0, 0x85, 0x05}},
    {"ADD from memory", {0xf0, 0x03, 0x05}},
    {"ROL", {0xf0, 0xd1, 0x05}},
    {"BT", {0xf0, 0x0f, 0xa3, 0x05}},
    {"BTS of a register", {0xf0, 0x0f, 0xab, 0xc0}},
    {"STI", {0xf0, 0xfb}},
    {"RET", {0xf0, 0xc3}},
    {"XCHG of registers", {0xf0, 0x87, 0xc0}},
    {"CPUID", {0xf0, 0x0f, 0xa2}},
    {"IMUL", {0xf0, 0x0f, 0xaf, 0x05}},
    {"PUSH", {0xf0, 0xff, 0x35}},
    {"CMPXCHG of registers", {0xf0, 0x0f, 0xb1, 0xc8}},
};

static void lock_prefix(void)
{
    static volatile uint32_t memory;
    static uint8_t code[16];
    uint32_t a = 0;

    TRY_OK("lock addl $3, %0\n lock incl %0\n lock notl %0\n lock negl %0", : "+m"(memory));
    TRY_OK("lock xaddl %1, %0\n lock btsl $9, %0\n lock xchgl %1, %0", : "+m"(memory), "+r"(a));
    TRY_OK("lock cmpxchgl %1, %0", : "+m"(memory), "+r"(a) : : "eax");
    for (unsigned n = 0; n < COUNT(bad_locks); n++) {
        if (!on_gnomon() && bad_locks[n].bytes[3] >= 0xc0) /* QEMU's translator aborts */
            continue;
        context("%s", bad_locks[n].name);
        for (unsigned k = 0; k < sizeof(code); k++)
            code[k] = k < sizeof(bad_locks[n].bytes) ? bad_locks[n].bytes[k] : 0xcc;
        TRY("call *%0", : : "r"(code) : "eax", "ebx", "ecx", "edx");
        EXPECT_EQ(trap.vector, UD);
        EXPECT_EQ(trap.ip, (unsigned long)code);
    }
}

const struct test_case cases[] = {
    {"divide error", divide_error},
    {"breakpoint", breakpoint},
    {"INT n", software_interrupt},
    {"INT1", int1},
    {"undefined opcodes", undefined},
#if defined(__x86_64__)
    {"opcodes that 64-bit mode lacks", not_in_64_bit},
#else
    {"INTO", overflow},
    {"BOUND", bounds},
#endif
    {"device not available", not_available},
    {"x87 error", x87_error},
    {"SIMD error", simd_error},
    {"more than 15 bytes", instruction_length},
    {"LOCK where it may not be", lock_prefix},
};
PROGRAM("exceptions");
