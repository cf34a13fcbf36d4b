/*
 * Five-level paging: the walk, rights and reserved bits of the fifth level, what CR4.LA57 may
 * change in (SDM 3A 4.5). The switch leaves long mode for a moment.
 */
#include "paging.h"
#include "segments.h"

#define FAR_WINDOW 0x01000000000000ull /* PML5 entry 1 */

static volatile uint64_t pml5[512] __attribute__((aligned(4096)));
static volatile uint64_t far_pml4[512] __attribute__((aligned(4096)));
static volatile uint64_t far_tables[3][512] __attribute__((aligned(4096)));

/* switch_levels(cr3, cr4): compatibility mode, paging off, both registers, paging on, and back. */
void switch_levels(uint64_t cr3, uint64_t cr4);
asm(".pushsection .text\n"
    "switch_levels:\n"
    "mov %rsi, %rdx\n"
    "push $0x38\n push $1f\n lretq\n" /* SEL_CODE32 */
    ".code32\n"
    "1: mov %cr0, %eax\n and $0x7fffffff, %eax\n mov %eax, %cr0\n"
    "mov %edx, %cr4\n mov %edi, %cr3\n"
    "or $0x80000000, %eax\n mov %eax, %cr0\n"
    "ljmp $0x08, $2f\n"
    ".code64\n"
    "2: ret\n"
    ".popsection");

static void start(void)
{
    pml5[0] = (uint64_t)pml4 | PTE_P | PTE_W | PTE_U;
    pml5[1] = (uint64_t)far_pml4 | PTE_P | PTE_W | PTE_U;
    far_pml4[0] = (uint64_t)far_tables[2] | PTE_P | PTE_W | PTE_U;
    far_tables[2][0] = (uint64_t)far_tables[1] | PTE_P | PTE_W | PTE_U;
    far_tables[1][0] = (uint64_t)far_tables[0] | PTE_P | PTE_W | PTE_U;
    far_tables[0][0] = frame_pa(0) | PTE_P | PTE_W | PTE_U;
    switch_levels((uint64_t)pml5, read_cr4() | CR4_LA57);
}

static void stop(void)
{
    switch_levels((uint64_t)pml4, read_cr4() & ~(uint64_t)CR4_LA57);
}

static bool there(void)
{
    if (HAS_7C(16))
        return true;
    TRY_FAULT(GP, 0, "mov %0, %%cr4", : : "r"(read_cr4() | CR4_LA57));
    skip("no LA57");
    return false;
}

static void change(void)
{
    if (!there())
        return;
    EXPECT_EQ(cpuid(0x80000008, 0).a >> 8 & 0xff, 57);
    TRY_FAULT(GP, 0, "mov %0, %%cr4", : : "r"(read_cr4() | CR4_LA57));
    start();
    EXPECT(read_cr4() & CR4_LA57);
    TRY_FAULT(GP, 0, "mov %0, %%cr4", : : "r"(read_cr4() & ~(uint64_t)CR4_LA57));
    stop();
    EXPECT_EQ(read_cr4() & CR4_LA57, 0);
}

USER_CODE(user_read, "mov (%rax), %ebx");

static void walk(void)
{
    volatile uint32_t *page = (volatile uint32_t *)FAR_WINDOW;

    if (!there())
        return;
    *(volatile uint32_t *)frames[0] = 0x12345678;
    TRY_FAULT(GP, 0, "mov (%0), %%eax", : : "D"(page) : "eax"); /* not canonical yet */
    start();
    EXPECT_EQ(*page, 0x12345678);
    EXPECT_EQ(pml5[1] & PTE_A, PTE_A);
    EXPECT_EQ(far_tables[0][0] & (PTE_A | PTE_D), PTE_A);
    context("absent");
    TRY_FAULT(PF, 0, "mov (%0), %%eax", : : "r"(FAR_WINDOW * 2) : "eax");
    EXPECT_EQ(trap.cr2, FAR_WINDOW * 2);
    context("rights of the fifth level");
    pml5[1] &= ~PTE_W;
    window_flush();
    TRY_FAULT(PF, PF_P | PF_W, "movl $0, (%0)", : : "r"(page));
    pml5[1] = (pml5[1] | PTE_W) & ~PTE_U;
    window_flush();
    user_regs[UAX] = FAR_WINDOW;
    run_user(user_read);
    EXPECT_FAULT(PF, PF_P | PF_U);
    pml5[1] |= PTE_U | PTE_NX; /* reserved if there is no NX */
    window_flush();
    TRY("call *%0", : : "r"(page));
    EXPECT_TRAP(PF, PF_P | (HAS_NX ? PF_I : PF_RSVD));
    pml5[1] = (pml5[1] & ~PTE_NX) | PTE_PS; /* reserved */
    window_flush();
    TRY_FAULT(PF, PF_P | PF_RSVD, "mov (%0), %%eax", : : "r"(page) : "eax");
    pml5[1] &= ~PTE_PS;
    window_flush();
    EXPECT_EQ(*page, 0x12345678);
    context("PS in the fourth level");
    far_pml4[0] |= PTE_PS;
    window_flush();
    TRY_FAULT(PF, PF_P | PF_RSVD, "mov (%0), %%eax", : : "r"(page) : "eax");
    far_pml4[0] &= ~PTE_PS;
    stop();
}

static void canonical(void)
{
    if (!there())
        return;
    start();
    TRY_FAULT(PF, 0, "mov (%0), %%eax", : : "r"(0xff000000000000) : "eax");
    TRY_FAULT(GP, 0, "mov (%0), %%eax", : : "r"(1ull << 56) : "eax");
    TRY_FAULT(GP, 0, "mov (%0), %%eax", : : "r"(0xfeffffffffffffff) : "eax");
    TRY_FAULT(PF, 0, "mov (%0), %%eax", : : "r"(0xff00000000000000) : "eax");
    TRY_FAULT(SS, 0, "mov (%%rsp, %0), %%eax", : : "r"(1ull << 56) : "eax");
    wrmsr(MSR_FS_BASE, 1ull << 50);
    EXPECT_EQ(rdmsr(MSR_FS_BASE), 1ull << 50);
    wrmsr(MSR_FS_BASE, 0);
    TRY_FAULT(GP, 0, "wrmsr", : : "c"(MSR_FS_BASE), "a"(0), "d"(1 << 24));
    stop();
}

const struct test_case cases[] = {
    {"changing CR4.LA57", change},
    {"the walk", walk},
    {"canonical addresses", canonical},
};
PROGRAM("levels5");
