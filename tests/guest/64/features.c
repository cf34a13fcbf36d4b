/*
 * CPUID's feature bits against what instructions do: a set bit, and the instruction runs; a clear
 * one, and it is #UD, or what the same bytes meant before. The runs take processor models and
 * single features off.
 */
#include "segments.h"

static void enable_vectors(void)
{
    write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT);
    if (HAS_1C(26)) {
        write_cr4(read_cr4() | CR4_OSXSAVE);
        asm volatile("xsetbv" : : "a"(HAS_7B(16) ? 0xe7 : HAS_1C(28) ? 7 : 3), "d"(0), "c"(0));
    }
}

static uint64_t memory[16] __attribute__((aligned(64)));

/* RDI points to memory; other registers may be anything. */
#define FEATURE(has, code)                                                                         \
    do {                                                                                           \
        context("%s", code);                                                                       \
        TRY(code, : : "D"(memory) : "rax", "rbx", "rcx", "rdx", "rsi", "memory", "cc");            \
        if (has)                                                                                   \
            EXPECT_NO_TRAP();                                                                      \
        else                                                                                       \
            EXPECT_FAULT(UD, 0);                                                                   \
    } while (0)

static void general(void)
{
    FEATURE(HAS_1C(23), "popcnt %%eax, %%ebx");
    FEATURE(HAS_1C(22), "movbe (%%rdi), %%eax");
    FEATURE(HAS_1C(22), "movbe %%eax, (%%rdi)");
    FEATURE(HAS_1C(13), "cmpxchg16b (%%rdi)");
    FEATURE(HAS_1C(30), "rdrand %%eax");
    FEATURE(HAS_7B(18), "rdseed %%eax");
    FEATURE(HAS_7B(19), "adcx %%eax, %%ebx");
    FEATURE(HAS_7B(19), "adox %%eax, %%ebx");
    FEATURE(HAS_7B(3), "andn %%eax, %%ebx, %%ecx");
    FEATURE(HAS_7B(3), "blsr %%eax, %%ebx");
    FEATURE(HAS_7B(3), "bextr %%eax, %%ebx, %%ecx");
    FEATURE(HAS_7B(8), "mulx %%eax, %%ebx, %%ecx");
    FEATURE(HAS_7B(8), "pdep %%eax, %%ebx, %%ecx");
    FEATURE(HAS_7B(8), "rorx $3, %%eax, %%ebx");
    FEATURE(HAS_1D(19), "clflush (%%rdi)");
    FEATURE(HAS_7B(23), "clflushopt (%%rdi)");
    FEATURE(HAS_7B(24), "clwb (%%rdi)");
    FEATURE(HAS_7C(22), "rdpid %%rax");
    FEATURE(HAS_EXTD(27), "rdtscp");
    FEATURE(cpuid(0x80000001, 0).c & 1, "lahf");
    FEATURE(cpuid(0x80000001, 0).c & 1, "sahf");
    FEATURE(HAS_7C(27), "movdiri %%eax, (%%rdi)");
    FEATURE(HAS_7C(28), "movdir64b (%%rdi), %%rdi");
    FEATURE(HAS_7B(11), "xbegin 1f\n xend\n1:");
}

/* Bytes that meant something before: LZCNT is BSR, TZCNT is BSF, and hints are NOPs. */
static void older_meanings(void)
{
    bool lzcnt = cpuid(0x80000001, 0).c >> 5 & 1, tzcnt = HAS_7B(3);
    uint32_t r;

    asm volatile("lzcnt %1, %0" : "=r"(r) : "r"(0x10));
    EXPECT_EQ(r, lzcnt ? 27 : 4);
    asm volatile("tzcnt %1, %0" : "=r"(r) : "r"(0x10));
    EXPECT_EQ(r, 4);
    asm volatile("mov $7, %0\n tzcnt %1, %0" : "=&r"(r) : "r"(0));
    EXPECT_EQ(r, tzcnt ? 32 : 7);
    TRY_OK("pause\n prefetcht0 (%0)\n prefetchw (%0)\n endbr64", : : "r"(memory));
    TRY_OK("xacquire lock addl $1, (%0)\n xrelease lock addl $1, (%0)", : : "r"(memory));
}

static void vectors(void)
{
    enable_vectors();
    FEATURE(HAS_1D(23), "paddb %%mm0, %%mm1");
    FEATURE(HAS_1D(25), "addps %%xmm0, %%xmm1");
    FEATURE(HAS_1D(26), "addpd %%xmm0, %%xmm1");
    FEATURE(HAS_1C(0), "addsubps %%xmm0, %%xmm1");
    FEATURE(HAS_1C(0), "lddqu (%%rdi), %%xmm1");
    FEATURE(HAS_1C(9), "pshufb %%xmm0, %%xmm1");
    FEATURE(HAS_1C(9), "pabsb %%mm0, %%mm1");
    FEATURE(HAS_1C(19), "pmulld %%xmm0, %%xmm1");
    FEATURE(HAS_1C(19), "ptest %%xmm0, %%xmm1");
    FEATURE(HAS_1C(19), "roundps $0, %%xmm0, %%xmm1");
    FEATURE(HAS_1C(20), "pcmpgtq %%xmm0, %%xmm1");
    FEATURE(HAS_1C(20), "pcmpistri $0, %%xmm0, %%xmm1");
    FEATURE(HAS_1C(20), "crc32b %%al, %%ebx");
    FEATURE(HAS_1C(1), "pclmulqdq $0, %%xmm0, %%xmm1");
    FEATURE(HAS_1C(25), "aesenc %%xmm0, %%xmm1");
    FEATURE(HAS_1C(25), "aeskeygenassist $0, %%xmm0, %%xmm1");
    FEATURE(HAS_7B(29), "sha1nexte %%xmm0, %%xmm1");
    FEATURE(HAS_7B(29), "sha256msg1 %%xmm0, %%xmm1");
    FEATURE(HAS_7C(8), "gf2p8mulb %%xmm0, %%xmm1");
    FEATURE(HAS_1C(28), "vaddps %%xmm0, %%xmm1, %%xmm2");
    FEATURE(HAS_1C(28), "vzeroupper");
    FEATURE(HAS_1C(28), "vaddps %%ymm0, %%ymm1, %%ymm2");
    FEATURE(HAS_7B(5), "vpaddd %%ymm0, %%ymm1, %%ymm2");
    FEATURE(HAS_7B(5), "vpermq $0, %%ymm0, %%ymm1");
    FEATURE(HAS_1C(12), "vfmadd132ps %%xmm0, %%xmm1, %%xmm2");
    FEATURE(HAS_1C(29), "vcvtph2ps %%xmm0, %%xmm1");
    FEATURE(HAS_1C(28) && HAS_1C(25), "vaesenc %%xmm0, %%xmm1, %%xmm2");
    FEATURE(HAS_1C(28) && HAS_1C(1), "vpclmulqdq $0, %%xmm0, %%xmm1, %%xmm2");
    FEATURE(HAS_7B(16), "vaddps %%zmm0, %%zmm1, %%zmm2");
    asm volatile("emms");
}

/* AVX needs OSXSAVE and both bits of XCR0. */
static void avx_enables(void)
{
    if (!HAS_1C(28)) {
        skip("no AVX");
        return;
    }
    TRY_FAULT(UD, 0, "vaddps %%xmm0, %%xmm1, %%xmm2", :);
    write_cr4(read_cr4() | CR4_OSXSAVE);
    for (unsigned n = 1; n < 8; n += 2) {
        context("XCR0 %u", n);
        TRY("xsetbv", : : "a"(n), "d"(0), "c"(0));
        if (n == 5) { /* AVX without SSE */
            EXPECT_FAULT(GP, 0);
            continue;
        }
        EXPECT_NO_TRAP();
        TRY("vaddps %%xmm0, %%xmm1, %%xmm2", :);
        if (n == 7)
            EXPECT_NO_TRAP();
        else
            EXPECT_FAULT(UD, 0);
    }
    context("OSFXSR does not matter, TS does");
    TRY_OK("vaddps %%xmm0, %%xmm1, %%xmm2", :);
    write_cr0(read_cr0() | CR0_TS);
    TRY_FAULT(NM, 0, "vaddps %%xmm0, %%xmm1, %%xmm2", :);
    asm volatile("clts");
    write_cr0(read_cr0() | CR0_EM);
    TRY_OK("vaddps %%xmm0, %%xmm1, %%xmm2", :);
}

/* Each bit of CR4: taken if its feature is there, #GP otherwise. */
static void cr4_bits(void)
{
    const struct {
        unsigned bit;
        bool there;
    } rows[] = {
        {0, HAS_1D(1)},   {1, HAS_1D(1)},  {2, HAS_1D(4)},  {3, HAS_1D(2)},   {4, HAS_1D(3)},
        {6, HAS_1D(7)},   {7, HAS_1D(13)}, {8, true},       {9, HAS_1D(24)},  {10, HAS_1D(25)},
        {11, HAS_7C(2)},  {13, false},     {14, false},     {15, false},      {16, HAS_7B(0)},
        {18, HAS_1C(26)}, {19, false},     {20, HAS_7B(7)}, {21, HAS_7B(20)}, {22, HAS_7C(3)},
        {23, false},      {24, false},     {25, false},     {26, false},      {31, false},
        {32, false},      {63, false},
    };

    for (unsigned n = 0; n < COUNT(rows); n++) {
        unsigned long old = read_cr4(), wanted = old | 1ul << rows[n].bit;

        context("bit %u", rows[n].bit);
        TRY("mov %0, %%cr4", : : "r"(wanted));
        if (rows[n].there) {
            EXPECT_NO_TRAP();
            EXPECT_EQ(read_cr4(), wanted);
        } else {
            EXPECT_FAULT(GP, 0);
            EXPECT_EQ(read_cr4(), old);
        }
        write_cr4(old);
    }
    context("CR0");
    TRY_FAULT(GP, 0, "mov %0, %%cr0", : : "r"(read_cr0() | 1ul << 32));
    TRY_FAULT(GP, 0, "mov %0, %%cr0", : : "r"((read_cr0() & ~(unsigned long)CR0_CD) | CR0_NW));
    TRY_FAULT(GP, 0, "mov %0, %%cr0", : : "r"(read_cr0() & ~(unsigned long)CR0_PE));
    TRY_FAULT(GP, 0, "mov %0, %%cr0", : : "r"(read_cr0() & ~(unsigned long)CR0_PG));
    TRY_FAULT(GP, 0, "mov %0, %%cr4", : : "r"(read_cr4() & ~(unsigned long)CR4_PAE));
}

/* ---- MSRs ---- */

#define WRITE_FAULTS(msr, value)                                                                   \
    do {                                                                                           \
        uint64_t v_ = (value);                                                                     \
                                                                                                   \
        context("MSR %x, %llx", (unsigned)(msr), (unsigned long long)v_);                          \
        TRY_FAULT(GP, 0, "wrmsr", : : "c"(msr), "a"((uint32_t)v_), "d"((uint32_t)(v_ >> 32)));     \
    } while (0)

#define READ_FAULTS(msr)                                                                           \
    do {                                                                                           \
        context("MSR %x", (unsigned)(msr));                                                        \
        TRY_FAULT(GP, 0, "rdmsr", : : "c"(msr) : "eax", "edx");                                    \
    } while (0)

static void msrs(void)
{
    static const uint32_t canonical[] = {MSR_SYSENTER_ESP,  MSR_SYSENTER_EIP, MSR_LSTAR,
                                         MSR_CSTAR,         MSR_FS_BASE,      MSR_GS_BASE,
                                         MSR_KERNEL_GS_BASE};
    static const uint32_t none[] = {0x2, 0x12345, 0x40000000 + 0x123, 0xc0001234, 0xffffffff};
    uint64_t efer = rdmsr(MSR_EFER);

    for (unsigned n = 0; n < COUNT(canonical); n++) {
        uint64_t old = rdmsr(canonical[n]);

        /* As wide as the processor's addresses can be, whatever CR4.LA57 says. */
        WRITE_FAULTS(canonical[n], 1ull << 56);
        if (!HAS_7C(16))
            WRITE_FAULTS(canonical[n], 0x800000000000);
        wrmsr(canonical[n], 0xffff800000000000);
        EXPECT_EQ(rdmsr(canonical[n]), 0xffff800000000000);
        wrmsr(canonical[n], old);
    }
    for (unsigned n = 0; n < COUNT(none); n++) {
        READ_FAULTS(none[n]);
        WRITE_FAULTS(none[n], 0);
    }
    context("EFER");
    for (unsigned bit = 0; bit < 64; bit++) {
        bool known = bit == 0 || bit == 8 || bit == 10 || (bit == 11 && HAS_EXTD(20));

        if (bit >= 12 && bit <= 15)
            continue; /* AMD's */
        if (!known)
            WRITE_FAULTS(MSR_EFER, efer | 1ull << bit);
    }
    WRITE_FAULTS(MSR_EFER, efer & ~(uint64_t)EFER_LME); /* while paging is on */
    wrmsr(MSR_EFER, efer & ~(uint64_t)EFER_LMA);        /* read-only */
    EXPECT_EQ(rdmsr(MSR_EFER), efer);
    context("PAT");
    {
        uint64_t pat = rdmsr(MSR_PAT);

        EXPECT_EQ(pat, 0x0007040600070406);
        WRITE_FAULTS(MSR_PAT, pat | 0x08);
        WRITE_FAULTS(MSR_PAT, (pat & ~0xffull) | 2);
        WRITE_FAULTS(MSR_PAT, (pat & ~0xff00ull) | 0x300);
        WRITE_FAULTS(MSR_PAT, pat | 1ull << 63);
        wrmsr(MSR_PAT, 0x0105040600070406);
        EXPECT_EQ(rdmsr(MSR_PAT), 0x0105040600070406);
        wrmsr(MSR_PAT, pat);
    }
    WRITE_FAULTS(MSR_FMASK, 1ull << 32);
    context("MTRRs");
    if (HAS_1D(12)) {
        unsigned variable = rdmsr(0xfe) & 0xff;

        WRITE_FAULTS(0xfe, 0);
        WRITE_FAULTS(0x2ff, 0x2);     /* a type that does not exist */
        WRITE_FAULTS(0x2ff, 1 << 8);  /* reserved */
        WRITE_FAULTS(0x2ff, 1 << 12); /* reserved */
        WRITE_FAULTS(0x200, 0x2);
        WRITE_FAULTS(0x200, 0x106);
        WRITE_FAULTS(0x201, 0x400);
        WRITE_FAULTS(0x201, 1ull << 63);
        WRITE_FAULTS(0x250, 0x0606060606060602);
        READ_FAULTS(0x200 + 2 * variable);
    }
    context("high halves of registers");
    {
        uint64_t v = ~0ull;

        asm volatile("rdmsr" : "=a"(v) : "c"(0xffffffff00000000 | MSR_EFER) : "rdx");
        EXPECT_EQ(v, efer); /* ECX alone counts; RAX is zero-extended */
    }
}

static void tsc_aux(void)
{
    uint32_t low, high, aux = 0;

    if (!HAS_EXTD(27) && !HAS_7C(22)) {
        READ_FAULTS(MSR_TSC_AUX);
        skip("neither RDTSCP nor RDPID");
        return;
    }
    wrmsr(MSR_TSC_AUX, 0x12345678);
    if (HAS_EXTD(27)) {
        asm volatile("rdtscp" : "=a"(low), "=d"(high), "=c"(aux));
        EXPECT_EQ(aux, 0x12345678);
    }
    if (HAS_7C(22)) {
        uint64_t id;

        asm volatile("rdpid %0" : "=r"(id));
        EXPECT_EQ(id, 0x12345678);
    }
    WRITE_FAULTS(MSR_TSC_AUX, 1ull << 32);
    context("RDPMC of a counter that is not there");
    TRY_FAULT(GP, 0, "rdpmc", : : "c"(0x12345) : "eax", "edx");
    context("IA32_TSC_ADJUST");
    if (HAS_7B(1)) {
        uint64_t before = rdmsr(0x3b), now;

        wrmsr(0x3b, before + 0x100000000);
        now = rdtsc();
        wrmsr(0x3b, before);
        EXPECT(now - rdtsc() > 0xf0000000 && now - rdtsc() < 0x110000000);
        wrmsr(0x10, rdtsc() + 0x1000000);
        EXPECT(rdmsr(0x3b) - before >= 0xf00000 && rdmsr(0x3b) - before < 0x1100000);
        wrmsr(0x3b, before);
    } else {
        READ_FAULTS(0x3b);
    }
}

/* ---- CPUID itself ---- */

static void leaves(void)
{
    struct cpuid basic = cpuid(0, 0), beyond, last, extended = cpuid(0x80000000, 0);

    EXPECT(basic.a >= 1);
    context("beyond the last leaf: the last one's data, or nothing");
    beyond = cpuid(basic.a + 0x1000, 0);
    last = cpuid(basic.a, 0);
    EXPECT((beyond.a == last.a && beyond.b == last.b && beyond.d == last.d) ||
           (beyond.a == 0 && beyond.b == 0 && beyond.c == 0 && beyond.d == 0));
    EXPECT(extended.a >= 0x80000001);
    context("the feature words agree");
    EXPECT_EQ(HAS_1C(27), 0);
    if (HAS_1C(26)) {
        write_cr4(read_cr4() | CR4_OSXSAVE);
        EXPECT_EQ(HAS_1C(27), 1);
    }
    EXPECT_EQ(HAS_EXTD(29), 1);
    EXPECT_EQ(HAS_EXTD(11), 1); /* SYSCALL, as seen from 64-bit mode */
    context("the upper halves are cleared");
    {
        uint64_t a = ~0ull << 32, b, c = ~0ull << 32, d;

        asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
        EXPECT_EQ((a | b | c | d) >> 32, 0);
    }
}

const struct test_case cases[] = {
    {"general registers", general},
    {"older meanings", older_meanings},
    {"vectors", vectors},
    {"what AVX needs", avx_enables},
    {"control registers", cr4_bits},
    {"MSRs", msrs},
    {"TSC_AUX, TSC_ADJUST, RDPMC", tsc_aux},
    {"leaves", leaves},
};
PROGRAM("features");
