/*
 * Paging of 32-bit mode: two levels with PSE, PSE-36, WP, global pages; PAE with its PDPTEs (SDM 3A
 * 4.3, 4.4). The low 16 MiB are mapped one to one, the window of the tests lies at 1 GiB.
 */
#include "segments.h"

#define P      0x1u
#define W      0x2u
#define U      0x4u
#define A      0x20u
#define D      0x40u
#define PS     0x80u
#define G      0x100u
#define WINDOW 0x40000000u

#define PF_P    1
#define PF_W    2
#define PF_U    4
#define PF_RSVD 8
#define PF_I    16

static volatile uint32_t directory[1024] __attribute__((aligned(4096)));
static volatile uint32_t table[1024] __attribute__((aligned(4096)));
static volatile uint64_t pdpt[4] __attribute__((aligned(32)));
static volatile uint64_t directories[4][512] __attribute__((aligned(4096)));
static volatile uint64_t table_pae[512] __attribute__((aligned(4096)));
static volatile uint8_t frames[4][4096] __attribute__((aligned(4096)));

static uint32_t read_at(uint32_t address)
{
    return *(volatile uint32_t *)address;
}

/* ---- Two levels ---- */

static void start_32(void)
{
    for (unsigned n = 0; n < 1024; n++) {
        directory[n] = n < 4 ? n << 22 | P | W | U | PS : 0;
        table[n] = 0;
    }
    directory[WINDOW >> 22] = (uint32_t)table | P | W | U;
    for (unsigned n = 0; n < 4; n++)
        *(volatile uint32_t *)frames[n] = 0xf0 + n;
    write_cr4(read_cr4() | CR4_PSE);
    write_cr3((uint32_t)directory);
    write_cr0(read_cr0() | CR0_PG);
}

static void map(unsigned page, unsigned frame, uint32_t bits)
{
    table[page] = (uint32_t)frames[frame] | bits;
    invlpg((void *)(WINDOW + page * 4096));
}

static void two_levels(void)
{
    start_32();
    map(0, 1, P | W);
    EXPECT_EQ(read_at(WINDOW), 0xf1);
    EXPECT_EQ(table[0] & (A | D), A);
    EXPECT_EQ(directory[WINDOW >> 22] & (A | D), A);
    *(volatile uint32_t *)WINDOW = 0xf1;
    EXPECT_EQ(table[0] & (A | D), A | D);
    context("absent");
    TRY_FAULT(PF, 0, "mov (%0), %%eax", : : "r"(WINDOW + 0x1234) : "eax");
    EXPECT_EQ(trap.cr2, WINDOW + 0x1234);
    TRY_FAULT(PF, PF_W, "movb $0, (%0)", : : "r"(WINDOW + 0x400000));
    EXPECT_EQ(trap.cr2, WINDOW + 0x400000);
    context("no I bit, no NX");
    TRY("call *%0", : : "r"(WINDOW + 0x1000));
    EXPECT_TRAP(PF, 0);
    context("read-only");
    map(0, 1, P);
    TRY_FAULT(PF, PF_P | PF_W, "movb $0, (%0)", : : "r"(WINDOW));
    write_cr0(read_cr0() & ~(unsigned long)CR0_WP);
    TRY_OK("movl $0xf1, (%0)", : : "r"(WINDOW));
    EXPECT_EQ(table[0] & D, D);
    write_cr0(read_cr0() | CR0_WP);
    TRY_FAULT(PF, PF_P | PF_W, "movb $0, (%0)", : : "r"(WINDOW));
    context("across two pages");
    map(0, 1, P | W);
    map(1, 3, P | W);
    *(volatile uint32_t *)(frames[1] + 4092) = 0x44332211;
    *(volatile uint32_t *)frames[3] = 0x88776655;
    EXPECT_EQ(read_at(WINDOW + 0xffe), 0x66554433);
}

USER_CODE(user_read, "mov (%eax), %ebx");
USER_CODE(user_write, "mov %ebx, (%eax)");

static void user_access(const char *code, uint32_t address)
{
    user_regs[UAX] = address;
    run_user(code);
}

/* U and W of both levels are combined. */
static void rights(void)
{
    start_32();
    for (unsigned n = 0; n < 16; n++) {
        bool u = (n & 5) == 5, w = (n & 10) == 10;

        context("directory %x, table %x", n & 3, n >> 2);
        directory[WINDOW >> 22] = (uint32_t)table | P | (n & 1 ? U : 0) | (n & 2 ? W : 0);
        map(0, 0, P | (n & 4 ? U : 0) | (n & 8 ? W : 0));
        user_access(user_read, WINDOW);
        if (u)
            EXPECT_RETURN();
        else
            EXPECT_FAULT(PF, PF_P | PF_U);
        user_access(user_write, WINDOW);
        if (u && w)
            EXPECT_RETURN();
        else
            EXPECT_FAULT(PF, PF_P | PF_U | PF_W);
        TRY("movl $0xf0, (%0)", : : "r"(WINDOW));
        if (w)
            EXPECT_NO_TRAP();
        else
            EXPECT_FAULT(PF, PF_P | PF_W);
    }
}

static void large(void)
{
    unsigned physical = cpuid(0x80000000, 0).a >= 0x80000008 ? cpuid(0x80000008, 0).a & 0xff : 36;

    start_32();
    directory[WINDOW >> 22] = 0x400000 | P | W | PS;
    write_cr3(read_cr3());
    *(volatile uint32_t *)0x765430 = 0x11223344;
    EXPECT_EQ(read_at(WINDOW + 0x365430), 0x11223344);
    EXPECT_EQ(directory[WINDOW >> 22] & (A | D), A);
    *(volatile uint32_t *)(WINDOW + 8) = 1;
    EXPECT_EQ(directory[WINDOW >> 22] & (A | D), A | D);
    context("INVLPG of any of its addresses");
    *(volatile uint32_t *)0x800004 = 0x55;
    *(volatile uint32_t *)0x400004 = 0x44;
    EXPECT_EQ(read_at(WINDOW + 4), 0x44);
    directory[WINDOW >> 22] = 0x800000 | P | W | PS;
    invlpg((void *)(WINDOW + 0x3ff000));
    EXPECT_EQ(read_at(WINDOW + 4), 0x55);
    context("reserved bits");
    directory[WINDOW >> 22] = 0x400000 | P | W | PS | 1u << 21;
    write_cr3(read_cr3());
    TRY_FAULT(PF, PF_P | PF_RSVD, "mov (%0), %%eax", : : "r"(WINDOW) : "eax");
    directory[WINDOW >> 22] = 0x400000 | P | W | PS | 1u << 12; /* PAT */
    write_cr3(read_cr3());
    EXPECT_EQ(read_at(WINDOW + 4), 0x44);
    if (physical < 40) { /* PSE-36: bits 20:13 are address bits 39:32 */
        context("beyond the physical address width");
        directory[WINDOW >> 22] = 0x400000 | P | W | PS | 1u << (13 + physical - 32);
        write_cr3(read_cr3());
        TRY_FAULT(PF, PF_P | PF_RSVD, "mov (%0), %%eax", : : "r"(WINDOW) : "eax");
    } else {
        context("PSE-36: address bit 39, nothing there");
        directory[WINDOW >> 22] = 0x400000 | P | W | PS | 1u << 20;
        write_cr3(read_cr3());
        EXPECT_EQ(read_at(WINDOW + 4), 0xffffffff);
    }
    context("PS without CR4.PSE is not looked at");
    directory[WINDOW >> 22] = (uint32_t)table | P | W | PS;
    table[0] = (uint32_t)frames[2] | P;
    for (unsigned n = 0; n < 2048; n++)
        ((volatile uint32_t *)directories)[n] = n << 12 | P | W | U;
    for (unsigned n = 0; n < 2; n++)
        directory[n] = (uint32_t)directories[n] | P | W | U;
    write_cr4(read_cr4() & ~(unsigned long)CR4_PSE);
    EXPECT_EQ(read_at(WINDOW), 0xf2);
}

static void globals(void)
{
    start_32();
    write_cr4(read_cr4() | CR4_PGE);
    map(0, 1, P | G);
    map(1, 1, P);
    EXPECT_EQ(read_at(WINDOW), 0xf1);
    EXPECT_EQ(read_at(WINDOW + 4096), 0xf1);
    table[0] = (uint32_t)frames[2] | P | G;
    table[1] = (uint32_t)frames[2] | P;
    write_cr3(read_cr3());
    EXPECT_EQ(read_at(WINDOW + 4096), 0xf2);
    write_cr4(read_cr4() & ~(unsigned long)CR4_PGE);
    EXPECT_EQ(read_at(WINDOW), 0xf2);
}

static void off_and_on(void)
{
    start_32();
    map(0, 1, P);
    EXPECT_EQ(read_at(WINDOW), 0xf1);
    write_cr0(read_cr0() & ~(unsigned long)CR0_PG);
    directory[WINDOW >> 22] = 0;
    write_cr0(read_cr0() | CR0_PG);
    TRY_FAULT(PF, 0, "mov (%0), %%eax", : : "r"(WINDOW) : "eax");
    context("without protection");
    TRY_FAULT(GP, 0, "mov %0, %%cr0", : : "r"(CR0_PG | 0x10));
}

/* Fetching: the limit of CS goes before the page (SDM 3A table 6-2). */
static void limit_before_page(void)
{
    static struct {
        uint32_t offset;
        uint16_t selector;
    } __attribute__((packed)) pointer = {WINDOW + 0xfff, SEL(0)};

    start_32();
    map(0, 1, P | W);
    frames[1][0xfff] = 0x90;
    gdt_set(SEL(0), descriptor(0, WINDOW >> 12, ACC_P | ACC_CODE | ACC_R, SEG_G | SEG_D));
    TRY("lcall *%0", : : "m"(pointer));
    EXPECT_TRAP(GP, 0);
    EXPECT_EQ(trap.ip, WINDOW + 0x1000);
    context("an instruction across the limit");
    frames[1][0xfff] = 0x66;
    TRY("lcall *%0", : : "m"(pointer));
    EXPECT_TRAP(GP, 0);
    EXPECT_EQ(trap.ip, WINDOW + 0xfff);
    context("the limit in the second page");
    map(1, 2, P | W);
    frames[1][0xffe] = 0xb8; /* MOV EAX, imm32 */
    gdt_set(SEL(0), descriptor(WINDOW, 0x1002, ACC_P | ACC_CODE | ACC_R, SEG_D));
    pointer.offset = 0xffe;
    TRY("lcall *%0", : : "m"(pointer));
    EXPECT_TRAP(GP, 0);
    EXPECT_EQ(trap.ip, 0x1003); /* behind it */
    frames[2][3] = 0xcb;        /* RETF */
    gdt_set(SEL(0), descriptor(WINDOW, 0x1003, ACC_P | ACC_CODE | ACC_R, SEG_D));
    TRY_OK("lcall *%0", : : "m"(pointer) : "eax");
    gdt_set(SEL(0), descriptor(WINDOW, 0x1001, ACC_P | ACC_CODE | ACC_R, SEG_D));
    TRY("lcall *%0", : : "m"(pointer));
    EXPECT_TRAP(GP, 0);
    EXPECT_EQ(trap.ip, 0xffe);
    pointer.offset = WINDOW + 0xfff;
    map(1, 2, 0);
    context("inside the limit: the page");
    gdt_set(SEL(0), FLAT_CODE32(0));
    TRY("lcall *%0", : : "m"(pointer));
    EXPECT_TRAP(PF, 0);
    EXPECT_EQ(trap.ip, WINDOW + 0xfff);
    EXPECT_EQ(trap.cr2, WINDOW + 0x1000);
    context("data: the limit, then the page");
    gdt_set(SEL(1), descriptor(0, WINDOW >> 12, ACC_P | ACC_DATA | ACC_W, SEG_G | SEG_D));
    asm volatile("mov %w0, %%fs" : : "r"(SEL(1)));
    TRY_FAULT(GP, 0, "movl %%fs:0x40001000, %%eax", : : : "eax");
    TRY_FAULT(GP, 0, "movl %%fs:0x40000ffe, %%eax", : : : "eax");
    TRY_FAULT(PF, 0, "movl %%ds:0x40001000, %%eax", : : : "eax");
    asm volatile("push %ds\n pop %fs");
}

/* ---- PAE ---- */

static void start_pae(void)
{
    for (unsigned k = 0; k < 4; k++) {
        pdpt[k] = (uint32_t)directories[k] | P;
        for (unsigned n = 0; n < 512; n++)
            directories[k][n] = 0;
    }
    for (unsigned n = 0; n < 8; n++)
        directories[0][n] = (uint64_t)n << 21 | P | W | U | PS;
    for (unsigned n = 0; n < 512; n++)
        table_pae[n] = 0;
    directories[1][0] = (uint32_t)table_pae | P | W | U;
    table_pae[0] = (uint32_t)frames[1] | P | W | U;
    for (unsigned n = 0; n < 4; n++)
        *(volatile uint32_t *)frames[n] = 0xf0 + n;
    write_cr4(read_cr4() | CR4_PAE);
    write_cr3((uint32_t)pdpt);
    write_cr0(read_cr0() | CR0_PG);
}

static void pae(void)
{
    start_pae();
    EXPECT_EQ(read_at(WINDOW), 0xf1);
    EXPECT_EQ(table_pae[0] & (A | D), A);
    EXPECT_EQ(pdpt[1], (uint32_t)directories[1] | P); /* no A bit */
    context("2 MiB");
    directories[1][1] = 0x600000 | P | W | PS;
    *(volatile uint32_t *)0x6abcd0 = 0x66;
    EXPECT_EQ(read_at(WINDOW + 0x2abcd0), 0x66);
    directories[1][1] |= 1 << 13;
    write_cr3(read_cr3());
    TRY_FAULT(PF, PF_P | PF_RSVD, "mov (%0), %%eax", : : "r"(WINDOW + 0x200000) : "eax");
    context("reserved bits of a page");
    table_pae[0] |= 1ull << 62;
    write_cr3(read_cr3());
    TRY_FAULT(PF, PF_P | PF_RSVD, "mov (%0), %%eax", : : "r"(WINDOW) : "eax");
    table_pae[0] ^= 3ull << 62; /* NX, with EFER.NXE clear */
    write_cr3(read_cr3());
    TRY_FAULT(PF, PF_P | PF_RSVD, "mov (%0), %%eax", : : "r"(WINDOW) : "eax");
    if (HAS_EXTD(20)) {
        context("NX");
        wrmsr(MSR_EFER, EFER_NXE);
        write_cr3(read_cr3());
        EXPECT_EQ(read_at(WINDOW), 0xf1);
        TRY("call *%0", : : "r"(WINDOW));
        EXPECT_TRAP(PF, PF_P | PF_I);
        table_pae[0] = 0;
        invlpg((void *)WINDOW);
        TRY("call *%0", : : "r"(WINDOW));
        EXPECT_TRAP(PF, PF_I);
        wrmsr(MSR_EFER, 0);
    }
}

/* The four PDPTEs are loaded with CR3 and stay; reserved bits make the load fail. */
static void pdptes(void)
{
    unsigned long cr3;

    start_pae();
    context("a change of a PDPTE is not seen");
    pdpt[1] = 0;
    invlpg((void *)WINDOW);
    EXPECT_EQ(read_at(WINDOW), 0xf1);
    context("until CR3 is loaded");
    cr3 = read_cr3();
    write_cr3(cr3);
    TRY_FAULT(PF, 0, "mov (%0), %%eax", : : "r"(WINDOW) : "eax");
    context("reserved bits");
    for (unsigned bit = 1; bit < 64; bit++) {
        bool reserved = bit == 1 || bit == 2 || (bit >= 5 && bit <= 8) || bit >= 52;

        if (bit >= 36 && bit < 52)
            continue; /* depends on the physical address width */
        context("bit %u", bit);
        pdpt[2] = (uint32_t)directories[2] | P | 1ull << bit;
        TRY("mov %0, %%cr3", : : "r"(cr3));
        if (reserved)
            EXPECT_FAULT(GP, 0);
        else
            EXPECT_NO_TRAP();
        pdpt[2] &= ~(uint64_t)P; /* absent: anything goes */
        TRY_OK("mov %0, %%cr3", : : "r"(cr3));
    }
    context("CR0 and CR4");
    pdpt[2] = (uint32_t)directories[2] | P | W;
    TRY_FAULT(GP, 0, "mov %0, %%cr4", : : "r"(read_cr4() ^ CR4_PGE));
    write_cr0(read_cr0() & ~(unsigned long)CR0_PG);
    TRY_FAULT(GP, 0, "mov %0, %%cr0", : : "r"(read_cr0() | CR0_PG));
    pdpt[2] = 0;
    TRY_OK("mov %0, %%cr0", : : "r"(read_cr0() | CR0_PG));
    context("CR3 need not be page aligned");
    EXPECT_EQ(read_cr3() & 31, 0);
}

const struct test_case cases[] = {
    {"two levels", two_levels},
    {"rights", rights},
    {"large pages", large},
    {"global pages", globals},
    {"off and on", off_and_on},
    {"PAE", pae},
    {"limits before pages", limit_before_page},
    {"PDPTEs", pdptes},
};
PROGRAM("paging32");
