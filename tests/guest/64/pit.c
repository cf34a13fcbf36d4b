/*
 * The 8254 timer: the six modes, latches, read-back, BCD, gates (Intel 8254 datasheet, 231164).
 * Channel 2 is looked at through port 61h: bit 0 is its gate, bit 5 its output.
 */
#include "guest.h"

static void control(uint8_t value)
{
    outb(0x43, value);
}

static void gate(bool on)
{
    outb(0x61, on);
}

static bool out(void)
{
    return inb(0x61) >> 5 & 1;
}

static void load(unsigned count)
{
    outb(0x42, (uint8_t)count);
    outb(0x42, (uint8_t)(count >> 8));
}

static unsigned count_now(void)
{
    unsigned low;

    control(0x80); /* latch */
    low = inb(0x42);
    return low | (unsigned)inb(0x42) << 8;
}

/* Read-back of channel 2's status. */
static uint8_t status(void)
{
    control(0xe8);
    return inb(0x42);
}

/* Until OUT is as asked; false if it never is. */
static bool wait_out(bool level)
{
    for (unsigned n = 0; n < 200000; n++)
        if (out() == level)
            return true;
    return false;
}

/* Until the counter has been loaded. */
static void wait_loaded(void)
{
    for (unsigned n = 0; n < 10000 && (status() & 0x40); n++)
        ;
}

static void pulses(unsigned count)
{
    unsigned start = count_now();

    for (unsigned n = 0; n < 200000; n++)
        if (((start - count_now()) & 0xffff) >= count)
            return;
}

static void delay(void)
{
    for (volatile unsigned n = 0; n < 300; n++)
        ;
}

static void mode_0(void)
{
    gate(true);
    control(0xb0);
    EXPECT(!out()); /* from the control word on */
    load(50);
    wait_loaded();
    EXPECT(!out());
    EXPECT(wait_out(true));
    pulses(100);
    EXPECT(out());                /* stays */
    EXPECT(count_now() > 0xff00); /* counts on from FFFFh */
    context("gate low: the count stands still");
    control(0xb0);
    load(1000);
    wait_loaded();
    gate(false);
    {
        unsigned a = count_now();

        for (volatile unsigned n = 0; n < 5000; n++)
            ;
        EXPECT_EQ(count_now(), a);
    }
    gate(true);
    EXPECT(wait_out(true));
    context("a new count starts over");
    control(0xb0);
    load(60000);
    wait_loaded();
    load(20);
    EXPECT(wait_out(true));
}

static void mode_1(void)
{
    gate(false);
    control(0xb2);
    EXPECT(out()); /* high until triggered */
    load(100);
    EXPECT(out());
    gate(true);
    EXPECT(wait_out(false));
    EXPECT(wait_out(true));
    context("again by another edge only");
    pulses(200);
    EXPECT(out());
    gate(false);
    gate(true);
    EXPECT(wait_out(false));
    EXPECT(wait_out(true));
}

static void mode_2(void)
{
    unsigned highest = 0, lowest = ~0u;

    gate(true);
    control(0xb4);
    EXPECT(out());
    load(100);
    wait_loaded();
    for (unsigned n = 0; n < 300; n++) {
        unsigned v = count_now();

        delay();
        highest = v > highest ? v : highest;
        lowest = v < lowest ? v : lowest;
    }
    EXPECT(highest <= 100);
    EXPECT(highest > 90);
    EXPECT(lowest >= 1);
    EXPECT(lowest < 10);
    context("OUT is low for one pulse");
    EXPECT(wait_out(false));
    EXPECT(wait_out(true));
    context("gate low: high at once");
    EXPECT(wait_out(false));
    gate(false);
    EXPECT(out());
    gate(true);
}

static void mode_3(void)
{
    unsigned high = 0, odd = 0;

    gate(true);
    control(0xb6);
    EXPECT(out());
    load(100);
    wait_loaded();
    for (unsigned n = 0; n < 1000; n++) {
        high += out();
        odd += count_now() & 1;
        delay();
    }
    EXPECT(high > 350 && high < 650); /* half of the time */
    EXPECT_EQ(odd, 0);                /* counts by two */
    EXPECT(wait_out(false));
    EXPECT(wait_out(true));
}

static void mode_4(void)
{
    gate(true);
    control(0xb8);
    EXPECT(out());
    load(30);
    EXPECT(wait_out(false)); /* strobe */
    EXPECT(wait_out(true));
    pulses(100);
    EXPECT(out());
}

static void mode_5(void)
{
    gate(false);
    control(0xba);
    load(30);
    EXPECT(out());
    gate(true);
    EXPECT(wait_out(false));
    EXPECT(wait_out(true));
}

static void reading(void)
{
    unsigned a, b;

    gate(true);
    control(0xb4);
    load(0xffff);
    wait_loaded();
    context("a latched count stays until it is read");
    control(0x80);
    a = inb(0x42);
    for (unsigned n = 0; n < 100; n++)
        delay();
    a |= (unsigned)inb(0x42) << 8;
    b = count_now();
    EXPECT(a - b >= 10);
    control(0x80);
    for (unsigned n = 0; n < 100; n++)
        delay();
    control(0x80); /* ignored */
    a = inb(0x42);
    a |= (unsigned)inb(0x42) << 8;
    EXPECT(b - a < 5);
    context("bytes alternate without a latch");
    gate(false);
    a = count_now();
    EXPECT_EQ(inb(0x42), a & 0xff);
    EXPECT_EQ(inb(0x42), a >> 8);
    context("one byte only");
    gate(true);
    control(0x94); /* mode 2, low byte */
    outb(0x42, 200);
    wait_loaded();
    for (unsigned n = 0; n < 20; n++) {
        unsigned v = inb(0x42);

        EXPECT(v >= 1 && v <= 200);
    }
    control(0xa4); /* high byte */
    outb(0x42, 0x12);
    wait_loaded();
    EXPECT(inb(0x42) <= 0x12);
    context("zero is 65536");
    control(0xb4);
    load(0);
    wait_loaded();
    EXPECT(((count_now() - 1) & 0xffff) > 0xf000);
}

static void read_back(void)
{
    gate(true);
    control(0xb6);
    EXPECT_EQ(status(), 0xf6); /* OUT, no count yet, both bytes, mode 3 */
    load(40000);
    wait_loaded();
    EXPECT_EQ(status() & 0x7f, 0x36);
    control(0xb5); /* BCD, mode 2 */
    EXPECT_EQ(status() & 0x3f, 0x35);
    control(0xbe); /* mode 7 is mode 3 */
    EXPECT_EQ(status() & 0x0e, 0x06);
    context("status first, then count");
    control(0xb4);
    load(0x1234);
    wait_loaded();
    gate(false);
    {
        unsigned a = count_now();

        control(0xc8); /* both of channel 2 */
        EXPECT_EQ(inb(0x42) & 0x3f, 0x34);
        EXPECT_EQ(inb(0x42), a & 0xff);
        EXPECT_EQ(inb(0x42), a >> 8);
    }
    context("several channels");
    control(0x34);
    outb(0x40, 0x10);
    outb(0x40, 0x27);
    control(0xee); /* status of all */
    EXPECT_EQ(inb(0x40) & 0x3f, 0x34);
    EXPECT_EQ(inb(0x42) & 0x3f, 0x34);
    inb(0x41);
}

static void decimal(void)
{
    gate(true);
    control(0xb5); /* mode 2, BCD */
    load(0x0100);
    wait_loaded();
    for (unsigned n = 0; n < 200; n++) {
        unsigned v = count_now();

        EXPECT((v & 15) <= 9 && (v >> 4 & 15) <= 9 && v <= 0x100);
    }
    load(0);
    EXPECT(wait_out(false)); /* the running count ends first */
    EXPECT(wait_out(true));
    pulses(3);
    EXPECT(count_now() > 0x9900 || count_now() == 0);
    gate(false);
}

const struct test_case cases[] = {
    {"mode 0", mode_0},   {"mode 1", mode_1},       {"mode 2", mode_2},
    {"mode 3", mode_3},   {"mode 4", mode_4},       {"mode 5", mode_5},
    {"reading", reading}, {"read-back", read_back}, {"BCD", decimal},
};
PROGRAM("pit");
