/*
 * What keeps the supervisor from the user's pages, and both from pages with a protection key: SMEP,
 * SMAP with EFLAGS.AC and implicit accesses, PKU (SDM 3A 4.6).
 */
#include "paging.h"
#include "segments.h"

static void code_in_frames(void)
{
    frames[0][0] = 0xc3; /* RET */
    frames[0][16] = 0xcd;
    frames[0][17] = VECTOR_RETURN;
}

USER_CODE(user_read, "mov (%rax), %ebx");
USER_CODE(user_write, "movb $0x55, 64(%rax)");

static void run_at(const char *code, uint64_t address)
{
    user_regs[UAX] = address;
    run_user(code);
}

static void smep(void)
{
    if (!HAS_7B(7)) {
        TRY_FAULT(GP, 0, "mov %0, %%cr4", : : "r"(read_cr4() | CR4_SMEP));
        skip("no SMEP");
        return;
    }
    code_in_frames();
    window_map(0, frame_pa(0), PTE_P | PTE_U);
    window_flush();
    TRY_OK("call *%0", : : "r"(WINDOW));
    write_cr4(read_cr4() | CR4_SMEP); /* invalidates */
    TRY("call *%0", : : "r"(WINDOW));
    EXPECT_TRAP(PF, PF_P | PF_I);
    TRY_OK("mov (%0), %%eax", : : "r"(WINDOW) : "eax");
    context("the user may");
    run_user((const char *)WINDOW + 16);
    EXPECT_RETURN();
    context("one level without U is enough");
    for (unsigned level = 1; level <= 4; level++) {
        window_map(0, frame_pa(0), PTE_P | PTE_U);
        window_limit(level, PTE_P | PTE_W);
        window_flush();
        TRY_OK("call *%0", : : "r"(WINDOW));
    }
    context("I without NXE");
    window_map(0, frame_pa(0), PTE_P | PTE_U);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~(uint64_t)EFER_NXE);
    window_flush();
    TRY("call *%0", : : "r"(WINDOW));
    EXPECT_TRAP(PF, PF_P | PF_I);
    window_map(0, 0, 0);
    window_flush();
    TRY("call *%0", : : "r"(WINDOW));
    EXPECT_TRAP(PF, PF_I);
    if (HAS_NX)
        wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
}

static void smap(void)
{
    if (!HAS_7B(20)) {
        TRY_FAULT(GP, 0, "mov %0, %%cr4", : : "r"(read_cr4() | CR4_SMAP));
        TRY_FAULT(UD, 0, "clac", :);
        TRY_FAULT(UD, 0, "stac", :);
        skip("no SMAP");
        return;
    }
    code_in_frames();
    window_map(0, frame_pa(0), PTE_P | PTE_W | PTE_U);
    window_flush();
    TRY_OK("mov (%0), %%eax", : : "r"(WINDOW) : "eax");
    write_cr4(read_cr4() | CR4_SMAP);
    TRY_FAULT(PF, PF_P, "mov (%0), %%eax", : : "r"(WINDOW) : "eax");
    TRY_FAULT(PF, PF_P | PF_W, "movb $1, 64(%0)", : : "r"(WINDOW));
    EXPECT_EQ(trap.cr2, WINDOW + 64);
    context("fetching is not SMAP's");
    TRY_OK("call *%0", : : "r"(WINDOW));
    context("AC");
    TRY_OK("stac\n mov (%0), %%eax\n movb $1, 64(%0)\n clac", : : "r"(WINDOW) : "eax");
    TRY("stac\n mov (%0), %%eax\n clac\n mov (%0), %%eax", : : "r"(WINDOW) : "eax");
    EXPECT_TRAP(PF, PF_P);
    EXPECT_EQ(trap.flags & FL_AC, 0);
    TRY_OK("pushf\n orl $0x40000, (%%rsp)\n popfq\n mov (%0), %%eax\n clac",
           :
           : "r"(WINDOW)
           : "eax");
    context("REP across what becomes forbidden");
    window_map(1, frame_pa(1), PTE_P | PTE_W);
    window_flush();
    TRY_OK("rep lodsb", : : "S"(WINDOW + 0x1000), "c"(16) : "eax");
    context("the user");
    run_at(user_read, WINDOW);
    EXPECT_RETURN();
    run_at(user_write, WINDOW);
    EXPECT_RETURN();
    context("WP clear");
    write_cr0(read_cr0() & ~(unsigned long)CR0_WP);
    TRY_FAULT(PF, PF_P | PF_W, "movb $1, 64(%0)", : : "r"(WINDOW));
    write_cr0(read_cr0() | CR0_WP);
    context("privilege of CLAC");
    EXPECT_EQ(read_flags() & FL_AC, 0);
}

USER_CODE(user_stac, "stac");
USER_CODE(user_fs, "mov %eax, %fs");

/* Accesses of the processor to its tables are the supervisor's, and AC does not help when they come
 * from CPL 3. */
static void implicit(void)
{
    volatile uint64_t *table = (volatile uint64_t *)frames[2];

    if (!HAS_7B(20)) {
        skip("no SMAP");
        return;
    }
    run_user(user_stac);
    EXPECT_FAULT(UD, 0);
    context("a local descriptor table in the user's page");
    table[0] = FLAT_DATA(3) | 1ull << 40; /* A is set: nothing but reads */
    gdt_set(SEL(0), descriptor((uint32_t)WINDOW, 4095, ACC_P | ACC_LDT, 0));
    gdt_set(SEL(1), WINDOW >> 32);
    window_map(0, frame_pa(2), PTE_P | PTE_W | PTE_U);
    window_flush();
    asm volatile("lldt %w0" : : "r"(SEL(0)));
    TRY_OK("mov %0, %%fs", : : "r"(7));
    write_cr4(read_cr4() | CR4_SMAP);
    TRY_FAULT(PF, PF_P, "mov %0, %%fs", : : "r"(7));
    EXPECT_EQ(trap.cr2, WINDOW);
    context("AC allows explicit accesses only");
    TRY("stac\n mov (%1), %%eax\n mov %0, %%fs\n clac", : : "r"(7), "r"(WINDOW) : "eax");
    EXPECT_TRAP(PF, PF_P);
    asm volatile("clac");
    context("from CPL 3, where they are the supervisor's, too");
    user_regs[UAX] = 7;
    run_user(user_fs);
    EXPECT_FAULT(PF, PF_P);
    write_cr4(read_cr4() & ~(unsigned long)CR4_SMAP);
    run_user(user_fs);
    EXPECT_RETURN();
}

/* ---- Protection keys ---- */

static void wrpkru(uint32_t value)
{
    asm volatile(".byte 0x0f, 0x01, 0xef" : : "a"(value), "c"(0), "d"(0) : "memory");
}

static void keys(void)
{
    if (!HAS_7C(3)) {
        TRY_FAULT(GP, 0, "mov %0, %%cr4", : : "r"(read_cr4() | CR4_PKE));
        skip("no PKU");
        return;
    }
    TRY_FAULT(UD, 0, ".byte 0x0f, 0x01, 0xee", : : "c"(0) : "eax", "edx");
    TRY_FAULT(UD, 0, ".byte 0x0f, 0x01, 0xef", : : "a"(0), "c"(1), "d"(0));
    EXPECT_EQ(HAS_7C(4), 0);
    write_cr4(read_cr4() | CR4_PKE);
    EXPECT_EQ(HAS_7C(4), 1);
    TRY_FAULT(GP, 0, ".byte 0x0f, 0x01, 0xee", : : "c"(1) : "eax", "edx");
    TRY_FAULT(GP, 0, ".byte 0x0f, 0x01, 0xef", : : "a"(0), "c"(1), "d"(0));
    TRY_FAULT(GP, 0, ".byte 0x0f, 0x01, 0xef", : : "a"(0), "c"(0), "d"(1));
    code_in_frames();
    for (unsigned key = 0; key < 16; key += 5)
        for (unsigned rights = 0; rights < 4; rights++)
            for (unsigned user_page = 0; user_page < 2; user_page++) {
                bool ad = rights & 1, wd = rights & 2, u = user_page;
                uint32_t seen, high;

                context("key %u, rights %u, page of the %s", key, rights,
                        u ? "user" : "supervisor");
                window_map(0, frame_pa(0), PTE_P | PTE_W | (u ? PTE_U : 0) | (uint64_t)key << 59);
                window_flush();
                wrpkru(rights << 2 * key);
                asm volatile(".byte 0x0f, 0x01, 0xee" : "=a"(seen), "=d"(high) : "c"(0));
                EXPECT_EQ(seen, rights << 2 * key);
                EXPECT_EQ(high, 0);
                TRY("mov (%0), %%eax", : : "r"(WINDOW) : "eax");
                if (u && ad)
                    EXPECT_FAULT(PF, PF_P | PF_PK);
                else
                    EXPECT_NO_TRAP();
                TRY("movb $1, 64(%0)", : : "r"(WINDOW));
                if (u && (ad || wd))
                    EXPECT_FAULT(PF, PF_P | PF_W | PF_PK);
                else
                    EXPECT_NO_TRAP();
                TRY_OK("call *%0", : : "r"(WINDOW)); /* keys are for data */
                write_cr0(read_cr0() & ~(unsigned long)CR0_WP);
                TRY("movb $1, 64(%0)", : : "r"(WINDOW));
                if (u && ad)
                    EXPECT_FAULT(PF, PF_P | PF_W | PF_PK);
                else
                    EXPECT_NO_TRAP();
                write_cr0(read_cr0() | CR0_WP);
                if (u) {
                    run_at(user_read, WINDOW);
                    if (ad)
                        EXPECT_FAULT(PF, PF_P | PF_U | PF_PK);
                    else
                        EXPECT_RETURN();
                    run_at(user_write, WINDOW);
                    if (ad || wd)
                        EXPECT_FAULT(PF, PF_P | PF_U | PF_W | PF_PK);
                    else
                        EXPECT_RETURN();
                }
                wrpkru(0);
            }
    context("a protection fault of the page, too");
    window_map(0, frame_pa(0), PTE_P | PTE_U | 3ull << 59);
    window_flush();
    wrpkru(1u << 6);
    TRY_FAULT(PF, PF_P | PF_W | PF_PK, "movb $1, 64(%0)", : : "r"(WINDOW));
    context("PKE off");
    write_cr4(read_cr4() & ~(unsigned long)CR4_PKE);
    TRY_OK("mov (%0), %%eax", : : "r"(WINDOW) : "eax");
    write_cr4(read_cr4() | CR4_PKE);
    wrpkru(0);
}

const struct test_case cases[] = {
    {"SMEP", smep},
    {"SMAP", smap},
    {"implicit accesses", implicit},
    {"protection keys", keys},
};
PROGRAM("keys");
