/*
 * Faults during the delivery of #DF shut the processor down (SDM 3A 6.15, interrupt 8). Run with
 * -machine pc,triple-fault=reset: each shutdown starts the program anew, and a byte of CMOS RAM
 * counts how often.
 */
#include "paging.h"
#include "segments.h"

#define COUNTER 0x60 /* of CMOS RAM; 61h holds a mark */
#define MARK    0xa5

static uint8_t cmos_read(uint8_t index)
{
    outb(0x70, index);
    return inb(0x71);
}

static void cmos_write(uint8_t index, uint8_t value)
{
    outb(0x70, index);
    outb(0x71, value);
}

static void no_gates(void)
{
    struct table_pointer none = {0, 0};

    asm volatile("lidt %0\n ud2" : : "m"(none));
}

static void gate_of_df_absent(void)
{
    idt_set(DF, SEL_CODE, trap_stubs, ACC_INT, 0);
    idt_set(GP, SEL_CODE, trap_stubs, ACC_INT, 0);
    asm volatile("mov (%0), %%eax" : : "r"(0x800000000000) : "eax");
}

static void stack_of_df_absent(void)
{
    tss.ist[0] = WINDOW + 0x1000;
    idt_set(PF, SEL_CODE, trap_stubs, ACC_INT, 0);
    asm volatile("mov (%0), %%eax" : : "r"(WINDOW) : "eax");
}

static void tables_gone(void)
{
    /* The handler's pages go, so do the IDT's. */
    static uint64_t empty[512] __attribute__((aligned(4096)));

    write_cr3((uint64_t)empty);
}

static void (*const ways[])(void) = {no_gates, gate_of_df_absent, stack_of_df_absent, tables_gone};

static void shutdown(void)
{
    uint8_t done = cmos_read(COUNTER + 1) == MARK ? cmos_read(COUNTER) : 0;

    cmos_write(COUNTER + 1, MARK);
    if (done < COUNT(ways)) {
        cmos_write(COUNTER, done + 1);
        ways[done]();
        context("way %u", done);
        EXPECT(false); /* it went on */
    }
    cmos_write(COUNTER + 1, 0);
    EXPECT_EQ(done, COUNT(ways));
    context("after a reset");
    EXPECT_EQ(read_cr2(), 0);
    EXPECT_EQ(rdmsr(MSR_LSTAR), 0);
}

const struct test_case cases[] = {
    {"shutdown", shutdown},
};
PROGRAM("shutdown");
