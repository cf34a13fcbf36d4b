/* Loading and using segments in 32-bit protected mode: types, limits, privilege, LDT, and the
 * instructions that ask about selectors (SDM 3A chapters 3 and 5). */
#include "segments.h"

#define DATA(dpl, bits) descriptor(0, 0xfffff, ACC_P | ACC_DPL(dpl) | (bits), SEG_G | SEG_D)

static volatile uint8_t buffer[0x3000] __attribute__((aligned(4096)));

static void load_fs(unsigned selector)
{
    asm volatile("mov %w0, %%fs" : : "r"(selector));
}

/* A segment, an offset, an access size, and whether that is inside. */
static const struct {
    const char *name;
    uint32_t limit;
    uint8_t access, flags;
    uint32_t offset;
    uint8_t size;
    bool inside;
} limits[] = {
    {"byte", 0xfff, ACC_W, SEG_D, 0xfff, 1, true},
    {"byte beyond", 0xfff, ACC_W, SEG_D, 0x1000, 1, false},
    {"word", 0xfff, ACC_W, SEG_D, 0xffe, 2, true},
    {"word across", 0xfff, ACC_W, SEG_D, 0xfff, 2, false},
    {"dword", 0xfff, ACC_W, SEG_D, 0xffc, 4, true},
    {"dword across", 0xfff, ACC_W, SEG_D, 0xffd, 4, false},
    {"limit 0", 0, ACC_W, SEG_D, 0, 1, true},
    {"limit 0 beyond", 0, ACC_W, SEG_D, 1, 1, false},
    {"pages", 0, ACC_W, SEG_D | SEG_G, 0xffc, 4, true},
    {"pages beyond", 0, ACC_W, SEG_D | SEG_G, 0xffd, 4, false},
    {"wrap of the offset", 0xfff, ACC_W, SEG_D, 0xfffffffe, 4, false},
    {"down", 0xfff, ACC_W | ACC_DOWN, SEG_D, 0x1000, 4, true},
    {"down below", 0xfff, ACC_W | ACC_DOWN, SEG_D, 0xfff, 4, false},
    {"down at 0", 0xfff, ACC_W | ACC_DOWN, SEG_D, 0, 1, false},
    {"down 16 bits", 0xfff, ACC_W | ACC_DOWN, 0, 0x1ffc, 4, true},
    {"down 16 bits below", 0xfff, ACC_W | ACC_DOWN, 0, 0xfff, 1, false},
    {"down 16 bits above", 0xfff, ACC_W | ACC_DOWN, 0, 0x10000, 1, false},
    {"down 16 bits across", 0xfff, ACC_W | ACC_DOWN, 0, 0xfffd, 4, false},
    {"down 32 bits across", 0xfff, ACC_W | ACC_DOWN, SEG_D, 0xfffffffd, 4, false},
    {"down pages", 0, ACC_W | ACC_DOWN, SEG_D | SEG_G, 0x1000, 1, true},
    {"down pages below", 0, ACC_W | ACC_DOWN, SEG_D | SEG_G, 0xfff, 1, false},
};

static void limit_checks(void)
{
    for (unsigned n = 0; n < COUNT(limits); n++) {
        uint32_t a = 0, offset = limits[n].offset;

        context("%s", limits[n].name);
        gdt_set(SEL(0), descriptor((uint32_t)buffer, limits[n].limit,
                                   ACC_P | ACC_DATA | limits[n].access, limits[n].flags));
        load_fs(SEL(0));
        if (limits[n].size == 1)
            TRY("movb %%fs:(%1), %b0", : "+q"(a) : "r"(offset));
        else if (limits[n].size == 2)
            TRY("movw %%fs:(%1), %w0", : "+r"(a) : "r"(offset));
        else
            TRY("movl %%fs:(%1), %0", : "+r"(a) : "r"(offset));
        if (limits[n].inside)
            EXPECT_NO_TRAP();
        else
            EXPECT_FAULT(GP, 0);
        if (!limits[n].inside || limits[n].size != 4)
            continue;
        TRY_OK("movl $0x12345678, %%fs:(%0)", : : "r"(offset));
        EXPECT_EQ(*(volatile uint32_t *)(buffer + offset), 0x12345678);
    }
}

/* The same through SS raises #SS(0). At CPL 3, for the event needs a stack that works. */
USER_CODE(user_stack_read, "mov %ax, %ss\n mov %ss:0xffd, %eax");
USER_CODE(user_stack_frame, "mov %ax, %ss\n mov $0xffd, %ebp\n mov (%ebp), %eax");
USER_CODE(user_stack_push, "mov %ax, %ss\n mov $0x1004, %esp\n push %eax\n push %eax");
USER_CODE(user_stack_pop, "mov %ax, %ss\n mov $0xffe, %esp\n pop %eax");
USER_CODE(user_stack_ret, "mov %ax, %ss\n mov $0xffe, %esp\n ret");
USER_CODE(user_stack_pusha, "mov %ax, %ss\n mov $0x18, %esp\n pusha");
USER_CODE(user_stack_enter, "mov %ax, %ss\n mov $2, %esp\n enter $0, $0");
USER_CODE(user_stack_override, "mov %ax, %ss\n mov $0xffd, %ebp\n mov %ds:(%ebp), %eax");
USER_CODE(user_stack_fits, "mov %ax, %ss\n mov $0x1000, %esp\n pusha\n popa");

static void stack_limits(void)
{
    static const struct {
        const char *name;
        const char *code;
        bool fits;
    } rows[] = {
        {"absolute", user_stack_read, false}, {"EBP", user_stack_frame, false},
        {"PUSH", user_stack_push, false},     {"POP", user_stack_pop, false},
        {"RET", user_stack_ret, false},       {"PUSHA", user_stack_pusha, false},
        {"ENTER", user_stack_enter, false},   {"EBP and DS", user_stack_override, true},
        {"inside", user_stack_fits, true},
    };

    for (unsigned n = 0; n < COUNT(rows); n++) {
        context("%s", rows[n].name);
        *(volatile uint32_t *)(buffer + 0xffe) = (uint32_t)user_stack_ret_end - 4;
        gdt_set(SEL(0),
                descriptor((uint32_t)buffer, 0xfff, ACC_P | ACC_DPL(3) | ACC_DATA | ACC_W, SEG_D));
        user_regs[UAX] = SEL(0) | 3;
        run_user(rows[n].code);
        if (rows[n].fits)
            EXPECT_RETURN();
        else
            EXPECT_TRAP(SS, 0);
    }
}

static void access_rights(void)
{
    uint32_t a = 0;

    gdt_set(SEL(0), DATA(0, ACC_DATA));
    gdt_set(SEL(1), DATA(0, ACC_CODE));
    gdt_set(SEL(2), DATA(0, ACC_CODE | ACC_R));
    load_fs(SEL(0));
    context("read-only");
    TRY_OK("movl %%fs:(%1), %0", : "=r"(a) : "r"(buffer));
    TRY_FAULT(GP, 0, "movl %0, %%fs:(%1)", : : "r"(a), "r"(buffer));
    TRY_FAULT(GP, 0, "addl %0, %%fs:(%1)", : : "r"(a), "r"(buffer));
    context("execute-only");
    TRY("mov %w0, %%fs", : : "r"(SEL(1)));
    EXPECT_FAULT(GP, SEL(1));
    TRY("mov %w0, %%fs", : : "r"(SEL(2)));
    EXPECT_NO_TRAP();
    context("readable code");
    load_fs(SEL(2));
    TRY_OK("movl %%fs:(%1), %0", : "=r"(a) : "r"(buffer));
    TRY_FAULT(GP, 0, "movl %0, %%fs:(%1)", : : "r"(a), "r"(buffer));
    context("CS");
    TRY_OK("movl %%cs:(%1), %0", : "=r"(a) : "r"(buffer));
    TRY_FAULT(GP, 0, "movl %0, %%cs:(%1)", : : "r"(a), "r"(buffer));
}

static void null_selectors(void)
{
    uint32_t a;

    for (unsigned rpl = 0; rpl < 4; rpl++) {
        context("null selector %u", rpl);
        TRY_OK("mov %w0, %%fs", : : "r"(rpl));
        asm volatile("mov %%fs, %0" : "=r"(a));
        EXPECT_EQ(a, rpl);
        TRY_FAULT(GP, 0, "movl %%fs:(%1), %0", : "=r"(a) : "r"(buffer));
        TRY_FAULT(GP, 0, "movb $0, %%fs:(%0)", : : "r"(buffer));
        TRY_FAULT(GP, 0, "mov %w0, %%ss", : : "r"(rpl));
    }
    context("CS");
    TRY_FAULT(GP, 0, "ljmp $0, $0", :);
    TRY_FAULT(GP, 0, "ljmp $3, $0", :);
    TRY_FAULT(GP, 0, "lcall $0, $0", :);
}

/* What a MOV to DS, ES, FS, GS or SS at CPL 0 says to a descriptor. 0: fine. */
static const struct {
    const char *name;
    uint8_t access;
    uint8_t rpl;
    uint8_t data_fault, stack_fault;
} loads[] = {
    {"data", ACC_P | ACC_DATA | ACC_W, 0, 0, 0},
    {"accessed", ACC_P | ACC_DATA | ACC_W | ACC_A, 0, 0, 0},
    {"read-only", ACC_P | ACC_DATA, 0, 0, GP},
    {"expand-down", ACC_P | ACC_DATA | ACC_W | ACC_DOWN, 0, 0, 0},
    {"read-only down", ACC_P | ACC_DATA | ACC_DOWN, 0, 0, GP},
    {"RPL 3", ACC_P | ACC_DATA | ACC_W, 3, GP, GP},
    {"DPL 3", ACC_P | ACC_DPL(3) | ACC_DATA | ACC_W, 0, 0, GP},
    {"DPL 3, RPL 3", ACC_P | ACC_DPL(3) | ACC_DATA | ACC_W, 3, 0, GP},
    {"DPL 1, RPL 2", ACC_P | ACC_DPL(1) | ACC_DATA | ACC_W, 2, GP, GP},
    {"DPL 2, RPL 1", ACC_P | ACC_DPL(2) | ACC_DATA | ACC_W, 1, 0, GP},
    {"absent", ACC_DATA | ACC_W, 0, NP, SS},
    {"absent, RPL 3", ACC_DATA | ACC_W, 3, GP, GP},
    {"absent, read-only", ACC_DATA, 0, NP, GP},
    {"code", ACC_P | ACC_CODE, 0, GP, GP},
    {"readable code", ACC_P | ACC_CODE | ACC_R, 0, 0, GP},
    {"readable code, RPL 3", ACC_P | ACC_CODE | ACC_R, 3, GP, GP},
    {"conforming", ACC_P | ACC_CODE | ACC_CONF, 0, GP, GP},
    {"readable conforming, RPL 3", ACC_P | ACC_CODE | ACC_CONF | ACC_R, 3, 0, GP},
    {"absent readable code", ACC_CODE | ACC_R, 0, NP, GP},
    {"TSS", ACC_P | ACC_TSS, 0, GP, GP},
    {"LDT", ACC_P | ACC_LDT, 0, GP, GP},
    {"call gate", ACC_P | ACC_CALL, 0, GP, GP},
    {"absent system", ACC_TSS, 0, GP, GP},
    {"type 0", ACC_P, 0, GP, GP},
};

static void load_checks(void)
{
    for (unsigned n = 0; n < COUNT(loads); n++) {
        unsigned selector = SEL(0) | loads[n].rpl;

        context("%s", loads[n].name);
        gdt_set(SEL(0), descriptor(0, 0xfffff, loads[n].access, SEG_G | SEG_D));
        TRY("mov %w0, %%gs", : : "r"(selector));
        if (loads[n].data_fault == 0)
            EXPECT_NO_TRAP();
        else
            EXPECT_FAULT(loads[n].data_fault, SEL(0));
        /* Only a load that works sets the accessed bit. */
        EXPECT_EQ(gdt[SEL(0) / 8] >> 40 & 0xff, loads[n].access | (loads[n].data_fault == 0));
        gdt_set(SEL(0), descriptor(0, 0xfffff, loads[n].access, SEG_G | SEG_D));
        TRY("mov %w0, %%ss", : : "r"(selector));
        asm volatile("mov %w0, %%ss" : : "r"(SEL_DATA));
        if (loads[n].stack_fault == 0)
            EXPECT_NO_TRAP();
        else
            EXPECT_FAULT(loads[n].stack_fault, SEL(0));
    }
}

static void table_limits(void)
{
    struct table_pointer small = {SEL(1) + 6, gdt_pointer.base};

    TRY_FAULT(GP, 0xfff8, "mov %w0, %%fs", : : "r"(0xfff8));
    TRY_FAULT(GP, 0x400, "mov %w0, %%fs", : : "r"(0x400));
    TRY_FAULT(GP, 0xc, "mov %w0, %%fs", : : "r"(0xc)); /* no LDT */
    TRY_FAULT(GP, 4, "mov %w0, %%fs", : : "r"(7));
    TRY_FAULT(GP, 0xc, "mov %w0, %%ss", : : "r"(0xc));
    gdt_set(SEL(0), FLAT_DATA(0));
    gdt_set(SEL(1), FLAT_DATA(0));
    asm volatile("lgdt %0" : : "m"(small));
    TRY_OK("mov %w0, %%fs", : : "r"(SEL(0)));
    TRY_FAULT(GP, SEL(1), "mov %w0, %%fs", : : "r"(SEL(1)));
    small.limit++;
    asm volatile("lgdt %0" : : "m"(small));
    TRY_OK("mov %w0, %%fs", : : "r"(SEL(1)));
}

static void local_table(void)
{
    static volatile uint64_t ldt[4];
    unsigned ldtr;

    ldt[0] = FLAT_DATA(0); /* selector 4 is not null */
    ldt[1] = descriptor((uint32_t)buffer, 0xff, ACC_P | ACC_DATA | ACC_W, SEG_D);
    ldt[2] = 0;
    gdt_set(SEL(0), descriptor((uint32_t)ldt, sizeof(ldt) - 1, ACC_P | ACC_LDT, 0));
    gdt_set(SEL(1), descriptor((uint32_t)ldt, sizeof(ldt) - 1, ACC_LDT, 0));
    TRY_OK("lldt %w0", : : "r"(SEL(0) | 3));
    asm volatile("sldt %0" : "=r"(ldtr));
    EXPECT_EQ(ldtr, SEL(0) | 3);
    TRY_OK("mov %w0, %%fs", : : "r"(4));
    TRY_OK("mov %w0, %%fs", : : "r"(12));
    buffer[5] = 0x77;
    TRY_OK("cmpb $0x77, %%fs:5\n jz 1f\n ud2\n 1:", :);
    TRY_FAULT(GP, 0, "cmpb $0, %%fs:0x100", :);
    TRY_FAULT(GP, 20, "mov %w0, %%fs", : : "r"(20));
    TRY_FAULT(GP, 36, "mov %w0, %%fs", : : "r"(36)); /* beyond its limit */
    context("LLDT");
    TRY_FAULT(NP, SEL(1), "lldt %w0", : : "r"(SEL(1)));
    TRY_FAULT(GP, SEL_DATA, "lldt %w0", : : "r"(SEL_DATA));
    TRY_FAULT(GP, SEL_TSS, "lldt %w0", : : "r"(SEL_TSS));
    TRY_FAULT(GP, 12, "lldt %w0", : : "r"(12));
    TRY_OK("lldt %w0", : : "r"(2));
    TRY_FAULT(GP, 12, "mov %w0, %%fs", : : "r"(12));
    context("LTR");
    TRY_FAULT(GP, SEL_TSS, "ltr %w0", : : "r"(SEL_TSS)); /* busy */
    TRY_FAULT(GP, 0, "ltr %w0", : : "r"(0));
    TRY_FAULT(GP, SEL_DATA, "ltr %w0", : : "r"(SEL_DATA));
    TRY_FAULT(GP, 12, "ltr %w0", : : "r"(12));
    gdt_set(SEL(2), descriptor((uint32_t)&tss, sizeof(tss) - 1, ACC_TSS, 0));
    TRY_FAULT(NP, SEL(2), "ltr %w0", : : "r"(SEL(2)));
    gdt_set(SEL(2), descriptor((uint32_t)&tss, sizeof(tss) - 1, ACC_P | ACC_TSS, 0));
    TRY_OK("ltr %w0", : : "r"(SEL(2)));
    EXPECT_EQ(gdt[SEL(2) / 8] >> 40 & 0xff, ACC_P | ACC_TSS | ACC_BUSY);
}

/* Access byte, RPL, and what LAR, LSL, VERR and VERW say to it at CPL 0. */
static const struct {
    const char *name;
    uint8_t access, rpl;
    bool lar, lsl, verr, verw;
} queries[] = {
    {"data", ACC_P | ACC_DATA | ACC_W, 0, true, true, true, true},
    {"read-only", ACC_P | ACC_DATA, 0, true, true, true, false},
    {"data, RPL 1", ACC_P | ACC_DATA | ACC_W, 1, false, false, false, false},
    {"code", ACC_P | ACC_CODE, 0, true, true, false, false},
    {"readable code", ACC_P | ACC_CODE | ACC_R, 0, true, true, true, false},
    {"readable code, RPL 3", ACC_P | ACC_CODE | ACC_R, 3, false, false, false, false},
    {"conforming, RPL 3", ACC_P | ACC_CODE | ACC_R | ACC_CONF, 3, true, true, true, false},
    {"unreadable conforming", ACC_P | ACC_CODE | ACC_CONF, 3, true, true, false, false},
    {"absent", ACC_DATA | ACC_W, 0, true, true, true, true},
    {"type 0", ACC_P | 0, 0, false, false, false, false},
    {"TSS 16", ACC_P | ACC_TSS16, 0, true, true, false, false},
    {"LDT", ACC_P | ACC_LDT, 0, true, true, false, false},
    {"busy TSS 16", ACC_P | ACC_TSS16_BUSY, 0, true, true, false, false},
    {"call gate 16", ACC_P | ACC_CALL16, 0, true, false, false, false},
    {"task gate", ACC_P | ACC_TASK, 0, true, false, false, false},
    {"interrupt gate 16", ACC_P | ACC_INT16, 0, false, false, false, false},
    {"trap gate 16", ACC_P | ACC_TRAP16, 0, false, false, false, false},
    {"type 8", ACC_P | 8, 0, false, false, false, false},
    {"TSS", ACC_P | ACC_TSS, 0, true, true, false, false},
    {"TSS, RPL 3", ACC_P | ACC_TSS, 3, false, false, false, false},
    {"type 10", ACC_P | 10, 0, false, false, false, false},
    {"busy TSS", ACC_P | ACC_TSS | ACC_BUSY, 0, true, true, false, false},
    {"call gate", ACC_P | ACC_CALL, 0, true, false, false, false},
    {"type 13", ACC_P | 13, 0, false, false, false, false},
    {"interrupt gate", ACC_P | ACC_INT, 0, false, false, false, false},
    {"trap gate", ACC_P | ACC_TRAP, 0, false, false, false, false},
};

/* LAR leaves bits 19:16 undefined. */
#define QUERY(name, ok, value, mask)                                                               \
    do {                                                                                           \
        uint32_t result = 0xdeadbeef;                                                              \
        uint8_t zf;                                                                                \
        TRY(name " %2, %0\n setz %1", : "+r"(result), "=q"(zf) : "r"(selector));                   \
        EXPECT_NO_TRAP();                                                                          \
        EXPECT_EQ(zf, ok);                                                                         \
        EXPECT_EQ(result &(mask), ((ok) ? (value) : 0xdeadbeef) & (mask));                         \
    } while (0)

static void selector_queries(void)
{
    for (unsigned n = 0; n < COUNT(queries); n++) {
        unsigned selector = SEL(0) | queries[n].rpl;
        uint64_t d = descriptor(0x12345678, 0x9abcd, queries[n].access, SEG_G | SEG_D | 1);
        uint8_t zf;

        context("%s", queries[n].name);
        gdt_set(SEL(0), d);
        QUERY("lar", queries[n].lar, (uint32_t)(d >> 32) & 0xffff00, 0xfff0ffff);
        QUERY("lsl", queries[n].lsl, 0x9abcdfff, ~0u);
        TRY_OK("verr %w1\n setz %0", : "=q"(zf) : "r"(selector));
        EXPECT_EQ(zf, queries[n].verr);
        TRY_OK("verw %w1\n setz %0", : "=q"(zf) : "r"(selector));
        EXPECT_EQ(zf, queries[n].verw);
    }
    for (unsigned n = 0; n < 4; n++) {
        static const uint16_t bad[] = {0, 3, 0xfff8, 0xc};
        unsigned selector = bad[n];

        context("selector %x", selector);
        QUERY("lar", false, 0u, ~0u);
        QUERY("lsl", false, 0u, ~0u);
    }
    context("16-bit operands");
    gdt_set(SEL(0), descriptor(0, 0x9abcd, ACC_P | ACC_DATA, SEG_G | SEG_D));
    {
        uint32_t result = 0xdead0000, selector = SEL(0);

        TRY_OK("lar %w1, %w0", : "+r"(result) : "r"(selector));
        EXPECT_EQ(result, 0xdead9000);
        TRY_OK("lsl %w1, %w0", : "+r"(result) : "r"(selector));
        EXPECT_EQ(result, 0xdeaddfff);
    }
}

static void adjust_rpl(void)
{
    uint32_t a = 0x12340008, b = 3;
    uint8_t zf;

    TRY_OK("arpl %w2, %w0\n setz %1", : "+r"(a), "=q"(zf) : "r"(b));
    EXPECT_EQ(a, 0x1234000b);
    EXPECT_EQ(zf, 1);
    b = 2;
    TRY_OK("arpl %w2, %w0\n setz %1", : "+r"(a), "=q"(zf) : "r"(b));
    EXPECT_EQ(a, 0x1234000b);
    EXPECT_EQ(zf, 0);
}

/* LES and family: the selector's fault leaves the general register as it was. */
static void far_pointers(void)
{
    static volatile struct {
        uint32_t offset;
        uint16_t selector;
    } __attribute__((packed)) pointer = {0x11223344, SEL_DATA};
    uint32_t a = 5;

    TRY_OK("les %1, %0", : "+r"(a) : "m"(pointer));
    EXPECT_EQ(a, 0x11223344);
    TRY_OK("lds %1, %0\n lfs %1, %0\n lgs %1, %0", : "+r"(a) : "m"(pointer));
    TRY_OK("mov %%esp, %%ecx\n lss %1, %0\n mov %%ecx, %%esp", : "+r"(a) : "m"(pointer) : "ecx");
    pointer.selector = SEL_TSS;
    a = 5;
    TRY_FAULT(GP, SEL_TSS, "les %1, %0", : "+r"(a) : "m"(pointer));
    EXPECT_EQ(a, 5);
    pointer.selector = 0;
    TRY_FAULT(GP, 0, "lss %1, %0", : "+r"(a) : "m"(pointer));
    EXPECT_EQ(a, 5);
    TRY_OK("lfs %1, %0", : "+r"(a) : "m"(pointer));
    pointer.selector = SEL_DATA;
    a = 0xaaaaaaaa;
    TRY_OK(".byte 0x66\n les %1, %0", : "+r"(a) : "m"(*((volatile char *)&pointer + 2)));
    asm volatile("mov %0, %%es" : : "r"(SEL_DATA));
}

/* Base plus offset wraps at 4 GiB. */
static void linear_wrap(void)
{
    uint32_t a = 0, base = 0xfffff000;

    *(volatile uint32_t *)buffer = 0x600df00d;
    gdt_set(SEL(0), descriptor(base, 0xfffff, ACC_P | ACC_DATA | ACC_W, SEG_G | SEG_D));
    load_fs(SEL(0));
    TRY_OK("movl %%fs:(%1), %0", : "=r"(a) : "r"((uint32_t)buffer - base));
    EXPECT_EQ(a, 0x600df00d);
}

/* The upper half of a segment register in memory and in a register. */
static void store_selector(void)
{
    volatile uint32_t memory = 0xffffffff;
    uint32_t a = 0xffffffff;

    load_fs(SEL_DATA);
    TRY_OK("mov %%fs, %0", : "=m"(memory));
    EXPECT_EQ(memory, 0xffff0000 | SEL_DATA);
    TRY_OK("mov %%fs, %0", : "=r"(a));
    EXPECT_EQ(a, SEL_DATA);
    a = 0xffffffff;
    TRY_OK(".byte 0x66\n mov %%fs, %0", : "+r"(a));
    EXPECT_EQ(a, 0xffff0000 | SEL_DATA);
    a = 0xffffffff;
    TRY_OK("push %%fs\n pop %0", : "=r"(a));
    EXPECT_EQ(a & 0xffff, SEL_DATA);
    TRY_OK("pushl %1\n pop %%fs\n mov %%fs, %0", : "=r"(a) : "i"(0x12340000 | SEL_UDATA));
    EXPECT_EQ(a, SEL_UDATA);
    TRY("pushl %0\n 772: pop %%fs", : : "i"(SEL_TSS));
    EXPECT_TRAP(GP, SEL_TSS);
}

/* A 16-bit stack segment: pushes wrap in SP and leave the upper half of ESP alone. */
static void stack_16(void)
{
    uint32_t sp = 0;

    gdt_set(SEL(0), descriptor((uint32_t)buffer, 0xffff, ACC_P | ACC_DATA | ACC_W, 0));
    TRY_OK("mov %%esp, %%ecx\n mov %w1, %%ss\n mov $0x12342000, %%esp\n pushl $0x11111111\n"
           "mov %%esp, %0\n mov %2, %%ss\n mov %%ecx, %%esp",
           : "=&r"(sp)
           : "r"(SEL(0)), "r"(SEL_DATA)
           : "ecx");
    EXPECT_EQ(sp, 0x12341ffc);
    EXPECT_EQ(*(volatile uint32_t *)(buffer + 0x1ffc), 0x11111111);
    TRY_OK("mov %%esp, %%ecx\n mov %w1, %%ss\n mov $0x12341ffc, %%esp\n popl %%eax\n"
           "mov %%esp, %0\n mov %2, %%ss\n mov %%ecx, %%esp",
           : "=&r"(sp)
           : "r"(SEL(0)), "r"(SEL_DATA)
           : "eax", "ecx");
    EXPECT_EQ(sp, 0x12342000);
    TRY_OK("mov %%esp, %%ecx\n mov %w1, %%ss\n mov $0x12341000, %%esp\n mov $0x55551100, %%ebp\n"
           "enter $0x20, $0\n mov %%esp, %0\n leave\n mov %2, %%ss\n mov %%ecx, %%esp",
           : "=&r"(sp)
           : "r"(SEL(0)), "r"(SEL_DATA)
           : "eax", "ecx", "ebp");
    EXPECT_EQ(sp, 0x12340fdc);
}

/* CPL 3 and the data segments. AX is the selector. */
USER_CODE(user_load_ds, "mov %ax, %fs");
USER_CODE(user_load_ss, "mov %ax, %ss");

static const struct {
    const char *name;
    uint8_t access, rpl, data_fault, stack_fault;
} user_loads[] = {
    {"DPL 3, RPL 3", ACC_P | ACC_DPL(3) | ACC_DATA | ACC_W, 3, 0, 0},
    {"DPL 3, RPL 0", ACC_P | ACC_DPL(3) | ACC_DATA | ACC_W, 0, 0, GP},
    {"DPL 0, RPL 0", ACC_P | ACC_DATA | ACC_W, 0, GP, GP},
    {"DPL 2, RPL 3", ACC_P | ACC_DPL(2) | ACC_DATA | ACC_W, 3, GP, GP},
    {"readable code", ACC_P | ACC_DPL(3) | ACC_CODE | ACC_R, 3, 0, GP},
    {"conforming DPL 0", ACC_P | ACC_CODE | ACC_R | ACC_CONF, 3, 0, GP},
    {"absent", ACC_DPL(3) | ACC_DATA | ACC_W, 3, NP, SS},
};

static void user_checks(void)
{
    for (unsigned n = 0; n < COUNT(user_loads); n++) {
        context("%s", user_loads[n].name);
        gdt_set(SEL(0), descriptor(0, 0xfffff, user_loads[n].access, SEG_G | SEG_D));
        user_regs[UAX] = SEL(0) | user_loads[n].rpl;
        run_user(user_load_ds);
        if (user_loads[n].data_fault == 0)
            EXPECT_RETURN();
        else
            EXPECT_FAULT(user_loads[n].data_fault, SEL(0));
        user_regs[UAX] = SEL(0) | user_loads[n].rpl;
        run_user(user_load_ss);
        if (user_loads[n].stack_fault == 0)
            EXPECT_RETURN();
        else
            EXPECT_FAULT(user_loads[n].stack_fault, SEL(0));
    }
}

const struct test_case cases[] = {
    {"limits", limit_checks},
    {"stack limits", stack_limits},
    {"access rights", access_rights},
    {"null selectors", null_selectors},
    {"loads at CPL 0", load_checks},
    {"loads at CPL 3", user_checks},
    {"limits of the tables", table_limits},
    {"LDT and TR", local_table},
    {"LAR LSL VERR VERW", selector_queries},
    {"ARPL", adjust_rpl},
    {"LES and family", far_pointers},
    {"wrap of linear addresses", linear_wrap},
    {"stores of selectors", store_selector},
    {"16-bit stack", stack_16},
};
PROGRAM("segments");
