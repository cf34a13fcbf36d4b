/*
 * Process-context identifiers: whose translations stay, and what invalidates which (SDM 3A 4.10).
 * That a translation stayed is allowed to be seen, never required: a program may only rely on what
 * is gone. So checks ask for the new mapping after each kind of invalidation.
 */
#include "paging.h"
#include "segments.h"

#define NO_FLUSH (1ull << 63)

static volatile uint32_t *const page = (volatile uint32_t *)WINDOW;

static void map(unsigned frame, uint64_t bits)
{
    window_map(0, frame_pa(frame), PTE_P | PTE_W | bits);
}

/* The same tables under another identifier; bit 63 keeps its translations. */
static void enter(unsigned pcid, bool keep)
{
    write_cr3((read_cr3() & ~0xfffull) | pcid | (keep ? NO_FLUSH : 0));
}

static void invpcid(uint64_t type, uint64_t pcid, const volatile void *address)
{
    struct {
        uint64_t pcid;
        const volatile void *address;
    } d = {pcid, address};

    asm volatile("invpcid %0, %1" : : "m"(d), "r"(type) : "memory");
}

static bool start(void)
{
    if (!HAS_1C(17)) {
        TRY_FAULT(GP, 0, "mov %0, %%cr4", : : "r"(read_cr4() | CR4_PCIDE));
        skip("no PCID");
        return false;
    }
    for (unsigned n = 0; n < FRAMES; n++)
        *(volatile uint32_t *)frames[n] = 0xa0 + n;
    write_cr4(read_cr4() | CR4_PCIDE | CR4_PGE);
    enter(0, false);
    return true;
}

static void stop(void)
{
    enter(0, false);
    write_cr4(read_cr4() & ~(uint64_t)(CR4_PCIDE | CR4_PGE));
}

static void registers(void)
{
    uint64_t cr3 = read_cr3();

    if (HAS_1C(17)) {
        context("CR3[11:0] must be clear when PCIDE is set");
        write_cr3(cr3 | 0x18);
        TRY_FAULT(GP, 0, "mov %0, %%cr4", : : "r"(read_cr4() | CR4_PCIDE));
        write_cr3(cr3);
    }
    if (!start())
        return;
    context("CR3");
    enter(0xabc, false);
    EXPECT_EQ(read_cr3() & 0xfff, 0xabc);
    enter(0x123, true);
    EXPECT_EQ(read_cr3() & (NO_FLUSH | 0xfff), 0x123); /* bit 63 reads as zero */
    TRY_FAULT(GP, 0, "mov %0, %%cr3", : : "r"(cr3 | 1ull << 62));
    context("PG with PCIDE");
    stop();
    TRY_FAULT(GP, 0, "mov %0, %%cr3", : : "r"(cr3 | NO_FLUSH));
}

static void separate(void)
{
    if (!start())
        return;
    map(0, 0);
    write_cr4(read_cr4() & ~(uint64_t)CR4_PGE); /* drops everything */
    write_cr4(read_cr4() | CR4_PGE);
    EXPECT_EQ(*page, 0xa0);
    context("another identifier sees the tables as they are");
    map(1, 0);
    enter(1, false);
    EXPECT_EQ(*page, 0xa1);
    context("a load without bit 63 drops the identifier's");
    map(2, 0);
    enter(0, false);
    EXPECT_EQ(*page, 0xa2);
    context("and only its own: the tables have changed for both");
    enter(1, false);
    EXPECT_EQ(*page, 0xa2);
    context("INVLPG is for the current one and for global pages");
    map(3, 0);
    invlpg(page);
    EXPECT_EQ(*page, 0xa3);
    context("clearing PCIDE drops everything");
    enter(0, true);
    map(4, PTE_G);
    stop();
    EXPECT_EQ(*page, 0xa4);
}

static void kinds(void)
{
    if (!start())
        return;
    if (!HAS_7B(10)) {
        stop();
        TRY_FAULT(UD, 0, "invpcid (%0), %1", : : "r"(frames[0]), "r"(0ull));
        skip("no INVPCID");
        return;
    }
    context("0: one address of one identifier");
    map(0, 0);
    invlpg(page);
    EXPECT_EQ(*page, 0xa0);
    map(1, 0);
    invpcid(0, 0, page);
    EXPECT_EQ(*page, 0xa1);
    context("0: from another identifier");
    map(2, 0);
    enter(5, false);
    invpcid(0, 0, page);
    enter(0, true);
    EXPECT_EQ(*page, 0xa2);
    context("1: all of one identifier");
    map(3, 0);
    enter(5, true);
    invpcid(1, 0, NULL);
    enter(0, true);
    EXPECT_EQ(*page, 0xa3);
    context("2: everything, global pages too");
    map(4, PTE_G);
    invpcid(2, 0, NULL);
    EXPECT_EQ(*page, 0xa4);
    map(5, PTE_G);
    enter(7, false);
    invpcid(2, 0xfff, NULL);
    EXPECT_EQ(*page, 0xa5);
    context("3: everything but global pages");
    map(6, 0);
    invpcid(2, 0, NULL);
    EXPECT_EQ(*page, 0xa6);
    map(7, 0);
    invpcid(3, 0, NULL);
    EXPECT_EQ(*page, 0xa7);
    stop();
}

static void operands(void)
{
    struct {
        uint64_t pcid, address;
    } d = {0, WINDOW};

    if (!HAS_7B(10)) {
        skip("no INVPCID");
        return;
    }
    TRY_FAULT(GP, 0, "invpcid %0, %1", : : "m"(d), "r"(4ull));
    TRY_FAULT(GP, 0, "invpcid %0, %1", : : "m"(d), "r"(1ull << 32));
    d.pcid = 0x1000;
    TRY_FAULT(GP, 0, "invpcid %0, %1", : : "m"(d), "r"(0ull));
    TRY_FAULT(GP, 0, "invpcid %0, %1", : : "m"(d), "r"(1ull));
    d.pcid = 1; /* without PCIDE only identifier 0 */
    TRY_FAULT(GP, 0, "invpcid %0, %1", : : "m"(d), "r"(0ull));
    TRY_FAULT(GP, 0, "invpcid %0, %1", : : "m"(d), "r"(1ull));
    d.pcid = 0;
    TRY_OK("invpcid %0, %1", : : "m"(d), "r"(0ull));
    TRY_OK("invpcid %0, %1", : : "m"(d), "r"(2ull));
    d.address = 0x800000000000;
    TRY_FAULT(GP, 0, "invpcid %0, %1", : : "m"(d), "r"(0ull));
    TRY_OK("invpcid %0, %1", : : "m"(d), "r"(1ull));
    window_map(0, 0, 0);
    window_flush();
    TRY_FAULT(PF, 0, "invpcid (%0), %1", : : "r"(WINDOW), "r"(2ull));
}

const struct test_case cases[] = {
    {"registers", registers},
    {"identifiers", separate},
    {"INVPCID", kinds},
    {"INVPCID's operands", operands},
};
PROGRAM("pcid");
