/* System management mode: entry, save area, SMRAM, RSM to every mode, restarts, what SMM blocks
 * (AMD APM 2 chapter 10, SDM 3C chapter 32). */
#include "smm.h"

enum { AX, CX, DX, BX, SP_, BP_, SI, DI };
enum { ES, CS, SS_, DS, FS, GS };

#define LAPIC(offset) (*(volatile uint32_t *)(0xfee00000 + (offset)))
#define SVR           0xf0
#define ICR           0x300
#define LVT_LINT0     0x350

/* A message to this processor: delivery mode 2 is SMI, 4 NMI. */
static void send_self(unsigned mode)
{
    LAPIC(SVR) = 0x1ff;
    LAPIC(ICR + 0x10) = LAPIC(0x20) & 0xff000000;
    LAPIC(ICR) = 0x4000 | mode << 8;
}

/* ---- Entry and save area ---- */

static void entry(void)
{
    unsigned long cr0 = read_cr0();

    smm_init();
    asm volatile("mov %0, %%dr7" : : "r"(0x000f0400));
    write_cr0(cr0 | CR0_TS);
    write_cr4(read_cr4() | CR4_DE);
    smm_trigger();
    EXPECT_EQ(smm.count, 1);
    EXPECT_EQ(smm.entry.flags, 2);
    EXPECT_EQ(smm.entry.cr0, cr0 & ~(CR0_PE | CR0_EM | CR0_TS | CR0_PG));
    EXPECT_EQ(smm.entry.cr4, 0);
    EXPECT_EQ(smm.entry.dr7, 0x400);
    EXPECT_EQ(smm.entry.cs, smm.base >> 4);
    EXPECT_EQ(smm.entry.ds, 0);
    EXPECT_EQ(smm.entry.ss, 0);
    EXPECT_EQ(smm_image(AREA_SMBASE, 4), smm.base);
    EXPECT_EQ(smm_image(AREA_REVISION, 4) & 0x2ffff, 0x20064);
    asm volatile("mov %0, %%dr7" : : "r"(0x400));
}

static void check_segment(unsigned offset, unsigned selector, unsigned attributes, uint32_t limit,
                          uint32_t base)
{
    EXPECT_EQ(smm_image(offset, 2), selector);
    EXPECT_EQ(smm_image(offset + 2, 2), attributes);
    EXPECT_EQ(smm_image(offset + 4, 4), limit);
    EXPECT_EQ(smm_image(offset + 8, 8), base);
}

static void save_area(void)
{
    uint32_t tss_base = (uint32_t)&tss, dr6, dr7;
    static volatile uint32_t next;

    smm_init();
    gdt_set(SEL(0), descriptor(0x123000, 0x5678, ACC_P | ACC_DATA | ACC_W | ACC_A, SEG_D));
    asm volatile("mov %0, %%dr7" : : "r"(0x000f0400));
    asm volatile("mov %w0, %%fs" : : "r"(SEL(0)));
    asm volatile("pushl $0x8d7\n popf\n" /* CF PF AF ZF SF OF */
                 "mov $0x11223344, %%eax\n mov $0x55667788, %%ecx\n"
                 "mov $0x99aabbcc, %%ebx\n mov $0x0badcafe, %%esi\n mov $0xdeadbeef, %%edi\n"
                 "mov $0x1234ab5a, %%edx\n"
                 "mov %%edx, %%eax\n out %%al, $0xb2\n"
                 "1: pushf\n movl $1b, %0\n"
                 "cmp $0x1234ab5a, %%eax\n jne 2f\n cmp $0x55667788, %%ecx\n jne 2f\n"
                 "cmp $0x99aabbcc, %%ebx\n jne 2f\n cmp $0x0badcafe, %%esi\n jne 2f\n"
                 "cmp $0xdeadbeef, %%edi\n jne 2f\n cmp $0x1234ab5a, %%edx\n jne 2f\n"
                 "pop %%eax\n cmp $0x8d7, %%eax\n je 3f\n"
                 "2: movl $0, %0\n 3: \n"
                 : "=m"(next)
                 :
                 : "eax", "ebx", "ecx", "edx", "esi", "edi", "memory", "cc");
    EXPECT(next != 0); /* everything came back */
    EXPECT_EQ(smm_image(AREA_RIP, 8), next);
    EXPECT_EQ(smm_image(AREA_RFLAGS, 8), 0x8d7);
    EXPECT_EQ(smm_image(AREA_GPR(AX), 8), 0x1234ab5a);
    EXPECT_EQ(smm_image(AREA_GPR(CX), 8), 0x55667788);
    EXPECT_EQ(smm_image(AREA_GPR(DX), 8), 0x1234ab5a);
    EXPECT_EQ(smm_image(AREA_GPR(BX), 8), 0x99aabbcc);
    EXPECT_EQ(smm_image(AREA_GPR(SI), 8), 0x0badcafe);
    EXPECT_EQ(smm_image(AREA_GPR(DI), 8), 0xdeadbeef);
    EXPECT_EQ(smm_image(AREA_CR0, 8), read_cr0());
    EXPECT_EQ(smm_image(AREA_CR3, 8), read_cr3());
    EXPECT_EQ(smm_image(AREA_CR4, 8), read_cr4());
    EXPECT_EQ(smm_image(AREA_EFER, 8), rdmsr(MSR_EFER));
    asm volatile("mov %%dr6, %0\n mov %%dr7, %1" : "=r"(dr6), "=r"(dr7));
    EXPECT_EQ(smm_image(AREA_DR6, 8), dr6);
    EXPECT_EQ(smm_image(AREA_DR7, 8), 0x000f0400);
    EXPECT_EQ(dr7, 0x000f0400);
    check_segment(AREA_SEGMENT(CS), SEL_CODE, 0xc09b, 0xffffffff, 0);
    check_segment(AREA_SEGMENT(SS_), SEL_DATA, 0xc093, 0xffffffff, 0);
    check_segment(AREA_SEGMENT(FS), SEL(0), 0x4093, 0x5678, 0x123000);
    check_segment(AREA_TR, SEL_TSS, 0x8b, sizeof(tss) - 1, tss_base);
    EXPECT_EQ(smm_image(AREA_GDTR + 4, 4), sizeof(gdt) - 1);
    EXPECT_EQ(smm_image(AREA_GDTR + 8, 8), (uint32_t)gdt);
    EXPECT_EQ(smm_image(AREA_IDTR + 4, 4), sizeof(idt) - 1);
    EXPECT_EQ(smm_image(AREA_IDTR + 8, 8), (uint32_t)idt);
    asm volatile("mov %%fs, %0" : "=r"(next));
    EXPECT_EQ(next & 0xffff, SEL(0));
    asm volatile("mov %0, %%dr7\n mov %w1, %%fs" : : "r"(0x400), "r"(SEL_DATA));
}

static void patch_registers(void)
{
    smm_patch(AREA_GPR(BX), 8, 0x600dbeef);
    smm_patch(AREA_RFLAGS, 8, 0x246 | FL_ID);
}

static void changed_image(void)
{
    uint32_t bx, flags;

    smm_init();
    smm.hook = patch_registers;
    asm volatile("xor %%ebx, %%ebx\n out %%al, $0xb2\n mov %%ebx, %0\n pushf\n cli\n pop %1"
                 : "=r"(bx), "=r"(flags)
                 :
                 : "ebx", "memory", "cc");
    EXPECT_EQ(bx, 0x600dbeef);
    EXPECT_EQ(flags & ~(uint32_t)FL_IF, 0x46 | FL_ID);
}

/* ---- RSM ---- */

USER_CODE(user_rsm, "rsm");

static void rsm_outside(void)
{
    TRY_FAULT(UD, 0, "rsm", :);
    run_user(user_rsm);
    EXPECT_FAULT(UD, 0);
}

/* A program of another mode, which ends with an SMI. */
#define OTHER_CODE 0x9000
#define OTHER      ((volatile uint8_t *)OTHER_CODE)

static uint8_t home[SMM_AREA_SIZE];
static unsigned stage;
static void (*enter_mode)(void);

static void patch_segment(unsigned offset, unsigned selector, unsigned attributes, uint32_t limit,
                          uint32_t base)
{
    smm_patch(offset, 2, selector);
    smm_patch(offset + 2, 2, attributes);
    smm_patch(offset + 4, 4, limit);
    smm_patch(offset + 8, 8, base);
}

/* The first SMI goes to the other mode, the second one back. */
static void switch_modes(void)
{
    if (stage++ == 0) {
        for (unsigned n = 0; n < SMM_AREA_SIZE; n++)
            home[n] = smm.image[n];
        enter_mode();
    } else {
        for (unsigned n = 0; n < SMM_AREA_SIZE; n++)
            smm_patch(n, 1, home[n]);
    }
}

static void visit(const char *name, void (*enter)(void), const uint8_t *code, unsigned size)
{
    context("%s", name);
    smm_init();
    smm.hook = switch_modes;
    enter_mode = enter;
    stage = 0;
    for (unsigned n = 0; n < size; n++)
        OTHER[n] = code[n];
    smm_trigger();
    EXPECT_EQ(smm.count, 2);
    smm.hook = NULL;
}

#define VISIT(name, enter, ...)                                                                    \
    do {                                                                                           \
        static const uint8_t code_[] = {__VA_ARGS__, 0xe6, 0xb2, 0xf4}; /* OUT B2h, AL; HLT */     \
        visit(name, enter, code_, sizeof(code_));                                                  \
    } while (0)

static void enter_real(void)
{
    for (unsigned n = 0; n < 6; n++)
        patch_segment(AREA_SEGMENT(n), 0x900, 0x93, 0xffff, OTHER_CODE);
    smm_patch(AREA_CR0, 8, 0x10);
    smm_patch(AREA_RIP, 8, 0);
    smm_patch(AREA_GPR(CX), 8, 0);
    smm_patch(AREA_RFLAGS, 8, 2);
}

static void to_real(void)
{
    /* XOR AX,AX; DEC AX; MOV CX,CS; MOV ES,CX */
    VISIT("real mode", enter_real, 0x31, 0xc0, 0x48, 0x8c, 0xc9, 0x8e, 0xc1);
    EXPECT_EQ(smm_image(AREA_GPR(AX), 8) & 0xffff, 0xffff);
    EXPECT_EQ(smm_image(AREA_GPR(CX), 8), 0x900);
    EXPECT_EQ(smm_image(AREA_RIP, 8), 9);
    EXPECT_EQ(smm_image(AREA_CR0, 8), 0x10);
    EXPECT_EQ(smm_image(AREA_SEGMENT(CS) + 8, 8), OTHER_CODE);
}

static void enter_v86(void)
{
    for (unsigned n = 0; n < 6; n++)
        patch_segment(AREA_SEGMENT(n), 0x900, 0xf3, 0xffff, OTHER_CODE);
    smm_patch(AREA_RIP, 8, 0);
    smm_patch(AREA_RFLAGS, 8, FL_VM | FL_IOPL | 2);
}

static void to_v86(void)
{
    unsigned port = 0xb2 / 8;

    tss.io_bitmap[port] = 0;
    VISIT("virtual-8086 mode", enter_v86, 0x31, 0xc0, 0x48, 0x9c, 0x59); /* PUSHF; POP CX */
    EXPECT_EQ(smm_image(AREA_GPR(AX), 8) & 0xffff, 0xffff);
    EXPECT_EQ(smm_image(AREA_GPR(CX), 8) & 0x3202, 0x3002);
    EXPECT_EQ(smm_image(AREA_RFLAGS, 8) & (FL_VM | FL_IOPL), FL_VM | FL_IOPL);
    EXPECT_EQ(smm_image(AREA_SEGMENT(CS), 2), 0x900);
    context("virtual-8086 mode, interrupted by itself");
    EXPECT_EQ(read_flags() & FL_VM, 0);
}

static void enter_16(void)
{
    patch_segment(AREA_SEGMENT(CS), SEL_CODE16, 0x9b, 0xffff, 0);
    smm_patch(AREA_RIP, 8, OTHER_CODE);
}

static void to_16(void)
{
    VISIT("16-bit protected mode", enter_16, 0xb8, 0x34, 0x12, 0x66, 0x40); /* MOV AX; INC EAX */
    EXPECT_EQ(smm_image(AREA_GPR(AX), 2), 0x1235);
    EXPECT_EQ(smm_image(AREA_RIP, 8), OTHER_CODE + 7);
}

/* Tables that map the first GiB to itself, in both formats. */
static uint64_t root[512] __attribute__((aligned(4096)));
static uint64_t third[512] __attribute__((aligned(4096)));
static uint64_t second[512] __attribute__((aligned(4096)));

static void make_tables(void)
{
    root[0] = (uint32_t)third | 7;
    third[0] = (uint32_t)second | 1;
    for (unsigned n = 0; n < 512; n++)
        second[n] = (uint64_t)n << 21 | 0x87;
    second[511] = 0x83; /* 3FE00000h is at 0 */
}

static void enter_pae(void)
{
    smm_patch(AREA_CR4, 8, CR4_PAE);
    smm_patch(AREA_CR3, 8, (uint32_t)third);
    smm_patch(AREA_CR0, 8, read_cr0() | CR0_PG | CR0_PE);
    smm_patch(AREA_RIP, 8, 0x3fe00000 + OTHER_CODE);
}

static void to_pae(void)
{
    make_tables();
    VISIT("PAE paging", enter_pae, 0x0f, 0x20, 0xd8); /* MOV EAX, CR3 */
    EXPECT_EQ(smm_image(AREA_GPR(AX), 8), (uint32_t)third);
    EXPECT_EQ(smm_image(AREA_RIP, 8), 0x3fe00000 + OTHER_CODE + 5);
    EXPECT_EQ(smm_image(AREA_CR4, 8), CR4_PAE);
    EXPECT(smm_image(AREA_CR0, 8) & CR0_PG);
}

static void enter_long(unsigned attributes)
{
    third[0] |= 6;
    smm_patch(AREA_EFER, 8, EFER_LME | EFER_LMA);
    smm_patch(AREA_CR4, 8, CR4_PAE);
    smm_patch(AREA_CR3, 8, (uint32_t)root);
    smm_patch(AREA_CR0, 8, read_cr0() | CR0_PG | CR0_PE);
    smm_patch(AREA_SEGMENT(CS) + 2, 2, attributes);
    smm_patch(AREA_RIP, 8, OTHER_CODE);
    smm_patch(AREA_GPR(8), 8, 0x1122334455667788);
    smm_patch(AREA_GPR(15), 8, 0xfedcba9876543210);
    smm_patch(AREA_SEGMENT(GS) + 8, 8, 0xffff800000001000);
}

static void enter_64(void)
{
    enter_long(0xa09b);
}

static void enter_compatibility(void)
{
    enter_long(0xc09b);
}

static void to_long(void)
{
    if (!HAS_EXTD(29)) {
        skip("no long mode");
        return;
    }
    make_tables();
    /* MOV RAX, R8; INC R15 */
    VISIT("64-bit mode", enter_64, 0x4c, 0x89, 0xc0, 0x49, 0xff, 0xc7);
    EXPECT_EQ(smm_image(AREA_GPR(AX), 8), 0x1122334455667788);
    EXPECT_EQ(smm_image(AREA_GPR(15), 8), 0xfedcba9876543211);
    EXPECT_EQ(smm_image(AREA_SEGMENT(GS) + 8, 8), 0xffff800000001000);
    EXPECT_EQ(smm_image(AREA_EFER, 8), EFER_LME | EFER_LMA);
    EXPECT_EQ(smm_image(AREA_RIP, 8), OTHER_CODE + 8);
    EXPECT_EQ(smm_image(AREA_SEGMENT(CS) + 2, 2), 0xa09b);
    /* DEC EAX (REX.W in 64-bit mode); MOV EAX, EBX */
    VISIT("compatibility mode", enter_compatibility, 0xb8, 5, 0, 0, 0, 0x48, 0x89, 0xc3);
    EXPECT_EQ(smm_image(AREA_GPR(BX), 8), 4);
    EXPECT_EQ(smm_image(AREA_EFER, 8), EFER_LME | EFER_LMA);
    EXPECT_EQ(rdmsr(MSR_EFER) & (EFER_LME | EFER_LMA), 0);
}

/* The same memory once more at 00ff800000000000h, which only five levels reach. */
#define ALIAS 0x00ff800000000000ull
static uint64_t top[512] __attribute__((aligned(4096)));

static void enter_5_level(void)
{
    enter_long(0xa09b);
    smm_patch(AREA_CR4, 8, CR4_PAE | CR4_LA57);
    smm_patch(AREA_CR3, 8, (uint32_t)top);
    smm_patch(AREA_GPR(BX), 8, ALIAS + OTHER_CODE);
}

static void to_5_level(void)
{
    if (!HAS_EXTD(29) || !HAS_7C(16)) {
        skip("no 5-level paging");
        return;
    }
    make_tables();
    top[0] = top[0xff] = (uint32_t)root | 7;
    root[0x100] = (uint32_t)third | 7;
    /* MOV RAX, [RBX]; LEA RCX, [RBX + 9]; JMP RCX */
    VISIT("5-level paging", enter_5_level, 0x48, 0x8b, 0x03, 0x48, 0x8d, 0x4b, 0x09, 0xff, 0xe1);
    EXPECT_EQ(smm_image(AREA_GPR(AX), 8), 0x094b8d48038b48 | 0xffull << 56);
    EXPECT_EQ(smm_image(AREA_RIP, 8), ALIAS + OTHER_CODE + 11);
    EXPECT_EQ(smm_image(AREA_CR4, 8), CR4_PAE | CR4_LA57);
}

/* ---- Sources of SMIs, what SMM blocks ---- */

static void by_message(void)
{
    smm_init();
    send_self(2);
    EXPECT_EQ(smm.count, 1);
}

static void trigger_again(void)
{
    unsigned before = smm.count;

    if (before > 1)
        return;
    smm_trigger();
    smm_trigger();
    EXPECT_EQ(smm.count, before); /* not now */
}

static void latched(void)
{
    smm_init();
    smm.hook = trigger_again;
    smm_trigger();
    EXPECT_EQ(smm.count, 2); /* two while in SMM are one */
}

static volatile unsigned nmis, nmis_inside;

static bool count_nmi(struct frame *f)
{
    nmis += f->vector == NMI;
    return f->vector == NMI;
}

static void nmi_inside(void)
{
    send_self(4);
    nmis_inside = nmis;
}

static void nmi_blocked(void)
{
    smm_init();
    nmis = 0;
    trap_hook = count_nmi;
    smm.hook = nmi_inside;
    smm_trigger();
    EXPECT_EQ(nmis_inside, 0);
    EXPECT_EQ(nmis, 1);
    context("after RSM");
    send_self(4);
    EXPECT_EQ(nmis, 2);
}

/* A20 is open in SMM: the handler runs above 1 MiB while the gate is closed for everybody else. */
static void a20(void)
{
    /* port 92h: A20 off; OUT B2h; MOV ECX, 100; LOOP; A20 on; RET */
    static const uint8_t code[] = {0xe4, 0x92, 0x24, 0xfd, 0xe6, 0x92, 0xe6, 0xb2, 0xb9, 0x64, 0, 0,
                                   0,    0xe2, 0xfe, 0xe4, 0x92, 0x0c, 0x02, 0xe6, 0x92, 0xc3};

    if (!on_gnomon()) {
        skip("an SMI that comes late hangs here");
        return;
    }
    smm_init();
    for (unsigned n = 0; n < sizeof(code); n++)
        OTHER[n] = code[n];
    outb(0x92, (inb(0x92) & 0xfe) | 2);
    while (inb(0x64) & 2)
        ;
    outb(0x64, 0xd1); /* the 8042's output port: its A20 off */
    while (inb(0x64) & 2)
        ;
    outb(0x60, 0xdd);
    asm volatile("call *%0" : : "r"(OTHER_CODE) : "eax", "ecx", "memory", "cc");
    EXPECT_EQ(smm.count, 1);
    while (inb(0x64) & 2)
        ;
    outb(0x64, 0xd1);
    while (inb(0x64) & 2)
        ;
    outb(0x60, 0xdf);
}

/* ---- Restarts ---- */

/* PIT channel 0 runs out once, in about 100 us, and the 8259 tells LINT0. */
static void arm_timer(void)
{
    static const uint8_t init[][2] = {
        {0x20, 0x11}, {0x21, 0x20}, {0x21, 4}, {0x21, 1}, {0x21, 0xff}};

    for (unsigned n = 0; n < COUNT(init); n++)
        outb(init[n][0], init[n][1]);
    outb(0x43, 0x30);
    outb(0x21, 0xfe);
    outb(0x40, 120);
    outb(0x40, 0);
}

static unsigned halts;

static void in_halt(void)
{
    halts += smm_image(AREA_HALTED, 1) & 1;
    if (smm.count == 1)
        arm_timer(); /* and goes on sleeping */
    else
        smm_patch(AREA_HALTED, 1, 0);
}

static void halt_restart(void)
{
    smm_init();
    halts = 0;
    smm.hook = in_halt;
    LAPIC(SVR) = 0x1ff;
    LAPIC(LVT_LINT0) = 0x200;
    arm_timer();
    asm volatile("hlt" : : : "memory");
    EXPECT_EQ(smm.count, 2);
    EXPECT_EQ(halts, 2);
    LAPIC(LVT_LINT0) = 0x10700;
    outb(0x21, 0xff);
    smm.hook = NULL;
    smm_trigger();
    EXPECT_EQ(smm_image(AREA_HALTED, 1), 0);
}

static void again(void)
{
    if (smm.count == 1)
        smm_patch(AREA_IO_RESTART, 1, 0xff);
}

static void io_restart(void)
{
    uint32_t cx = 3, si;
    static const char text[] = "abc";

    smm_init();
    smm_trigger();
    if (!(smm_image(AREA_REVISION, 4) & 0x10000)) {
        skip("no I/O instruction restart");
        return;
    }
    EXPECT_EQ(smm_image(AREA_IO_INFO, 4), 0xb20000 | 1 << 4 | 2);
    smm.count = 0;
    smm.hook = again;
    smm_trigger();
    EXPECT_EQ(smm.count, 2);
    context("string instruction");
    smm.count = 0;
    asm volatile("cld\n rep outsb" : "+c"(cx), "=S"(si) : "1"(text), "d"(0xb2) : "memory");
    EXPECT_EQ(smm_image(AREA_IO_INFO, 4), 0xb20000 | 1 << 4 | 0xe);
    EXPECT_EQ(cx, 0);
    EXPECT_EQ(si, (uint32_t)text + 3);
    context("no I/O instruction");
    smm.hook = NULL;
    send_self(2);
    EXPECT_EQ(smm_image(AREA_IO_INFO, 4), 0);
}

/* ---- SMRAM ---- */

static volatile uint8_t *const window = (volatile uint8_t *)0xa8000;
static uint8_t seen[2];

static void look(void)
{
    seen[0] = window[0];
    smram_set(SMRAM_ENABLE | SMRAM_CLOSE | 2);
    seen[1] = window[0];
    smram_set(SMRAM_ENABLE | 2);
}

static void visibility(void)
{
    uint8_t first = (uint8_t)smm_stub[0];

    smm_init();
    context("closed");
    EXPECT(window[0] != first);
    window[0] = 0x55;
    context("in SMM");
    smm.hook = look;
    smm_trigger();
    EXPECT_EQ(smm.count, 1);
    EXPECT_EQ(seen[0], first);
    context("in SMM, closed for data");
    EXPECT(seen[1] != first);
    context("open");
    smram_set(SMRAM_ENABLE | SMRAM_OPEN | 2);
    EXPECT_EQ(window[0], first);
    window[0x4000] = 0xa5;
    smram_set(SMRAM_OPEN | 2); /* OPEN means nothing without ENABLE */
    EXPECT(window[0] != first);
    smram_set(SMRAM_ENABLE | 2);
    EXPECT(window[0x4000] != 0xa5);
    smram_set(SMRAM_ENABLE | SMRAM_OPEN | 2);
    EXPECT_EQ(window[0x4000], 0xa5);
    smram_set(SMRAM_ENABLE | 2);
}

/* Last: nothing but a reset opens the lock. */
static void lock(void)
{
    smm_init();
    smram_set(SMRAM_ENABLE | SMRAM_LOCK | SMRAM_OPEN | 2);
    EXPECT_EQ(smram_get(), SMRAM_ENABLE | SMRAM_LOCK | 2);
    smram_set(SMRAM_OPEN | SMRAM_CLOSE);
    EXPECT_EQ(smram_get(), SMRAM_ENABLE | SMRAM_LOCK | SMRAM_CLOSE | 2);
    EXPECT(window[0] != (uint8_t)smm_stub[0]);
}

const struct test_case cases[] = {
    {"entry", entry},
    {"save area", save_area},
    {"changes to the save area", changed_image},
    {"RSM outside SMM", rsm_outside},
    {"to real mode", to_real},
    {"to virtual-8086 mode", to_v86},
    {"to 16-bit mode", to_16},
    {"to PAE paging", to_pae},
    {"to long mode", to_long},
    {"to 5-level paging", to_5_level},
    {"SMI message", by_message},
    {"SMI in SMM", latched},
    {"NMI in SMM", nmi_blocked},
    {"A20 in SMM", a20},
    {"auto halt restart", halt_restart},
    {"I/O instruction restart", io_restart},
    {"SMRAM", visibility},
    {"SMRAM lock", lock},
};
PROGRAM("smm");
