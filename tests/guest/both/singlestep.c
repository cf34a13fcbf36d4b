/* EFLAGS.TF: where the trap comes, by instruction (SDM 3B 17.3.1.4), and what it meets. */
#include "debug.h"
#include "segments.h"

/* Code to step through: labels name the addresses at which a trap is expected. */
#define SNIPPET(name, code)                                                                        \
    extern char name[], name##_end[];                                                              \
    asm(".pushsection .text\n" #name ":\n" code "\n" #name "_end: ret\n.popsection")

#if defined(__x86_64__)
#define POPF  "popfq"
#define STACK "rsp"
#define ACC   "rax"
#else
#define POPF  "popf"
#define STACK "esp"
#define ACC   "eax"
#endif

/* Calls code with TF set by POPF. The traps: after CALL, after each instruction of the code, after
 * its RET, after PUSHF, AND and POPF, which clears TF. */
#define TAIL 4
static unsigned long step_a;

static void step_from(const void *code, unsigned long a)
{
    DEBUG_START();
    asm volatile("pushf\n orl $0x100, (" SP ")\n " POPF "\n call *%1\n"
                 "pushf\n andl $~0x100, (" SP ")\n " POPF "\n nop"
                 : "+a"(a)
                 : "d"(code)
                 : "ecx", "ebx", "esi", "edi", "memory", "cc");
    step_a = a;
}

static void expect_steps(const char *code, const uint8_t *offsets, unsigned count)
{
    EXPECT_EQ(debug_count, count + TAIL);
    for (unsigned n = 0; n < count; n++) {
        context("step %u", n);
        EXPECT_EQ(debug_hits[n].ip - (unsigned long)code, offsets[n]);
        EXPECT_EQ(debug_hits[n].dr6, DR6_INIT | DR6_BS);
        EXPECT(debug_hits[n].flags & FL_TF);
    }
}

/* The offsets of the code at which a trap is expected, the first one with 0. */
#define EXPECT_STEPS(code, ...)                                                                    \
    do {                                                                                           \
        static const uint8_t offsets[] = {__VA_ARGS__};                                            \
                                                                                                   \
        expect_steps(code, offsets, COUNT(offsets));                                               \
    } while (0)

SNIPPET(plain, "nop\n mov $5, %eax\n nop");
SNIPPET(jumps, "jmp 1f\n nop\n1: xor %eax, %eax\n jz 2f\n nop\n2: jnz 2b\n nop");
SNIPPET(calls, "call 1f\n jmp 2f\n1: ret\n2: nop");

static void plain_instructions(void)
{
    step_from(plain, 0);
    EXPECT_STEPS(plain, 0, 1, 6, 7);
    EXPECT_EQ(debug_hits[0].flags & FL_RF, 0);
    step_from(jumps, 0);
    EXPECT_STEPS(jumps, 0, 3, 5, 8, 10, 11);
    step_from(calls, 0);
    EXPECT_STEPS(calls, 0, 7, 5, 8, 9);
}

/* One trap for each iteration, at the instruction until the last; RF is set between them. */
uint8_t string[16];
SNIPPET(repeat, "mov $string, %edi\n mov $3, %ecx\n rep stosb\n nop");
SNIPPET(repeat_none, "xor %ecx, %ecx\n rep stosb\n nop");
SNIPPET(repeat_until, "mov $string, %edi\n mov $9, %ecx\n mov $7, %eax\n repne scasb\n nop");

static void repetition(void)
{
    step_from(repeat, 0x77);
    EXPECT_STEPS(repeat, 0, 5, 10, 10, 10, 12, 13);
    EXPECT(debug_hits[3].flags & FL_RF);
    EXPECT(debug_hits[4].flags & FL_RF);
    EXPECT_EQ(debug_hits[5].flags & FL_RF, 0);
    EXPECT_EQ(string[2], 0x77);
    step_from(repeat_none, 0);
    EXPECT_STEPS(repeat_none, 0, 2, 4, 5);
    string[1] = 7;
    step_from(repeat_until, 7);
    EXPECT_STEPS(repeat_until, 0, 5, 10, 15, 15, 17, 18);
}

/* No trap between MOV SS or POP SS and the instruction behind it (SDM 3A 6.8.3). */
SNIPPET(mov_ss, "mov %ss, %ecx\n mov %ecx, %ss\n nop\n nop");
SNIPPET(mov_ds, "mov %ds, %ecx\n mov %ecx, %ds\n nop\n nop");
SNIPPET(sti, "cli\n sti\n nop\n cli");
#if !defined(__x86_64__)
SNIPPET(pop_ss, "push %ss\n pop %ss\n nop\n nop");
#endif

static void shadows(void)
{
    step_from(mov_ss, 0);
    EXPECT_STEPS(mov_ss, 0, 2, 5, 6);
    step_from(mov_ds, 0);
    EXPECT_STEPS(mov_ds, 0, 2, 4, 5, 6);
    step_from(sti, 0);
    EXPECT_STEPS(sti, 0, 1, 2, 3, 4);
#if !defined(__x86_64__)
    step_from(pop_ss, 0);
    EXPECT_STEPS(pop_ss, 0, 1, 3, 4);
#endif
}

/* POPF: the flag from before decides. */
SNIPPET(popf_sets, "pushf\n orl $0x100, (%" STACK ")\n popf\n nop\n nop\n pushf\n"
                   "andl $~0x100, (%" STACK ")\n popf\n nop");
SNIPPET(pushes, "pushf\n pop %" ACC);

static void flag_changes(void)
{
    DEBUG_START();
    ((void (*)(void))popf_sets)();
    EXPECT_EQ(debug_count, 5); /* NOP, NOP, PUSHF, AND, POPF */
    EXPECT_EQ(debug_hits[0].ip, (unsigned long)popf_sets + 10);
    context("PUSHF stores TF");
    step_from(pushes, 0);
    EXPECT(step_a & FL_TF);
}

/* Software interrupts and faults: their handlers run without TF, and the trap of the instruction
 * itself does not come. */
SNIPPET(software, "int $0x44\n nop");
SNIPPET(breakpoint, "int3\n nop");
SNIPPET(faults, "ud2\n nop");
SNIPPET(int1, ".byte 0xf1\n nop");
static unsigned other_count;
static unsigned long other_flags;

static bool software_hook(struct frame *f)
{
    if (f->vector == DB)
        return debug_hook(f);
    other_count++;
    other_flags = f->flags;
    EXPECT_EQ(read_flags() & FL_TF, 0);
    if (f->vector == UD)
        f->ip += 2;
    return true;
}

static void step_software(const void *code)
{
    other_count = 0;
    debug_count = 0;
    trap_hook = software_hook;
    asm volatile("pushf\n orl $0x100, (" SP ")\n " POPF "\n call *%0\n"
                 "pushf\n andl $~0x100, (" SP ")\n " POPF "\n nop"
                 :
                 : "d"(code)
                 : "eax", "ecx", "memory", "cc");
}

static void software_interrupts(void)
{
    step_software(software);
    EXPECT_STEPS(software, 0, 3);
    EXPECT_EQ(other_count, 1);
    EXPECT(other_flags & FL_TF);
    step_software(breakpoint);
    EXPECT_STEPS(breakpoint, 0, 2);
    EXPECT_EQ(other_count, 1);
    step_software(faults);
    EXPECT_STEPS(faults, 0, 3);
    EXPECT_EQ(other_count, 1);
    EXPECT(other_flags & FL_TF);
    EXPECT(other_flags & FL_RF);
    context("INT1");
    step_software(int1);
    EXPECT_EQ(debug_count, TAIL + 3);
    EXPECT_EQ(debug_hits[1].ip, (unsigned long)int1 + 1);
    EXPECT_EQ(debug_hits[1].dr6, DR6_INIT); /* no bit says where it came from */
    EXPECT_EQ(debug_hits[2].ip, (unsigned long)int1 + 2);
}

/* IRET loads TF: the next instruction is stepped, not IRET. */
USER_CODE(user_steps, "nop\n nop\n nop");
USER_CODE(user_interrupt, "nop\n int $0x80");

static void user_mode(void)
{
    DEBUG_START();
    run_user_with(user_steps, SEL_USER64, (unsigned long)user_stack_top, 2 | FL_TF);
    EXPECT_RETURN();
    EXPECT_EQ(debug_count, 3);
    EXPECT_EQ(debug_hits[0].ip, (unsigned long)user_steps + 1);
    EXPECT_EQ(debug_hits[2].ip, (unsigned long)user_steps + 3);
    EXPECT(trap.flags & FL_TF);
    context("RF and TF together");
    debug_count = 0;
    run_user_with(user_steps, SEL_USER64, (unsigned long)user_stack_top, 2 | FL_TF | FL_RF);
    EXPECT_EQ(debug_count, 3);
    EXPECT_EQ(debug_hits[0].flags & FL_RF, 0);
}

/* A trap and a data breakpoint of one instruction are one #DB; so are a breakpoint at code and the
 * trap of the instruction before it. */
volatile uint32_t watched;
SNIPPET(stores, "movl $5, watched\n nop\n nop");

static void merged(void)
{
    unsigned long store = (unsigned long)stores;

    DEBUG_START();
    point_set(2, POINT_WRITE, (unsigned long)&watched, 4);
    step_from(stores, 0);
    EXPECT_EQ(debug_count, 4 + TAIL);
    EXPECT_EQ(debug_hits[1].dr6, DR6_INIT | DR6_BS | DR6_B(2));
    EXPECT_EQ(debug_hits[2].dr6, DR6_INIT | DR6_BS);
    context("code");
    point_set(2, POINT_EXEC, store, 1);
    step_from(stores, 0);
    EXPECT_EQ(debug_hits[0].ip, store);
    EXPECT(debug_hits[0].dr6 & DR6_BS);
    EXPECT_EQ(debug_hits[1].ip, (unsigned long)stores_end - 2);
    EXPECT_EQ(debug_count, 4 + TAIL);
    points_clear();
}

/* MOV SS keeps data breakpoints back, too, and an instruction breakpoint behind it is lost. */
extern char ss_next[], ss_after[];
asm(".pushsection .text\n"
    "ss_load: mov watched_ss, %ss\n"
    "ss_next: nop\n"
    "ss_after: nop\n ret\n"
    ".popsection");
extern void ss_load(void);
volatile uint16_t watched_ss;

static void debug_after_mov_ss(void)
{
    DEBUG_START();
    watched_ss = SEL_DATA;
    point_set(0, POINT_ACCESS, (unsigned long)&watched_ss, 2);
    ss_load();
    EXPECT_EQ(debug_count, 1);
    EXPECT_EQ(debug_hits[0].ip, (unsigned long)ss_after);
    EXPECT_EQ(debug_hits[0].dr6, DR6_INIT | 1);
    context("code breakpoint behind MOV SS");
    points_clear();
    debug_count = 0;
    point_set(0, POINT_EXEC, (unsigned long)ss_next, 1);
    ss_load();
    EXPECT_EQ(debug_count, 0);
    point_set(0, POINT_EXEC, (unsigned long)ss_after, 1);
    ss_load();
    EXPECT_EQ(debug_count, 1);
    points_clear();
}

/* A fault ends the instruction: what it had hit until then is not reported. */
static uint8_t edge[32] __attribute__((aligned(16)));

static void hit_then_fault(void)
{
    if (!on_gnomon()) {
        skip("QEMU 7.2 aborts");
        return;
    }
    DEBUG_START();
    points_clear();
    point_set(0, POINT_ACCESS, (unsigned long)edge, 4);
    /* DIV reads its operand and faults then. */
    TRY_FAULT(DE, 0, "divl %0", : : "m"(edge), "a"(0), "d"(0));
    EXPECT_EQ(debug_count, 0);
    EXPECT_EQ(read_dr6(), DR6_INIT);
    points_clear();
}

/* HLT under TF ends with the trap, without any interrupt. */
SNIPPET(halts, "hlt\n nop");

static void halt(void)
{
    if (!on_gnomon()) {
        skip("QEMU's HLT sleeps on");
        return;
    }
    step_from(halts, 0);
    EXPECT_STEPS(halts, 0, 1, 2);
}

const struct test_case cases[] = {
    {"plain instructions", plain_instructions},
    {"REP", repetition},
    {"behind MOV SS and STI", shadows},
    {"POPF", flag_changes},
    {"software interrupts and faults", software_interrupts},
    {"IRET", user_mode},
    {"several causes", merged},
    {"breakpoints behind MOV SS", debug_after_mov_ss},
    {"breakpoint and fault", hit_then_fault},
    {"HLT", halt},
};
PROGRAM("singlestep");
