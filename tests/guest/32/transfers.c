/* Far transfers of 32-bit protected mode: JMP, CALL and RET between segments and levels, call
 * gates, IRET, and the IDT's gates (SDM 3A chapters 5.8 and 6). */
#include "segments.h"

#define CODE(dpl, bits)                                                                            \
    descriptor(0, 0xfffff, ACC_P | ACC_DPL(dpl) | ACC_CODE | (bits), SEG_G | SEG_D)

struct far_pointer {
    uint32_t offset;
    uint16_t selector;
} __attribute__((packed));

static volatile struct far_pointer target;
static uint32_t stack1[256], stack2[256];

/* Lands here: returns to TRY with trap.cs as it is. */
extern const char landing[], landing_end[];
asm("landing: int $0x80\n landing_end:");

#define LAND ((uint32_t)landing)

/* Byte limits end at 1 MiB: segments with one begin where the program does. */
#define BASE          0x100000
#define INSIDE(where) ((uint32_t)(where)-BASE)

static void set_target(unsigned selector, uint32_t offset)
{
    target.selector = (uint16_t)selector;
    target.offset = offset;
}

/* ---- Direct jumps ---- */

static const struct {
    const char *name;
    uint8_t access;
    uint8_t rpl;
    uint8_t fault; /* 0: gets there */
} jumps[] = {
    {"same level", ACC_P | ACC_CODE | ACC_R, 0, 0},
    {"execute-only", ACC_P | ACC_CODE, 0, 0},
    {"RPL 3", ACC_P | ACC_CODE, 3, GP},
    {"DPL 3", ACC_P | ACC_DPL(3) | ACC_CODE, 3, GP},
    {"conforming", ACC_P | ACC_CODE | ACC_CONF, 0, 0},
    {"conforming, RPL 3", ACC_P | ACC_CODE | ACC_CONF, 3, 0},
    {"conforming, DPL 3", ACC_P | ACC_DPL(3) | ACC_CODE | ACC_CONF, 0, GP},
    {"absent", ACC_CODE, 0, NP},
    {"absent, DPL 3", ACC_DPL(3) | ACC_CODE, 0, GP},
    {"data", ACC_P | ACC_DATA | ACC_W, 0, GP},
    {"LDT", ACC_P | ACC_LDT, 0, GP},
    {"interrupt gate", ACC_P | ACC_INT, 0, GP},
    {"busy TSS", ACC_P | ACC_TSS | ACC_BUSY, 0, GP},
};

static void direct(void)
{
    for (unsigned n = 0; n < COUNT(jumps); n++) {
        context("%s", jumps[n].name);
        gdt_set(SEL(0), descriptor(0, 0xfffff, jumps[n].access, SEG_G | SEG_D));
        set_target(SEL(0) | jumps[n].rpl, LAND);
        for (unsigned call = 0; call < 2; call++) {
            if (call)
                TRY("lcall *%0", : : "m"(target));
            else
                TRY("ljmp *%0", : : "m"(target));
            if (jumps[n].fault == 0) {
                EXPECT_RETURN();
                EXPECT_EQ(trap.ip, (uint32_t)landing_end);
                EXPECT_EQ(trap.cs, SEL(0)); /* RPL becomes CPL */
            } else {
                EXPECT_FAULT(jumps[n].fault, SEL(0));
            }
        }
    }
}

static void direct_limit(void)
{
    gdt_set(SEL(0), descriptor(BASE, INSIDE(LAND) - 1, ACC_P | ACC_CODE, SEG_D));
    set_target(SEL(0), INSIDE(LAND));
    TRY_FAULT(GP, 0, "ljmp *%0", : : "m"(target));
    TRY_FAULT(GP, 0, "lcall *%0", : : "m"(target));
    /* The instruction begins inside, its second byte is not: #GP there, not at the jump. */
    gdt_set(SEL(0), descriptor(BASE, INSIDE(LAND), ACC_P | ACC_CODE, SEG_D));
    TRY("ljmp *%0", : : "m"(target));
    EXPECT_TRAP(GP, 0);
    EXPECT_EQ(trap.ip, INSIDE(LAND));
    EXPECT_EQ(trap.cs, SEL(0));
    gdt_set(SEL(0), descriptor(BASE, INSIDE(LAND) + 1, ACC_P | ACC_CODE, SEG_D));
    TRY("ljmp *%0", : : "m"(target));
    EXPECT_RETURN();
    context("bad selectors");
    set_target(0xfff8, LAND);
    TRY_FAULT(GP, 0xfff8, "ljmp *%0", : : "m"(target));
    TRY_FAULT(GP, 0xc, "ljmp $0xc, $0", :);
}

/* Near branches past the limit fault at the branch. */
static void near_limit(void)
{
    extern const char near_jump[], near_call[], near_ret[], near_jcc[], near_loop[];
    static const char *const entries[] = {near_jump, near_call, near_jcc, near_loop};

    asm volatile goto("jmp %l0\n"
                      ".balign 4096\n"
                      "near_jump: jmp .+0x10000\n"
                      "near_call: call .+0x10000\n"
                      "near_jcc: or $1, %%eax\n jnz .+0x10000\n"
                      "near_loop: mov $2, %%ecx\n loop .+0x70\n"
                      "near_ret: push $0x7fffffff\n ret\n"
                      :
                      :
                      :
                      : over);
over:
    if (!on_gnomon()) { /* QEMU would run whatever lies there */
        skip("needs limits");
        return;
    }
    for (unsigned n = 0; n < COUNT(entries); n++) {
        uint32_t offset = n == 2 ? 3 : n == 3 ? 5 : 0;

        context("branch %u", n);
        gdt_set(SEL(0), descriptor(BASE, INSIDE(near_ret) + 8, ACC_P | ACC_CODE, SEG_D));
        set_target(SEL(0), INSIDE(entries[n]));
        TRY("ljmp *%0", : : "m"(target) : "eax", "ecx");
        EXPECT_TRAP(GP, 0);
        EXPECT_EQ(trap.ip, INSIDE(entries[n]) + offset);
    }
    context("RET");
    set_target(SEL(0), INSIDE(near_ret));
    TRY("ljmp *%0", : : "m"(target));
    EXPECT_TRAP(GP, 0);
    EXPECT_EQ(trap.ip, INSIDE(near_ret) + 5);
}

/* CALL and RETF at the same level: what is pushed and popped. */
static void same_level(void)
{
    uint32_t a, b, c;

    TRY_OK("mov %%esp, %%ebx\n lcall %3, $1f\n jmp 2f\n"
           "1: mov (%%esp), %0\n mov 4(%%esp), %1\n mov %%ebx, %2\n sub %%esp, %2\n lret\n"
           "2: cmp %%esp, %%ebx\n jz 3f\n ud2\n 3:",
           : "=&r"(a), "=&r"(b), "=&r"(c)
           : "i"(SEL_CODE)
           : "ebx");
    EXPECT_EQ(b & 0xffff, SEL_CODE);
    EXPECT_EQ(c, 8);
    /* RETF n drops n bytes after the pointer. */
    TRY_OK("mov %%esp, %%ebx\n push $5\n push $6\n lcall %0, $1f\n jmp 2f\n 1: lret $8\n"
           "2: cmp %%esp, %%ebx\n jz 3f\n ud2\n 3:",
           :
           : "i"(SEL_CODE)
           : "ebx");
    context("RETF");
    TRY("push $0\n push $0\n 7: lret", :);
    EXPECT_TRAP(GP, 0);
    TRY("push %0\n push $0\n lret", : : "i"(SEL_TSS));
    EXPECT_TRAP(GP, SEL_TSS);
    TRY("push %0\n push $0\n lret", : : "i"(SEL_DATA));
    EXPECT_TRAP(GP, SEL_DATA);
    gdt_set(SEL(0), descriptor(0, 0xfffff, ACC_CODE, SEG_G | SEG_D));
    TRY("push %0\n push $0\n lret", : : "i"(SEL(0)));
    EXPECT_TRAP(NP, SEL(0));
    gdt_set(SEL(0), descriptor(0, 0xff, ACC_P | ACC_CODE, SEG_D));
    TRY("push %0\n push $0x100\n lret", : : "i"(SEL(0)));
    EXPECT_TRAP(GP, 0);
}

/* ---- Call gates ---- */

USER_CODE(user_far_call, "lcall *(%eax)");
USER_CODE(user_far_jump, "ljmp *(%eax)");
USER_CODE(user_call_back, "mov %esp, %ecx\n push $0x11\n push $0x22\n push $0x33\n lcall *(%eax)\n"
                          "mov %ecx, %edx\n sub %esp, %edx");
USER_CODE(user_call_back16,
          "mov %esp, %ecx\n pushw $0x11\n pushw $0x22\n pushw $0x33\n lcall *(%eax)\n"
          "mov %ecx, %edx\n sub %esp, %edx");

/* What a gate's target saw of its stack. */
static volatile uint32_t seen[16];
extern const char gate_target[], gate_target16[];
asm("gate_target: push %eax\n push %ecx\n push %esi\n push %ds\n"
    "mov $0x10, %ax\n mov %ax, %ds\n xor %ecx, %ecx\n"
    "1: mov 16(%esp, %ecx, 4), %eax\n mov %eax, seen(, %ecx, 4)\n inc %ecx\n cmp $10, %ecx\n jb "
    "1b\n"
    "mov %ss, seen + 40\n mov %cs, seen + 44\n lea 16(%esp), %eax\n mov %eax, seen + 48\n"
    "pop %ds\n pop %esi\n pop %ecx\n pop %eax\n lret $12\n"
    "gate_target16: push %eax\n push %ecx\n push %ds\n"
    "mov $0x10, %ax\n mov %ax, %ds\n xor %ecx, %ecx\n"
    "1: movzwl 12(%esp, %ecx, 2), %eax\n mov %eax, seen(, %ecx, 4)\n inc %ecx\n cmp $10, %ecx\n"
    "jb 1b\n pop %ds\n pop %ecx\n pop %eax\n lretw $6");

static void call_gate_outer(void)
{
    gdt_set(SEL(0), gate(SEL_CODE, (uint32_t)gate_target, ACC_P | ACC_DPL(3) | ACC_CALL, 3));
    set_target(SEL(0), 0xdeadbeef); /* the offset is not looked at */
    user_regs[UAX] = (uint32_t)&target;
    run_user(user_call_back);
    EXPECT_RETURN();
    EXPECT_EQ(seen[1], SEL_USER64 | 3);
    EXPECT_EQ(seen[2], 0x33);
    EXPECT_EQ(seen[3], 0x22);
    EXPECT_EQ(seen[4], 0x11);
    EXPECT_EQ(seen[5], (uint32_t)user_stack_top - 12);
    EXPECT_EQ(seen[6], SEL_UDATA | 3);
    EXPECT_EQ(seen[10] & 0xffff, SEL_DATA);
    EXPECT_EQ(seen[11] & 0xffff, SEL_CODE);
    EXPECT_EQ(seen[12], tss.esp0 - 28);
    EXPECT_EQ(user_regs[UDX], 0); /* RETF 12 dropped them on both stacks */
    context("16-bit gate");
    gdt_set(SEL(1), descriptor(0x100000, 0xffff, ACC_P | ACC_CODE | ACC_R, SEG_D));
    gdt_set(SEL(0),
            gate(SEL(1), (uint32_t)gate_target16 - 0x100000, ACC_P | ACC_DPL(3) | ACC_CALL16, 3));
    gdt_set(SEL_USER64, descriptor(0x200000, 0xffff, ACC_P | ACC_DPL(3) | ACC_CODE | ACC_R, SEG_D));
    gdt_set(SEL_UDATA2, FLAT_DATA(3));
    user_regs[UAX] = (uint32_t)&target;
    run_user_with((void *)((uint32_t)user_call_back16 - 0x200000), SEL_USER64, 0x3000 + 0x200000,
                  2);
    /* RETF with 16-bit operands keeps 16 bits of ESP, so the stack must lie low for a clean return;
     * here the pushes are of interest. */
    EXPECT_EQ(seen[1], SEL_USER64 | 3);
    EXPECT_EQ(seen[2], 0x33);
    EXPECT_EQ(seen[3], 0x22);
    EXPECT_EQ(seen[4], 0x11);
    EXPECT_EQ(seen[5], 0x3000 - 6);
    EXPECT_EQ(seen[6], SEL_UDATA | 3);
}

/* Gate's DPL, P and RPL against CPL and the target, from CPL 3 and by CALL or JMP. */
static const struct {
    const char *name;
    uint8_t gate_access;
    uint8_t rpl;                    /* of the selector of the gate */
    uint8_t target_access;          /* 0: the gate's selector is null */
    uint8_t call_fault, jump_fault; /* 0: gets there */
    bool on_gate;                   /* the error code names the gate, not the target */
} gates[] = {
    {"to CPL 0", ACC_P | ACC_DPL(3), 3, ACC_P | ACC_CODE, 0, GP, false},
    {"to CPL 0, RPL 0", ACC_P | ACC_DPL(3), 0, ACC_P | ACC_CODE, 0, GP, false},
    {"gate DPL 0", ACC_P, 3, ACC_P | ACC_CODE, GP, GP, true},
    {"gate DPL 2", ACC_P | ACC_DPL(2), 0, ACC_P | ACC_CODE, GP, GP, true},
    {"gate absent", ACC_DPL(3), 3, ACC_P | ACC_CODE, NP, NP, true},
    {"gate absent, DPL 0", 0, 3, ACC_P | ACC_CODE, GP, GP, true},
    {"to CPL 3", ACC_P | ACC_DPL(3), 3, ACC_P | ACC_DPL(3) | ACC_CODE, 0, 0, false},
    {"to conforming", ACC_P | ACC_DPL(3), 3, ACC_P | ACC_CODE | ACC_CONF, 0, 0, false},
    {"to absent", ACC_P | ACC_DPL(3), 3, ACC_CODE, NP, GP, false},
    {"to absent conforming", ACC_P | ACC_DPL(3), 3, ACC_CODE | ACC_CONF, NP, NP, false},
    {"to data", ACC_P | ACC_DPL(3), 3, ACC_P | ACC_DATA | ACC_W, GP, GP, false},
    {"to a TSS", ACC_P | ACC_DPL(3), 3, ACC_P | ACC_TSS, GP, GP, false},
    {"to null", ACC_P | ACC_DPL(3), 3, 0, GP, GP, false},
};

static void call_gate_checks(void)
{
    for (unsigned n = 0; n < COUNT(gates); n++) {
        unsigned selector = gates[n].target_access == 0 ? 0 : SEL(1);
        unsigned level = gates[n].target_access & ACC_CONF ? 3 : gates[n].target_access >> 5 & 3;

        for (unsigned jump = 0; jump < 2; jump++) {
            unsigned fault = jump ? gates[n].jump_fault : gates[n].call_fault;

            context("%s, %s", jump ? "JMP" : "CALL", gates[n].name);
            gdt_set(SEL(0), gate(selector, LAND, gates[n].gate_access | ACC_CALL, 0));
            gdt_set(SEL(1), descriptor(0, 0xfffff, gates[n].target_access, SEG_G | SEG_D));
            set_target(SEL(0) | gates[n].rpl, 0);
            user_regs[UAX] = (uint32_t)&target;
            run_user(jump ? user_far_jump : user_far_call);
            if (fault != 0) {
                EXPECT_FAULT(fault, gates[n].on_gate ? SEL(0) : selector);
                continue;
            }
            EXPECT_RETURN();
            EXPECT_EQ(trap.cs, SEL(1) | level);
            EXPECT_EQ(trap.ip, (uint32_t)landing_end);
        }
    }
}

/* The inner stack: bad selectors in the TSS are #TS, an absent one #SS, no room #SS. */
static const struct {
    const char *name;
    uint8_t access, rpl;
    uint8_t fault;
} inner_stacks[] = {
    {"good", ACC_P | ACC_DPL(1) | ACC_DATA | ACC_W, 1, 0},
    {"RPL 0", ACC_P | ACC_DPL(1) | ACC_DATA | ACC_W, 0, TS},
    {"DPL 0", ACC_P | ACC_DATA | ACC_W, 1, TS},
    {"read-only", ACC_P | ACC_DPL(1) | ACC_DATA, 1, TS},
    {"code", ACC_P | ACC_DPL(1) | ACC_CODE | ACC_R, 1, TS},
    {"absent", ACC_DPL(1) | ACC_DATA | ACC_W, 1, SS},
};

static void inner_stack_checks(void)
{
    gdt_set(SEL(0), gate(SEL(1) | 1, LAND, ACC_P | ACC_DPL(3) | ACC_CALL, 0));
    gdt_set(SEL(1), FLAT_CODE32(1));
    set_target(SEL(0), 0);
    for (unsigned n = 0; n < COUNT(inner_stacks); n++) {
        context("%s", inner_stacks[n].name);
        gdt_set(SEL(2), descriptor(0, 0xfffff, inner_stacks[n].access, SEG_G | SEG_D));
        tss.ss1 = SEL(2) | inner_stacks[n].rpl;
        tss.esp1 = (uint32_t)(stack1 + 256);
        user_regs[UAX] = (uint32_t)&target;
        run_user(user_far_call);
        if (inner_stacks[n].fault != 0) {
            EXPECT_FAULT(inner_stacks[n].fault, SEL(2));
            continue;
        }
        EXPECT_RETURN();
        EXPECT_EQ(trap.cs, SEL(1) | 1);
        EXPECT_EQ(trap.ss, SEL(2) | 1);
        EXPECT_EQ(trap.sp, (uint32_t)(stack1 + 256) - 16);
    }
    context("null");
    tss.ss1 = 0;
    run_user(user_far_call);
    EXPECT_FAULT(TS, 0);
    context("beyond the GDT");
    tss.ss1 = 0xfff9;
    run_user(user_far_call);
    EXPECT_FAULT(TS, 0xfff8);
    context("no room");
    gdt_set(SEL(2), descriptor(0, 15, ACC_P | ACC_DPL(1) | ACC_DATA | ACC_W, SEG_D));
    tss.ss1 = SEL(2) | 1;
    tss.esp1 = 0x20;
    run_user(user_far_call);
    EXPECT_FAULT(SS, SEL(2));
    context("TSS too short");
    gdt_set(SEL(3), descriptor((uint32_t)&tss, 0x10, ACC_P | ACC_TSS, 0));
    asm volatile("ltr %w0" : : "r"(SEL(3)));
    run_user(user_far_call);
    EXPECT_FAULT(TS, SEL(3));
}

/* ---- Returns to outer levels ---- */

static const struct {
    const char *name;
    uint8_t code_access, code_rpl, data_access, data_rpl;
    uint8_t fault;
    bool on_stack; /* the error code is the stack's */
} outers[] = {
    {"good", ACC_P | ACC_DPL(3) | ACC_CODE, 3, ACC_P | ACC_DPL(3) | ACC_DATA | ACC_W, 3, 0, false},
    {"conforming", ACC_P | ACC_CODE | ACC_CONF, 3, ACC_P | ACC_DPL(3) | ACC_DATA | ACC_W, 3, 0,
     false},
    {"code DPL 2", ACC_P | ACC_DPL(2) | ACC_CODE, 3, ACC_P | ACC_DPL(3) | ACC_DATA | ACC_W, 3, GP,
     false},
    {"code absent", ACC_DPL(3) | ACC_CODE, 3, ACC_P | ACC_DPL(3) | ACC_DATA | ACC_W, 3, NP, false},
    {"stack RPL 0", ACC_P | ACC_DPL(3) | ACC_CODE, 3, ACC_P | ACC_DPL(3) | ACC_DATA | ACC_W, 0, GP,
     true},
    {"stack DPL 0", ACC_P | ACC_DPL(3) | ACC_CODE, 3, ACC_P | ACC_DATA | ACC_W, 3, GP, true},
    {"stack read-only", ACC_P | ACC_DPL(3) | ACC_CODE, 3, ACC_P | ACC_DPL(3) | ACC_DATA, 3, GP,
     true},
    {"stack code", ACC_P | ACC_DPL(3) | ACC_CODE, 3, ACC_P | ACC_DPL(3) | ACC_CODE | ACC_R, 3, GP,
     true},
    {"stack absent", ACC_P | ACC_DPL(3) | ACC_CODE, 3, ACC_DPL(3) | ACC_DATA | ACC_W, 3, SS, true},
    {"to level 1", ACC_P | ACC_DPL(1) | ACC_CODE, 1, ACC_P | ACC_DPL(1) | ACC_DATA | ACC_W, 1, 0,
     false},
};

/* RETF and IRET to the target; both end in INT 80h there. */
static void return_outer(bool iret, unsigned cs, unsigned ss)
{
    uint32_t sp = (uint32_t)(stack2 + 256), land = LAND;

    idt_set(VECTOR_RETURN, SEL_CODE, trap_stubs + 16 * VECTOR_RETURN, ACC_P | ACC_DPL(3) | ACC_INT,
            0);
    if (iret)
        TRY("push %0\n push %1\n pushf\n push %2\n push %3\n iret",
            :
            : "r"(ss), "r"(sp), "r"(cs), "r"(land));
    else
        TRY("push %0\n push %1\n push %2\n push %3\n lret",
            :
            : "r"(ss), "r"(sp), "r"(cs), "r"(land));
}

static void returns_outer(void)
{
    for (unsigned n = 0; n < COUNT(outers); n++) {
        for (unsigned iret = 0; iret < 2; iret++) {
            context("%s, %s", iret ? "IRET" : "RETF", outers[n].name);
            gdt_set(SEL(0), descriptor(0, 0xfffff, outers[n].code_access, SEG_G | SEG_D));
            gdt_set(SEL(1), descriptor(0, 0xfffff, outers[n].data_access, SEG_G | SEG_D));
            return_outer(iret, SEL(0) | outers[n].code_rpl, SEL(1) | outers[n].data_rpl);
            if (outers[n].fault != 0) {
                EXPECT_TRAP(outers[n].fault, outers[n].on_stack ? SEL(1) : SEL(0));
                EXPECT_EQ(trap.cs, SEL_CODE);
                continue;
            }
            EXPECT_RETURN();
            EXPECT_EQ(trap.cs, SEL(0) | outers[n].code_rpl);
            EXPECT_EQ(trap.ss, SEL(1) | outers[n].data_rpl);
            EXPECT_EQ(trap.sp, (uint32_t)(stack2 + 256));
        }
    }
    context("null stack");
    return_outer(false, SEL_USER32 | 3, 0);
    EXPECT_TRAP(GP, 0);
    return_outer(true, SEL_USER32 | 3, 0);
    EXPECT_TRAP(GP, 0);
}

/* Data segments that the outer level may not use become null; conforming code stays. */
extern const char show_segments[];
asm("show_segments: mov %ds, %ax\n mov %es, %bx\n mov %fs, %cx\n mov %gs, %dx\n int $0x80");

static void returns_clear_segments(void)
{
    gdt_set(SEL(0), FLAT_DATA(3));
    gdt_set(SEL(1), descriptor(0, 0xfffff, ACC_P | ACC_CODE | ACC_R | ACC_CONF, SEG_G | SEG_D));
    gdt_set(SEL(2), FLAT_DATA(2));
    for (unsigned iret = 0; iret < 2; iret++) {
        static uint32_t sp;

        sp = (uint32_t)(stack2 + 256);
        context("%s", iret ? "IRET" : "RETF");
        TRY("mov %1, %%eax\n mov %%eax, %%ds\n mov %2, %%eax\n mov %%eax, %%es\n"
            "mov %3, %%eax\n mov %%eax, %%fs\n mov %4, %%eax\n mov %%eax, %%gs\n"
            "push %5\n push %%cs:%6\n test %0, %0\n jz 1f\n pushf\n"
            "1: push %7\n push $show_segments\n test %0, %0\n jz 2f\n iret\n 2: lret",
            :
            : "S"(iret), "i"(SEL(0)), "i"(SEL(1)), "i"(SEL(2)), "i"(SEL_DATA), "i"(SEL_UDATA | 3),
              "m"(sp), "i"(SEL_USER32 | 3)
            : "eax", "ebx", "ecx", "edx");
        EXPECT_RETURN();
        EXPECT_EQ(user_regs[UAX] & 0xffff, SEL(0));
        EXPECT_EQ(user_regs[UBX] & 0xffff, SEL(1));
        EXPECT_EQ(user_regs[UCX] & 0xffff, 0);
        EXPECT_EQ(user_regs[UDX] & 0xffff, 0);
    }
    asm volatile("mov %0, %%fs\n mov %0, %%gs" : : "r"(SEL_DATA));
}

/* Returns never go inwards. */
USER_CODE(user_retf_inner, "push $0x08\n push $0\n lret");
USER_CODE(user_iret_inner, "pushf\n push $0x08\n push $0\n iret");
USER_CODE(user_retf_same, "push %cs\n push $1f\n lret\n 1:");
USER_CODE(user_iret_same, "pushf\n push %cs\n push $1f\n iret\n 1:");

static void returns_inner(void)
{
    run_user(user_retf_inner);
    EXPECT_TRAP(GP, SEL_CODE);
    run_user(user_iret_inner);
    EXPECT_TRAP(GP, SEL_CODE);
    run_user(user_retf_same);
    EXPECT_RETURN();
    run_user(user_iret_same);
    EXPECT_RETURN();
}

/* ---- IRET and flags ---- */

USER_CODE(user_iret_flags, "push $0x247fd7\n push %cs\n push $1f\n iret\n 1: pushf\n pop %eax");

static void iret_flags(void)
{
    uint32_t a;

    TRY_OK("push $0x240cd7\n push %1\n push $1f\n iret\n 1: pushf\n pop %0",
           : "=r"(a)
           : "i"(SEL_CODE));
    EXPECT_EQ(a, 0x240cd7);
    TRY_OK("push $0x3002\n push %1\n push $1f\n iret\n 1: pushf\n pop %0",
           : "=r"(a)
           : "i"(SEL_CODE));
    EXPECT_EQ(a, 0x3002);
    context("at CPL 3, IOPL 0");
    run_user(user_iret_flags);
    /* IF and IOPL keep their values, TF raises #DB after the next instruction. */
    EXPECT_TRAP(DB, 0);
    EXPECT_EQ(trap.flags & FL_IOPL, 0);
    EXPECT_EQ(trap.flags & FL_IF, 0);
    EXPECT_EQ(trap.flags & FL_NT, FL_NT);
    context("at CPL 3, IOPL 3");
    run_user_with(user_iret_flags, SEL_USER32, (uint32_t)user_stack_top, 0x3002);
    EXPECT_TRAP(DB, 0);
    EXPECT_EQ(trap.flags & FL_IOPL, FL_IOPL);
    EXPECT_EQ(trap.flags & FL_IF, FL_IF);
}

/* ---- The IDT ---- */

static const struct {
    const char *name;
    uint8_t access;
    uint16_t selector;
    uint8_t fault;    /* for INT 33h at CPL 0 */
    bool on_selector; /* error code: the gate's selector */
} idt_rows[] = {
    {"interrupt gate", ACC_P | ACC_INT, SEL_CODE, 0, false},
    {"trap gate", ACC_P | ACC_TRAP, SEL_CODE, 0, false},
    {"absent", ACC_INT, SEL_CODE, NP, false},
    {"call gate", ACC_P | ACC_CALL, SEL_CODE, GP, false},
    {"code segment", ACC_P | ACC_CODE, SEL_CODE, GP, false},
    {"null selector", ACC_P | ACC_INT, 0, GP, true},
    {"data selector", ACC_P | ACC_INT, SEL_DATA, GP, true},
    {"outer code", ACC_P | ACC_INT, SEL_USER32, GP, true},
    {"outer code, RPL 3", ACC_P | ACC_INT, SEL_USER32 | 3, GP, true},
    {"RPL is ignored", ACC_P | ACC_INT, SEL_CODE | 3, 0, false},
    {"beyond the GDT", ACC_P | ACC_INT, 0xfff8, GP, true},
    {"absent code", ACC_P | ACC_INT, SEL(0), NP, true},
};

static void idt_gates(void)
{
    gdt_set(SEL(0), descriptor(0, 0xfffff, ACC_CODE, SEG_G | SEG_D));
    for (unsigned n = 0; n < COUNT(idt_rows); n++) {
        unsigned code = idt_rows[n].on_selector ? idt_rows[n].selector & 0xfffc : 0x33 * 8 + 2;

        context("%s", idt_rows[n].name);
        idt_set(0x33, idt_rows[n].selector, trap_stubs + 16 * 0x33, idt_rows[n].access, 0);
        TRY("int $0x33", :);
        if (idt_rows[n].fault == 0) {
            EXPECT_TRAP(0x33, 0);
            EXPECT_EQ(trap.ip, try_start + 2);
            EXPECT_EQ(trap.cs, SEL_CODE);
        } else {
            EXPECT_FAULT(idt_rows[n].fault, code);
        }
    }
    context("by an exception: EXT is set");
    idt_set(UD, SEL_DATA, trap_stubs, ACC_P | ACC_INT, 0);
    TRY_FAULT(GP, SEL_DATA | 1, "ud2", :);
    idt_set(UD, 0, trap_stubs, ACC_P | ACC_INT, 0);
    TRY_FAULT(GP, 1, "ud2", :);
    idt_set(UD, SEL_CODE, trap_stubs, ACC_INT, 0);
    TRY_FAULT(NP, UD * 8 + 3, "ud2", :);
    context("INT3 and INTO are software interrupts");
    idt_set(BP, SEL_CODE, trap_stubs + 16 * BP, ACC_INT, 0);
    TRY_FAULT(NP, BP * 8 + 2, "int3", :);
    context("INT1 is not");
    idt_set(DB, SEL_CODE, trap_stubs + 16 * DB, ACC_INT, 0);
    TRY("int1", :);
    EXPECT_TRAP(NP, DB * 8 + 3);
}

static void idt_limit(void)
{
    struct table_pointer small = {0x33 * 8 + 6, idt_pointer.base};

    asm volatile("lidt %0" : : "m"(small));
    TRY_FAULT(GP, 0x33 * 8 + 2, "int $0x33", :);
    TRY_FAULT(GP, 0xff * 8 + 2, "int $0xff", :);
    small.limit++;
    asm volatile("lidt %0" : : "m"(small));
    TRY("int $0x33", :);
    EXPECT_TRAP(0x33, 0);
}

USER_CODE(user_int33, "int $0x33");
USER_CODE(user_int3, "int3");
USER_CODE(user_int1, ".byte 0xf1");
USER_CODE(user_ud2, "ud2");

static void idt_privilege(void)
{
    run_user(user_int33);
    EXPECT_FAULT(GP, 0x33 * 8 + 2);
    idt_set(BP, SEL_CODE, trap_stubs + 16 * BP, ACC_P | ACC_INT, 0);
    run_user(user_int3);
    EXPECT_FAULT(GP, BP * 8 + 2);
    idt_restore(BP);
    run_user(user_int3);
    EXPECT_TRAP(BP, 0);
    run_user(user_int1); /* no check of the gate's DPL */
    EXPECT_TRAP(DB, 0);
    run_user(user_ud2);
    EXPECT_FAULT(UD, 0);
    EXPECT_EQ(trap.cs, SEL_USER64 | 3);
    EXPECT_EQ(trap.ss, SEL_UDATA | 3);
    EXPECT_EQ(trap.sp, (uint32_t)user_stack_top);
    context("conforming handler runs at CPL 3");
    gdt_set(SEL(0), descriptor(0, 0xfffff, ACC_P | ACC_CODE | ACC_R | ACC_CONF, SEG_G | SEG_D));
    idt_set(0x33, SEL(0), landing, ACC_P | ACC_DPL(3) | ACC_TRAP, 0);
    run_user(user_int33);
    EXPECT_RETURN();
    EXPECT_EQ(trap.cs, SEL(0) | 3);
    EXPECT_EQ(trap.sp, (uint32_t)user_stack_top - 12);
}

extern const char flags_probe[];
asm("flags_probe: pushf\n pop %eax\n mov %eax, seen\n int $0x80");

static void idt_flags(void)
{
    const unsigned flags = 0x244ed7; /* all but TF, RF, VM, IOPL */

    idt_set(0x33, SEL_CODE, flags_probe, ACC_P | ACC_TRAP, 0);
    TRY("push %0\n popf\n int $0x33", : : "i"(flags & ~FL_IF) : "eax");
    EXPECT_RETURN();
    EXPECT_EQ(seen[0], flags & ~(FL_NT | FL_IF));
    context("interrupt gate clears IF, trap gate keeps it");
    TRY("sti\n nop\n int $0x33", : : : "eax");
    EXPECT_EQ(seen[0] & FL_IF, FL_IF);
    idt_set(0x33, SEL_CODE, flags_probe, ACC_P | ACC_INT, 0);
    TRY("sti\n nop\n int $0x33", : : : "eax");
    EXPECT_EQ(seen[0] & FL_IF, 0);
    asm volatile("cli");
}

extern const char frame16[];
asm("frame16: pop %eax\n mov %eax, seen\n pop %eax\n mov %eax, seen + 4\n int $0x80");

/* A 16-bit gate pushes words, error code included. */
static void idt_16(void)
{
    idt[0x33] = gate(SEL(0), (uint32_t)frame16 & 0xffff, ACC_P | ACC_TRAP16, 0);
    gdt_set(SEL(0),
            descriptor((uint32_t)frame16 & 0xffff0000, 0xffff, ACC_P | ACC_CODE | ACC_R, SEG_D));
    TRY("push $0x11111111\n int $0x33", : : : "eax");
    EXPECT_RETURN();
    EXPECT_EQ(seen[0] >> 16, SEL_CODE);
    EXPECT_EQ(seen[0] & 0xffff, (try_start + 7) & 0xffff);
    EXPECT_EQ(seen[1] >> 16, 0x1111);
    idt[GP] = gate(SEL(0), (uint32_t)frame16 & 0xffff, ACC_P | ACC_TRAP16, 0);
    TRY("mov %0, %%fs", : : "r"(SEL_TSS) : "eax");
    EXPECT_RETURN();
    EXPECT_EQ(seen[0] & 0xffff, SEL_TSS);
    EXPECT_EQ(seen[0] >> 16, try_start & 0xffff);
    EXPECT_EQ(seen[1] & 0xffff, SEL_CODE);
}

const struct test_case cases[] = {
    {"JMP and CALL to segments", direct},
    {"limits of code segments", direct_limit},
    {"near branches and the limit", near_limit},
    {"CALL and RETF at one level", same_level},
    {"call gate with parameters", call_gate_outer},
    {"call gate checks", call_gate_checks},
    {"inner stacks", inner_stack_checks},
    {"returns to outer levels", returns_outer},
    {"returns clear data segments", returns_clear_segments},
    {"returns to inner levels", returns_inner},
    {"IRET and flags", iret_flags},
    {"gates of the IDT", idt_gates},
    {"limit of the IDT", idt_limit},
    {"privilege of the IDT", idt_privilege},
    {"flags at an interrupt", idt_flags},
    {"16-bit gates", idt_16},
};
PROGRAM("transfers");
