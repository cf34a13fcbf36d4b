/* Runs the cases, counts the checks, says what failed; records events for TRY. */
#include "guest.h"
#include "internal.h"
#if !defined(REAL_MODE)
#include "segments.h"
#endif

#define EXIT_PORT      0x5f0
#define EXIT_SIGNATURE 0x4d4f4e47
#define QEMU_EXIT_PORT 0xf4

volatile struct trap trap;
volatile unsigned long try_start, try_resume, try_sp, case_resume, case_sp;
bool (*trap_hook)(struct frame *frame);

/* What the running case says of itself. */
static struct {
    const char *name;
    char context[120];
    bool failed, skipped;
} current;

static unsigned check_count, failure_count;

bool on_gnomon(void)
{
    return inl(EXIT_PORT) == EXIT_SIGNATURE;
}

_Noreturn void guest_exit(unsigned status)
{
    if (on_gnomon())
        outl(EXIT_PORT, status);
    outb(QEMU_EXIT_PORT, (uint8_t)status);
    for (;;)
        asm volatile("cli\n hlt");
}

void context(const char *format, ...)
{
    __builtin_va_list arguments;

    __builtin_va_start(arguments, format);
    format_text(current.context, sizeof(current.context), format, arguments);
    __builtin_va_end(arguments);
}

void skip(const char *reason)
{
    current.skipped = true;
    print("skip %s: %s: %s\n", program_name, current.name, reason);
}

static void fail(const char *file, int line)
{
    const char *start = file;

    current.failed = true;
    failure_count++;
    for (; *file != '\0'; file++)
        if (*file == '/')
            start = file + 1;
    print("FAIL %s: %s%s%s: %s:%d: ", program_name, current.name,
          current.context[0] != '\0' ? ", " : "", current.context, start, line);
}

void check_equal(const char *file, int line, const char *what, uint64_t seen, uint64_t expected)
{
    check_count++;
    if (seen == expected)
        return;
    fail(file, line);
    print("%s: expected %llx, seen %llx\n", what, (unsigned long long)expected,
          (unsigned long long)seen);
}

void check_true(const char *file, int line, const char *what, bool seen)
{
    check_count++;
    if (seen)
        return;
    fail(file, line);
    print("expected: %s\n", what);
}

static void print_event(unsigned long vector, unsigned long error)
{
    static const char *const names[] = {"#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD",
                                        "#NM", "#DF", "9",   "#TS", "#NP", "#SS", "#GP",
                                        "#PF", "15",  "#MF", "#AC", "#MC", "#XM"};

    if (vector == NO_TRAP)
        print("none");
    else if (vector < COUNT(names))
        print("%s(%lx)", names[vector], error);
    else
        print("vector %lx", vector);
}

void check_trap(const char *file, int line, unsigned vector, unsigned long error,
                enum trap_place place)
{
    bool right = trap.vector == vector && trap.error == error;

    check_count++;
    if (right && (place == ANYWHERE || trap.ip == try_start))
        return;
    fail(file, line);
    print("expected ");
    print_event(vector, error);
    if (place == AT_START)
        print(" at %lx", try_start);
    print(", seen ");
    print_event(trap.vector, trap.error);
    if (trap.vector != NO_TRAP)
        print(" at %lx:%lx flags %lx cr2 %lx", trap.cs, trap.ip, trap.flags, trap.cr2);
    print("\n");
}

void try_begin(void)
{
    trap = (struct trap){.vector = NO_TRAP};
}

static void record(const struct frame *f)
{
    trap.vector = f->vector;
    trap.error = f->error;
    trap.ip = f->ip;
    trap.cs = f->cs;
    trap.flags = f->flags;
    trap.cr2 = read_cr2();
#if defined(__x86_64__) || defined(REAL_MODE)
    trap.sp = f->sp;
    trap.ss = f->ss;
#else
    if ((f->cs & 3) != 0 || (f->flags & FL_VM)) {
        trap.sp = f->sp;
        trap.ss = f->ss;
    } else {
        trap.sp = (uint32_t)&f->sp;
        trap.ss = SEL_DATA;
    }
#endif
#if !defined(REAL_MODE)
    if (user_running || f->vector == VECTOR_RETURN)
        protected_note_regs(f);
#endif
}

/* Called by every vector's stub. Returns where to go on: 0 as the frame says. */
unsigned long trap_handle(struct frame *f)
{
    unsigned long resume = try_resume;

    if (trap_hook != NULL && trap_hook(f))
        return 0;
    record(f);
    if (resume != 0) {
        try_resume = 0;
        trap_target_sp = try_sp;
        return resume;
    }
    fail("outside TRY", 0);
    print_event(f->vector, f->error);
    print(" at %lx:%lx flags %lx cr2 %lx\n", trap.cs, trap.ip, trap.flags, trap.cr2);
    if (case_resume == 0 || failure_count > 100)
        guest_exit(1);
    trap_target_sp = case_sp;
    return case_resume;
}

#if !defined(REAL_MODE)
/* What a case may change and the next one wants back. */
struct control {
    unsigned long cr0, cr3, cr4;
};

static void control_save(struct control *c)
{
    c->cr0 = read_cr0();
    c->cr3 = read_cr3();
    c->cr4 = read_cr4();
}

static void control_restore(const struct control *c)
{
    write_cr0(c->cr0);
    write_cr3(c->cr3);
    write_cr4(c->cr4);
    segments_init();
}
#else
struct control {
    unsigned long unused;
};

static void control_save(struct control *c)
{
    c->unused = 0;
}

static void control_restore(const struct control *c)
{
    (void)c;
}
#endif

/* Called by the entry code. */
_Noreturn void guest_main(void)
{
    unsigned failed = 0, skipped = 0;
    struct control control;

    outb(0x21, 0xff); /* no interrupts of the PICs, whatever ran before */
    outb(0xa1, 0xff);
    control_save(&control);
    for (unsigned n = 0; n < case_count; n++) {
        current.name = cases[n].name;
        current.context[0] = '\0';
        current.failed = current.skipped = false;
        guest_call(cases[n].run);
        case_resume = 0;
        try_resume = 0;
        trap_hook = NULL;
        write_flags(2);
        control_restore(&control);
        failed += current.failed;
        skipped += current.skipped;
    }
    print("%s %s: %u cases, %u checks, %u cases failed, %u skipped\n",
          failed == 0 ? "pass" : "fail", program_name, case_count, check_count, failed, skipped);
    guest_exit(failed == 0 ? 0 : 1);
}
