/* The right to use ports: IOPL, and the I/O permission bitmap of the TSS (SDM 1 19.5). */
#include "segments.h"

#define PORT 0xa4 /* nobody's; the ports around it have bits in two bytes of the bitmap */

USER_CODE(in_b, "inb %dx, %al");
USER_CODE(in_w, "inw %dx, %ax");
USER_CODE(in_l, "inl %dx, %eax");
USER_CODE(out_b, "outb %al, %dx");
USER_CODE(out_w, "outw %ax, %dx");
USER_CODE(out_l, "outl %eax, %dx");
USER_CODE(in_imm, "inb $0xa4, %al");
USER_CODE(out_imm, "outl %eax, $0xa4");
USER_CODE(do_insb, "insb");
USER_CODE(do_outsl, "outsl");
USER_CODE(do_cli, "cli");
USER_CODE(do_sti, "sti\n cli");

USER_DATA volatile uint8_t user_bytes[16];

static void set_port(unsigned port, bool allowed)
{
    if (allowed)
        tss.io_bitmap[port / 8] &= (uint8_t) ~(1u << port % 8);
    else
        tss.io_bitmap[port / 8] |= (uint8_t)(1u << port % 8);
}

static void run_port(const char *code, unsigned port, unsigned iopl)
{
    user_regs[UDX] = port;
    user_regs[UAX] = 0;
    user_regs[USI] = user_regs[UDI] = (unsigned long)user_bytes;
    run_user_with(code, SEL_USER64, (unsigned long)user_stack_top, 2 | iopl << 12);
}

static void expect_port(const char *code, unsigned port, bool allowed)
{
    run_port(code, port, 0);
    if (allowed)
        EXPECT_RETURN();
    else
        EXPECT_FAULT(GP, 0);
}

/* Every bit that an access covers must be clear. */
static void bitmap(void)
{
    static const struct {
        const char *in, *out;
        unsigned size;
    } sizes[] = {{in_b, out_b, 1}, {in_w, out_w, 2}, {in_l, out_l, 4}};

    for (unsigned n = 0; n < COUNT(sizes); n++)
        for (unsigned port = PORT; port < PORT + 8; port++)
            for (unsigned denied = port - 1; denied <= port + sizes[n].size; denied++) {
                bool allowed = denied < port || denied == port + sizes[n].size;

                context("%u bytes at %x, %x denied", sizes[n].size, port, denied);
                for (unsigned k = port - 1; k <= port + sizes[n].size; k++)
                    set_port(k, k != denied);
                expect_port(sizes[n].in, port, allowed);
                expect_port(sizes[n].out, port, allowed);
            }
}

static void forms(void)
{
    static const char *const codes[] = {in_imm, do_insb, out_imm, do_outsl};

    for (unsigned n = 0; n < COUNT(codes); n++)
        for (unsigned allowed = 0; allowed < 2; allowed++) {
            context("form %u, allowed %u", n, allowed);
            for (unsigned k = 0; k < 4; k++)
                set_port(PORT + k, allowed);
            expect_port(codes[n], PORT, allowed);
        }
}

static void privilege_level(void)
{
    set_port(PORT, false);
    for (unsigned iopl = 0; iopl < 4; iopl++) {
        context("IOPL %u", iopl);
        run_port(in_b, PORT, iopl);
        if (iopl == 3)
            EXPECT_RETURN();
        else
            EXPECT_FAULT(GP, 0);
        run_port(do_cli, PORT, iopl);
        if (iopl == 3)
            EXPECT_RETURN();
        else
            EXPECT_FAULT(GP, 0);
        run_port(do_sti, PORT, iopl);
        if (iopl == 3)
            EXPECT_RETURN();
        else
            EXPECT_FAULT(GP, 0);
    }
    context("CPL 0");
    TRY_OK("inb %%dx, %%al", : : "d"(PORT) : "eax");
}

/* The processor reads two bytes of the bitmap, so the one behind the last has to be there. */
static void limit(void)
{
    const unsigned map = offsetof(struct tss, io_bitmap), last = map + (PORT + 7) / 8;

    for (unsigned k = 0; k < 16; k++)
        set_port(PORT + k, true);
    for (unsigned limit = last - 2; limit <= last + 1; limit++) {
        context("limit %x", limit);
        gdt_set(SEL_TSS, descriptor((uint32_t)(unsigned long)&tss, limit, ACC_P | ACC_TSS, 0));
        asm volatile("ltr %w0" : : "r"(SEL_TSS));
        expect_port(in_b, PORT, limit > (unsigned)(map + PORT / 8));
        expect_port(in_b, PORT + 8, limit > (unsigned)(map + (PORT + 8) / 8));
    }
    segments_init();
    context("no bitmap");
    for (unsigned k = 0; k < 16; k++)
        set_port(PORT + k, true);
    expect_port(in_b, PORT, true);
    tss.io_map = sizeof(tss);
    expect_port(in_b, PORT, false);
    context("the last port");
    segments_init();
    set_port(0xffff, true);
    expect_port(in_b, 0xffff, true);
    expect_port(in_w, 0xffff, false); /* the byte behind has its bits set */
}

#ifndef __x86_64__
#define TASK ((volatile uint8_t *)0x8000)

/* Virtual-8086 mode looks at the bitmap whatever IOPL says. */
static void virtual_8086(void)
{
    static const uint8_t code[] = {0xe4, PORT, 0xf4};
    uint32_t frame[9] = {0, 0x800, 0, 0x1000, 0x800, 0x800, 0x800, 0, 0};

    for (unsigned n = 0; n < sizeof(code); n++)
        TASK[n] = code[n];
    for (unsigned n = 0; n < 4; n++) {
        bool allowed = n & 1;

        context("IOPL %u, allowed %u", n & 2 ? 3 : 0, allowed);
        set_port(PORT, allowed);
        frame[2] = FL_VM | 2 | (n & 2 ? FL_IOPL : 0);
        TRY("mov %0, %%esp\n iretl", : : "r"(frame) : "memory", "eax");
        EXPECT_TRAP(GP, 0);
        EXPECT_EQ(trap.ip, allowed ? 2 : 0); /* HLT's, or its own */
    }
}
#endif

const struct test_case cases[] = {
    {"bitmap", bitmap},
    {"forms", forms},
    {"IOPL", privilege_level},
    {"limit of the TSS", limit},
#ifndef __x86_64__
    {"virtual-8086 mode", virtual_8086},
#endif
};
PROGRAM("ports");
