/* Four-level paging: rights, A and D bits, large pages, reserved bits, invalidation (SDM 3A
 * chapter 4). */
#include "paging.h"
#include "segments.h"

/* ---- Rights ---- */

enum access { READ, WRITE, FETCH, ACCESSES };
static const char *const access_names[] = {"read", "write", "fetch"};

/* Code of the test frames: at 0 for CPL 0, at 16 for CPL 3. */
static void frame_code(void)
{
    for (unsigned n = 0; n < FRAMES; n++) {
        frames[n][0] = 0xc3;
        frames[n][16] = 0xcd;
        frames[n][17] = VECTOR_RETURN;
    }
}

USER_CODE(user_read, "mov (%rax), %ebx");
USER_CODE(user_write, "movb $0x55, 64(%rax)");

static void try_access(uint64_t address, enum access access, bool user)
{
    if (user) {
        user_regs[UAX] = address;
        run_user(access == READ ? user_read : access == WRITE ? user_write : (char *)address + 16);
        if (trap.vector == VECTOR_RETURN)
            trap.vector = NO_TRAP;
    } else if (access == READ) {
        TRY("mov (%0), %%ebx", : : "r"(address) : "ebx");
    } else if (access == WRITE) {
        TRY("movb $0x55, 64(%0)", : : "r"(address));
    } else {
        TRY("call *%0", : : "r"(address));
    }
}

static void expect_access(uint64_t address, enum access access, bool user, bool faults,
                          unsigned code)
{
    try_access(address, access, user);
    if (!faults) {
        EXPECT_NO_TRAP();
        return;
    }
    EXPECT_TRAP(PF, code |
                        (access == WRITE   ? PF_W
                         : access == FETCH ? PF_FETCH
                                           : 0) |
                        (user ? PF_U : 0));
    EXPECT_EQ(trap.cr2, address + (access == WRITE ? 64 : access == FETCH && user ? 16 : 0));
}

/* Every combination of rights, taken away at one level of the walk or at none. */
static void rights_matrix(void)
{
    frame_code();
    for (unsigned n = 0; n < 5 * 8 * 2; n++) {
        unsigned level = n % 5, bits = n / 5 % 8;
        bool wp = n / 40, u = bits & 1, w = bits & 2, nx = bits & 4;
        uint64_t rights = PTE_P | (u ? PTE_U : 0) | (w ? PTE_W : 0) | (nx ? PTE_NX : 0);

        if ((level == 0 && bits != 3) || (nx && !HAS_NX))
            continue;
        window_map(0, frame_pa(0), PTE_P | PTE_W | PTE_U);
        if (level != 0)
            window_limit(level, rights);
        write_cr0(wp ? read_cr0() | CR0_WP : read_cr0() & ~(unsigned long)CR0_WP);
        window_flush();
        for (unsigned user = 0; user < 2; user++)
            for (unsigned access = READ; access < ACCESSES; access++) {
                bool faults = (user && !u) || (access == WRITE && !w && (user || wp)) ||
                              (access == FETCH && nx);

                context("%s by %s, level %u has%s%s%s, WP %d", access_names[access],
                        user ? "user" : "supervisor", level, u ? " U" : "", w ? " W" : "",
                        nx ? " NX" : "", wp);
                expect_access(WINDOW, access, user, faults, PF_P);
            }
    }
}

static void not_present(void)
{
    frame_code();
    for (unsigned level = 1; level <= 4; level++)
        for (unsigned user = 0; user < 2; user++)
            for (unsigned access = READ; access < ACCESSES; access++) {
                context("%s by %s, absent at level %u", access_names[access],
                        user ? "user" : "supervisor", level);
                window_map(0, frame_pa(0), PTE_P | PTE_W | PTE_U);
                window_limit(level, PTE_W | PTE_U);
                window_flush();
                expect_access(WINDOW, access, user, true, 0);
            }
}

static void reserved_bits(void)
{
    unsigned physical = cpuid(0x80000008, 0).a & 0xff;

    frame_code();
    for (unsigned level = 1; level <= 4; level++) {
        if (physical >= 52)
            break;
        context("bit 51 at level %u", level);
        window_map(0, frame_pa(0), PTE_P | PTE_W | PTE_U);
        *window_entry(level) |= 1ull << 51;
        window_flush();
        expect_access(WINDOW, READ, false, true, PF_P | PF_RSVD);
        expect_access(WINDOW, WRITE, true, true, PF_P | PF_RSVD);
        expect_access(WINDOW, FETCH, true, true, PF_P | PF_RSVD);
        context("bit %u at level %u", physical, level);
        *window_entry(level) ^= 1ull << 51 | 1ull << physical;
        window_flush();
        expect_access(WINDOW, READ, false, true, PF_P | PF_RSVD);
        context("the same in an absent entry");
        *window_entry(level) &= ~(uint64_t)PTE_P;
        window_flush();
        expect_access(WINDOW, READ, false, true, 0);
    }
    context("PS in a PML4 entry");
    window_map(0, frame_pa(0), PTE_P | PTE_W | PTE_U);
    *window_entry(4) |= PTE_PS;
    window_flush();
    expect_access(WINDOW, READ, false, true, PF_P | PF_RSVD);
    context("low address bits of a 2 MiB page");
    window_map(0, frame_pa(0), PTE_P | PTE_W | PTE_U);
    *window_entry(2) = 0x400000 | PTE_P | PTE_W | PTE_U | PTE_PS | 1 << 13;
    window_flush();
    expect_access(WINDOW, READ, false, true, PF_P | PF_RSVD);
    *window_entry(2) = 0x400000 | PTE_P | PTE_W | PTE_U | PTE_PS | 1 << 12; /* PAT */
    window_flush();
    expect_access(WINDOW, READ, false, false, 0);
    context("NX without EFER.NXE");
    window_map(0, frame_pa(0), PTE_P | PTE_W | PTE_U | PTE_NX);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~(uint64_t)EFER_NXE);
    window_flush();
    expect_access(WINDOW, READ, false, true, PF_P | PF_RSVD);
    context("no I bit in error codes without EFER.NXE");
    TRY("call *%0", : : "r"(WINDOW));
    EXPECT_TRAP(PF, PF_P | PF_RSVD);
    if (!HAS_NX) {
        TRY_FAULT(GP, 0, "wrmsr", : : "c"(MSR_EFER), "a"(EFER_LME | EFER_LMA | EFER_NXE), "d"(0));
        return;
    }
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
    window_flush();
    expect_access(WINDOW, READ, false, false, 0);
}

/* ---- Accessed and dirty ---- */

static void accessed_dirty(void)
{
    window_map(0, frame_pa(0), PTE_P | PTE_W | PTE_U);
    for (unsigned level = 1; level <= 4; level++)
        EXPECT_EQ(*window_entry(level) & (PTE_A | PTE_D), 0);
    window_flush();
    *(volatile char *)WINDOW;
    for (unsigned level = 1; level <= 4; level++) {
        context("read, level %u", level);
        EXPECT_EQ(*window_entry(level) & (PTE_A | PTE_D), PTE_A);
    }
    context("write after a read");
    *(volatile char *)WINDOW = 1;
    EXPECT_EQ(*window_entry(1) & (PTE_A | PTE_D), PTE_A | PTE_D);
    EXPECT_EQ(*window_entry(2) & (PTE_A | PTE_D), PTE_A);
    context("cleared and invalidated: set again");
    *window_entry(1) &= ~(uint64_t)(PTE_A | PTE_D);
    invlpg((void *)WINDOW);
    *(volatile char *)WINDOW;
    EXPECT_EQ(*window_entry(1) & (PTE_A | PTE_D), PTE_A);
    *window_entry(1) &= ~(uint64_t)PTE_A;
    invlpg((void *)WINDOW);
    *(volatile char *)WINDOW = 2;
    EXPECT_EQ(*window_entry(1) & (PTE_A | PTE_D), PTE_A | PTE_D);
    context("a write that faults does not set D");
    window_map(0, frame_pa(0), PTE_P | PTE_U);
    window_flush();
    TRY("movb $1, (%0)", : : "r"(WINDOW));
    EXPECT_FAULT(PF, PF_P | PF_W);
    EXPECT_EQ(*window_entry(1) & PTE_D, 0);
    context("fetch");
    frame_code();
    window_map(0, frame_pa(0), PTE_P | PTE_U);
    window_flush();
    TRY_OK("call *%0", : : "r"(WINDOW));
    EXPECT_EQ(*window_entry(1) & (PTE_A | PTE_D), PTE_A);
    context("2 MiB page");
    window_map(0, frame_pa(0), PTE_P | PTE_W | PTE_U);
    *window_entry(2) = 0x400000 | PTE_P | PTE_W | PTE_PS;
    window_flush();
    *(volatile char *)(WINDOW + 0x12345);
    EXPECT_EQ(*window_entry(2) & (PTE_A | PTE_D), PTE_A);
    *(volatile char *)(WINDOW + 0x54321) = 1;
    EXPECT_EQ(*window_entry(2) & (PTE_A | PTE_D), PTE_A | PTE_D);
    context("other bits stay");
    window_map(0, frame_pa(0), PTE_P | PTE_W | PTE_U);
    *window_entry(1) |= 0x7f0000000000e00 & ~PTE_PKEY; /* available to software */
    window_flush();
    *(volatile char *)WINDOW = 1;
    EXPECT_EQ(*window_entry(1) & 0x7f0000000000e00, 0x7f0000000000e00 & ~PTE_PKEY);
}

/* Which accesses count as writes. */
static void write_kinds(void)
{
    uint64_t w = WINDOW;

    window_map(0, frame_pa(0), PTE_P);
    window_flush();
    TRY_FAULT(PF, PF_P | PF_W, "addl $1, (%0)", : : "r"(w));
    TRY_FAULT(PF, PF_P | PF_W, "lock orl $1, (%0)", : : "r"(w));
    TRY_FAULT(PF, PF_P | PF_W, "xchg %%eax, (%0)", : : "r"(w) : "eax");
    TRY_FAULT(PF, PF_P | PF_W, "cmpxchg %%ebx, (%0)", : : "r"(w), "a"(0x12345678));
    TRY_FAULT(PF, PF_P | PF_W, "lock cmpxchg8b (%0)", : : "r"(w), "a"(1), "d"(1), "b"(1), "c"(1));
    TRY_FAULT(PF, PF_P | PF_W, "btsl $1, (%0)", : : "r"(w));
    TRY_FAULT(PF, PF_P | PF_W, "sete (%0)", : : "r"(w));
    TRY_FAULT(PF, PF_P | PF_W, "shll $1, (%0)", : : "r"(w));
    TRY_FAULT(PF, PF_P | PF_W, "popq (%0)", : : "r"(w));
    TRY_FAULT(PF, PF_P | PF_W, "rep stosb", : : "D"(w), "c"(1ull), "a"(0));
    TRY_FAULT(PF, PF_P | PF_W, "sgdt (%0)", : : "r"(w));
    TRY_FAULT(PF, PF_P | PF_W, "movnti %%eax, (%0)", : : "r"(w));
    TRY_FAULT(PF, PF_P | PF_W, "mov %%ds, (%0)", : : "r"(w));
    TRY_OK("btl $1, (%0)", : : "r"(w));
    TRY_OK("cmpl $1, (%0)", : : "r"(w));
    TRY_OK("testl $1, (%0)", : : "r"(w));
    TRY_OK("pushq (%0)", : : "r"(w));
    TRY_OK("lods", : : "S"(w) : "rax");
    EXPECT_EQ(*window_entry(1) & PTE_D, 0);
}

/* ---- Large pages, straddling ---- */

static void large_pages(void)
{
    volatile uint32_t *low = (volatile uint32_t *)0x400000, *high = (volatile uint32_t *)0x5ffffc;

    *low = 0x11111111;
    *high = 0x22222222;
    window_map(0, frame_pa(0), PTE_P | PTE_W);
    *window_entry(2) = 0x400000 | PTE_P | PTE_W | PTE_PS;
    window_flush();
    EXPECT_EQ(*(volatile uint32_t *)WINDOW, 0x11111111);
    EXPECT_EQ(*(volatile uint32_t *)(WINDOW + 0x1ffffc), 0x22222222);
    context("invalidated through another address");
    *window_entry(2) = 0x600000 | PTE_P | PTE_W | PTE_PS;
    *(volatile uint32_t *)0x600000 = 0x33333333;
    invlpg((void *)(WINDOW + 0x100000));
    EXPECT_EQ(*(volatile uint32_t *)WINDOW, 0x33333333);
    if (!HAS_EXTD(26)) {
        context("1 GiB without the feature");
        *window_entry(3) = PTE_P | PTE_W | PTE_PS;
        window_flush();
        TRY("movl (%0), %%eax", : : "r"(WINDOW) : "eax");
        EXPECT_FAULT(PF, PF_P | PF_RSVD);
        return;
    }
    context("1 GiB");
    *window_entry(3) = PTE_P | PTE_W | PTE_PS;
    window_flush();
    EXPECT_EQ(*(volatile uint32_t *)(WINDOW + 0x5ffffc), 0x22222222);
    *(volatile uint32_t *)(WINDOW + 0x700000) = 0x77777777;
    EXPECT_EQ(*(volatile uint32_t *)0x700000, 0x77777777);
    EXPECT_EQ(*window_entry(3) & (PTE_A | PTE_D), PTE_A | PTE_D);
    *window_entry(3) |= 1 << 13;
    window_flush();
    TRY("movl (%0), %%eax", : : "r"(WINDOW) : "eax");
    EXPECT_FAULT(PF, PF_P | PF_RSVD);
}

/* Two pages in a row that are not neighbours in memory. */
static void straddling(void)
{
    uint64_t edge = WINDOW + 0x1000, a;

    for (unsigned n = 0; n < 8; n++) {
        frames[0][0xff8 + n] = (uint8_t)(0x10 + n);
        frames[2][n] = (uint8_t)(0x20 + n);
    }
    window_map(0, frame_pa(0), PTE_P | PTE_W);
    window_map(1, frame_pa(2), PTE_P | PTE_W);
    window_flush();
    TRY_OK("mov (%1), %0", : "=r"(a) : "r"(edge - 3));
    EXPECT_EQ(a, 0x2423222120171615);
    TRY_OK("mov %0, (%1)", : : "r"(0x8877665544332211), "r"(edge - 5));
    EXPECT_EQ(frames[0][0xffb], 0x11);
    EXPECT_EQ(frames[0][0xfff], 0x55);
    EXPECT_EQ(frames[2][0], 0x66);
    EXPECT_EQ(frames[2][2], 0x88);
    TRY_OK("lock addq $1, (%0)", : : "r"(edge - 5));
    EXPECT_EQ(frames[0][0xffb], 0x12);
    context("second page read-only: nothing is written");
    window_map(1, frame_pa(2), PTE_P);
    window_flush();
    TRY_FAULT(PF, PF_P | PF_W, "mov %0, (%1)", : : "r"(0ull), "r"(edge - 5));
    EXPECT_EQ(trap.cr2, edge);
    EXPECT_EQ(frames[0][0xffb], 0x12);
    EXPECT_EQ(frames[0][0xfff], 0x55);
    TRY_FAULT(PF, PF_P | PF_W, "addq $1, (%0)", : : "r"(edge - 1));
    EXPECT_EQ(trap.cr2, edge);
    EXPECT_EQ(frames[0][0xfff], 0x55);
    context("second page absent");
    window_map(1, 0, 0);
    window_flush();
    TRY_FAULT(PF, 0, "mov (%1), %0", : "=r"(a) : "r"(edge - 1));
    EXPECT_EQ(trap.cr2, edge);
    TRY_FAULT(PF, PF_W, "movw $0, (%0)", : : "r"(edge - 1));
    EXPECT_EQ(trap.cr2, edge);
    EXPECT_EQ(frames[0][0xfff], 0x55);
    context("first page absent");
    window_map(0, 0, 0);
    window_map(1, frame_pa(2), PTE_P | PTE_W);
    window_flush();
    TRY_FAULT(PF, 0, "mov (%1), %0", : "=r"(a) : "r"(edge - 3));
    EXPECT_EQ(trap.cr2, edge - 3);
}

/* An instruction that lies across two pages. */
static void straddling_code(void)
{
    static const uint8_t code[] = {0xb8, 0x44, 0x33, 0x22, 0x11, 0xc3}; /* MOV EAX, imm; RET */
    uint32_t a;

    for (unsigned first = 1; first < 5; first++) {
        uint64_t entry = WINDOW + 0x1000 - first;

        context("%u bytes on the first page", first);
        for (unsigned n = 0; n < sizeof(code); n++)
            frames[n < first ? 0 : 2][n < first ? 0x1000 - first + n : n - first] = code[n];
        window_map(0, frame_pa(0), PTE_P | PTE_U);
        window_map(1, frame_pa(2), PTE_P | PTE_U);
        window_flush();
        TRY_OK("call *%1", : "=a"(a) : "r"(entry));
        EXPECT_EQ(a, 0x11223344);
        frames[2][0] += 1; /* part of the immediate */
        TRY_OK("call *%1", : "=a"(a) : "r"(entry));
        EXPECT_EQ(a, 0x11223344 + (1u << 8 * (first - 1)));
        context("second page absent");
        window_map(1, 0, 0);
        invlpg((void *)(WINDOW + 0x1000));
        TRY("call *%0", : : "r"(entry) : "eax");
        EXPECT_TRAP(PF, PF_FETCH);
        EXPECT_EQ(trap.ip, entry);
        EXPECT_EQ(trap.cr2, WINDOW + 0x1000);
        context("second page another frame");
        for (unsigned n = first; n < sizeof(code); n++)
            frames[4][n - first] = n == 1 || n == first ? 0x99 : code[n];
        window_map(1, frame_pa(4), PTE_P | PTE_U);
        invlpg((void *)(WINDOW + 0x1000));
        TRY_OK("call *%1", : "=a"(a) : "r"(entry));
        EXPECT_EQ(a >> (8 * (first - 1)) & 0xff, 0x99);
        if (!HAS_NX)
            continue;
        context("second page not executable");
        window_map(1, frame_pa(4), PTE_P | PTE_NX);
        invlpg((void *)(WINDOW + 0x1000));
        TRY("call *%0", : : "r"(entry) : "eax");
        EXPECT_TRAP(PF, PF_P | PF_I);
        EXPECT_EQ(trap.cr2, WINDOW + 0x1000);
    }
}

/* ---- Invalidation ---- */

static void invalidation(void)
{
    volatile uint32_t *w = (volatile uint32_t *)WINDOW;

    *(volatile uint32_t *)frames[0] = 0xa0;
    *(volatile uint32_t *)frames[1] = 0xa1;
    window_map(0, frame_pa(0), PTE_P | PTE_W);
    window_flush();
    EXPECT_EQ(*w, 0xa0);
    window_map(0, frame_pa(1), PTE_P | PTE_W);
    invlpg(w);
    EXPECT_EQ(*w, 0xa1);
    context("CR3");
    window_map(0, frame_pa(0), PTE_P | PTE_W);
    write_cr3(read_cr3());
    EXPECT_EQ(*w, 0xa0);
    context("absent to present needs none");
    window_map(0, 0, 0);
    invlpg(w);
    TRY("movl (%0), %%eax", : : "r"(w) : "eax");
    EXPECT_FAULT(PF, 0);
    window_map(0, frame_pa(1), PTE_P);
    EXPECT_EQ(*w, 0xa1);
    context("a spurious fault is taken once");
    TRY("movl $1, (%0)", : : "r"(w));
    EXPECT_FAULT(PF, PF_P | PF_W);
    window_map(0, frame_pa(1), PTE_P | PTE_W);
    TRY("movl $0xa1, (%0)", : : "r"(w)); /* the fault may come again, and invalidates */
    TRY_OK("movl $0xa1, (%0)", : : "r"(w));
    context("tables in the middle");
    *window_entry(2) = 0x400000 | PTE_P | PTE_W | PTE_PS;
    *(volatile uint32_t *)0x400000 = 0xb0;
    invlpg(w);
    EXPECT_EQ(*w, 0xb0);
    window_map(0, frame_pa(0), PTE_P | PTE_W);
    invlpg(w);
    EXPECT_EQ(*w, 0xa0);
    context("through the window itself");
    window_map(1, (uint64_t)window_entry(1), PTE_P | PTE_W); /* the table maps its own page */
    window_flush();
    EXPECT_EQ(*w, 0xa0);
    *(volatile uint64_t *)(WINDOW + 0x1000) = frame_pa(1) | PTE_P | PTE_W;
    invlpg(w);
    EXPECT_EQ(*w, 0xa1);
}

static void global_pages(void)
{
    volatile uint32_t *w = (volatile uint32_t *)WINDOW;

    *(volatile uint32_t *)frames[0] = 0xa0;
    *(volatile uint32_t *)frames[1] = 0xa1;
    write_cr4(read_cr4() | CR4_PGE);
    window_map(0, frame_pa(0), PTE_P | PTE_W | PTE_G);
    window_flush();
    EXPECT_EQ(*w, 0xa0);
    window_map(0, frame_pa(1), PTE_P | PTE_W | PTE_G);
    invlpg(w);
    EXPECT_EQ(*w, 0xa1);
    window_map(0, frame_pa(0), PTE_P | PTE_W | PTE_G);
    write_cr4(read_cr4() & ~(unsigned long)CR4_PGE);
    EXPECT_EQ(*w, 0xa0);
    write_cr4(read_cr4() | CR4_PGE);
    EXPECT_EQ(*w, 0xa0);
    window_map(0, frame_pa(1), PTE_P | PTE_W | PTE_G);
    write_cr4(read_cr4() & ~(unsigned long)CR4_PGE);
    EXPECT_EQ(*w, 0xa1);
    context("not global beside global");
    write_cr4(read_cr4() | CR4_PGE);
    window_map(1, frame_pa(0), PTE_P | PTE_W);
    invlpg(&w[1024]);
    EXPECT_EQ(w[1024], 0xa0);
    window_map(1, frame_pa(1), PTE_P | PTE_W);
    write_cr3(read_cr3());
    EXPECT_EQ(w[1024], 0xa1);
}

const struct test_case cases[] = {
    {"rights", rights_matrix},
    {"absent entries", not_present},
    {"reserved bits", reserved_bits},
    {"accessed and dirty", accessed_dirty},
    {"what is a write", write_kinds},
    {"large pages", large_pages},
    {"accesses across pages", straddling},
    {"instructions across pages", straddling_code},
    {"invalidation", invalidation},
    {"global pages", global_pages},
};
PROGRAM("paging");
