/* CR4.PVI: CLI and STI at CPL 3 below IOPL 3 change VIF; nothing else does (SDM 3B 20.4). */
#include "segments.h"

USER_CODE(user_cli, "cli");
USER_CODE(user_sti, "sti");
USER_CODE(user_nop, "nop");

#define FLAGS   (FL_IF | FL_VIF | FL_VIP)
#define IOPL(n) ((n) << 12)

static void run(const void *code, unsigned flags)
{
    run_user_with(code, SEL_USER64, (unsigned long)user_stack_top, flags | 2);
}

static void interrupt_flag(void)
{
    static const struct {
        bool sti, pvi;
        uint32_t flags;
        bool faults;
        uint32_t after;
    } rows[] = {
        {false, false, IOPL(0) | FL_VIF, true, 0},
        {true, false, IOPL(2), true, 0},
        {false, false, IOPL(3) | FL_IF | FL_VIF, false, FL_VIF},
        {false, true, IOPL(0) | FL_VIF | FL_IF, false, FL_IF},
        {false, true, IOPL(2) | FL_VIP, false, FL_VIP},
        {true, true, IOPL(0), false, FL_VIF},
        {true, true, IOPL(2) | FL_IF, false, FL_IF | FL_VIF},
        {true, true, IOPL(2) | FL_VIP, true, 0},
        {true, true, IOPL(3) | FL_VIP, false, FL_VIP | FL_IF},
        {false, true, IOPL(3) | FL_VIF | FL_IF, false, FL_VIF},
    };

    for (unsigned n = 0; n < COUNT(rows); n++) {
        context("%s, PVI %u, flags %x", rows[n].sti ? "STI" : "CLI", rows[n].pvi, rows[n].flags);
        write_cr4(rows[n].pvi ? read_cr4() | CR4_PVI : read_cr4() & ~(unsigned long)CR4_PVI);
        run(rows[n].sti ? user_sti : user_cli, rows[n].flags);
        if (rows[n].faults) {
            EXPECT_FAULT(GP, 0);
        } else {
            EXPECT_RETURN();
            EXPECT_EQ(trap.flags & FLAGS, rows[n].after);
        }
    }
}

/* VIF and VIP at the beginning of an instruction of CPL 3. */
static void pending(void)
{
    for (unsigned pvi = 0; pvi < 2; pvi++) {
        context("PVI %u", pvi);
        write_cr4(pvi ? read_cr4() | CR4_PVI : read_cr4() & ~(unsigned long)CR4_PVI);
        run(user_nop, FL_VIF | FL_VIP | IOPL(3));
        EXPECT_RETURN();
        run(user_nop, FL_VIF | FL_VIP | IOPL(2));
        if (pvi)
            EXPECT_FAULT(GP, 0);
        else
            EXPECT_RETURN();
    }
}

/* CR4.VME means nothing outside virtual-8086 mode. */
static void not_vme(void)
{
    write_cr4((read_cr4() & ~(unsigned long)CR4_PVI) | CR4_VME);
    run(user_cli, 0);
    EXPECT_FAULT(GP, 0);
    run(user_sti, 0);
    EXPECT_FAULT(GP, 0);
}

/* At CPL 0 to 2 the level counts, not PVI. */
static void supervisor(void)
{
    write_cr4(read_cr4() | CR4_PVI);
    TRY_OK("sti\n cli", : : : "memory");
    EXPECT_EQ(read_flags() & FLAGS, 0);
}

const struct test_case cases[] = {
    {"CLI and STI", interrupt_flag},
    {"VIF and VIP", pending},
    {"without PVI", not_vme},
    {"CPL 0", supervisor},
};
PROGRAM("pvi");
