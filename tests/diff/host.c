/* Runs cases on the host's processor: a SIGTRAP handler installs a case's registers in its signal
 * frame and returns into the case; the INT3 or fault that ends it brings the next signal. */
#include "diff.h"

#include "cpu/insn.h"

#include <asm/hwcap2.h>
#include <asm/ldt.h>
#include <asm/prctl.h>
#include <cpuid.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

/* Where the standard format, which signal frames have, keeps the upper halves of YMM registers. */
#define XSAVE_AVX_OFFSET 576

/* And the three components of AVX-512, whose places processors of different makers differ in. */
#define XSAVE_OPMASK 5
#define XSAVE_ZMM    6
#define XSAVE_HIGH   7

#define UC_STRICT_RESTORE_SS 4 /* the kernel's: SS of the signal frame counts */

/* Signal handlers start with the AC, NT and ID of what they interrupt. */
#define STICKY_FLAGS 0x244000ull

#define LINES_PER_CASE 16u /* on average */

/* What a batch of cases may take of the processor's time: some run forever. */
#define BATCH_MICROSECONDS 500000

/* In memory shared with the child. */
struct batch {
    unsigned next, end;
    unsigned line_count;
    struct diff_case cases[BATCH_SIZE];
    struct diff_result results[BATCH_SIZE];
    struct diff_line lines[BATCH_SIZE * LINES_PER_CASE + LINE_COUNT];
};

/* A test program, one thread: the handler needs a way to its state. */
static struct batch *batch;
static const uint8_t *image;
static bool running, fsgsbase, has_avx, has_avx512;
static uint32_t component_offset[8]; /* in the standard format */
static uint64_t fs_base;

static const int greg_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                REG_R12, REG_R13, REG_R14, REG_R15};

/* Loads the segment registers that signal frames do not hold. */
static void install_segments(const struct diff_state *s)
{
    __asm__ volatile("mov %0, %%ds; mov %1, %%es" ::"r"((unsigned)s->selector[SEG_DS]),
                     "r"((unsigned)s->selector[SEG_ES]));
    if (fsgsbase)
        __asm__ volatile("mov %0, %%gs; wrgsbase %1" ::"r"(0), "r"(s->gs_base));
}

static void install_x87(struct _libc_fpstate *fp, const struct diff_state *s)
{
    fp->cwd = s->fcw;
    fp->swd = s->fsw;
    fp->ftw = s->ftw;
    fp->fop = s->fop;
    fp->rip = s->fip;
    fp->rdp = s->fdp;
    for (unsigned n = 0; n < 8; n++) {
        memcpy(fp->_st[n].significand, &s->st[n].significand, 8);
        fp->_st[n].exponent = s->st[n].sign_exponent;
    }
}

static char *component(struct _libc_fpstate *fp, unsigned number)
{
    return (char *)fp + component_offset[number];
}

static void install(ucontext_t *u, const struct diff_case *c, unsigned slot)
{
    greg_t *g = u->uc_mcontext.gregs;
    struct _libc_fpstate *fp = u->uc_mcontext.fpregs;
    uint64_t *xstate_bv = (uint64_t *)((char *)fp + 512);
    uint64_t ss = c->in.selector[SEG_SS], cs = c->in.selector[SEG_CS];

    for (unsigned n = 0; n < 16; n++)
        g[greg_of[n]] = (greg_t)c->in.gpr[n];
    g[REG_RIP] = (greg_t)case_entry(c, slot);
    g[REG_EFL] = (greg_t)c->in.rflags;
    g[REG_CSGSFS] = (greg_t)(ss << 48 | cs);
    u->uc_flags |= UC_STRICT_RESTORE_SS;
    install_x87(fp, &c->in);
    fp->mxcsr = c->in.mxcsr;
    memcpy(fp->_xmm, c->in.xmm, sizeof(c->in.xmm));
    *xstate_bv |= 3; /* x87 and SSE are to be loaded */
    if (has_avx) {
        *xstate_bv |= 4;
        memcpy((char *)fp + XSAVE_AVX_OFFSET, c->in.ymm, sizeof(c->in.ymm));
    }
    if (has_avx512) {
        *xstate_bv |= 0xe0;
        memcpy(component(fp, XSAVE_OPMASK), c->in.opmask, sizeof(c->in.opmask));
        memcpy(component(fp, XSAVE_ZMM), c->in.zmm, sizeof(c->in.zmm));
        memcpy(component(fp, XSAVE_HIGH), c->in.high, sizeof(c->in.high));
    }
    for (unsigned n = 0; n < c->patch_count; n++)
        memcpy((char *)DATA_BASE + c->patch[n].offset, c->bytes + c->patch[n].bytes,
               c->patch[n].size);
    install_segments(&c->in);
}

/* Notes and restores the lines of the data pages that are not as before. */
static void capture_data(struct diff_result *r)
{
    uint8_t *data = (uint8_t *)DATA_BASE;

    r->lines = &batch->lines[batch->line_count];
    r->line_count = 0;
    for (unsigned n = 0; n < LINE_COUNT; n++) {
        uint8_t *line = data + n * LINE_SIZE;
        struct diff_line *out = &batch->lines[batch->line_count];

        if (n % 8 == 0 && memcmp(line, image + n * LINE_SIZE, 8 * LINE_SIZE) == 0) {
            n += 7;
            continue;
        }
        if (memcmp(line, image + n * LINE_SIZE, LINE_SIZE) == 0)
            continue;
        out->number = (uint16_t)n;
        memcpy(out->bytes, line, LINE_SIZE);
        memcpy(line, image + n * LINE_SIZE, LINE_SIZE);
        batch->line_count++;
        r->line_count++;
    }
}

static void capture(const ucontext_t *u, const struct diff_case *c, struct diff_result *r)
{
    const greg_t *g = u->uc_mcontext.gregs;
    struct _libc_fpstate *fp = u->uc_mcontext.fpregs;
    struct diff_state *s = &r->out;

    for (unsigned n = 0; n < 16; n++)
        s->gpr[n] = (uint64_t)g[greg_of[n]];
    if (!mode_is_long(c)) /* the kernel leaves something in there for 16-bit stacks */
        s->gpr[GPR_RSP] = (uint32_t)s->gpr[GPR_RSP];
    s->rip = (uint64_t)g[REG_RIP];
    s->rflags = (uint64_t)g[REG_EFL];
    s->selector[SEG_CS] = (uint16_t)g[REG_CSGSFS];
    s->selector[SEG_SS] = (uint16_t)((uint64_t)g[REG_CSGSFS] >> 48);
    s->fcw = fp->cwd;
    s->fsw = fp->swd;
    s->ftw = (uint8_t)fp->ftw;
    s->fop = fp->fop;
    s->fip = fp->rip;
    s->fdp = fp->rdp;
    s->mxcsr = fp->mxcsr;
    for (unsigned n = 0; n < 8; n++) {
        memcpy(&s->st[n].significand, fp->_st[n].significand, 8);
        s->st[n].sign_exponent = fp->_st[n].exponent;
    }
    memcpy(s->xmm, fp->_xmm, sizeof(s->xmm));
    if (has_avx)
        memcpy(s->ymm, (const char *)fp + XSAVE_AVX_OFFSET, sizeof(s->ymm));
    if (has_avx512) {
        memcpy(s->opmask, component(fp, XSAVE_OPMASK), sizeof(s->opmask));
        memcpy(s->zmm, component(fp, XSAVE_ZMM), sizeof(s->zmm));
        memcpy(s->high, component(fp, XSAVE_HIGH), sizeof(s->high));
    }
    s->vector = (uint8_t)g[REG_TRAPNO];
    s->error_code = (uint32_t)g[REG_ERR];
    s->cr2 = s->vector == 14 ? (uint64_t)g[REG_CR2] : 0;
    capture_data(r);
}

/* FS leads to the C library's data of the thread: first of all, it is made good again. */
static void capture_segments(struct diff_state *s)
{
    unsigned v[4];

    __asm__ volatile("mov %%es, %0; mov %%ds, %1; mov %%fs, %2; mov %%gs, %3"
                     : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3]));
    s->selector[SEG_ES] = (uint16_t)v[0];
    s->selector[SEG_DS] = (uint16_t)v[1];
    s->selector[SEG_FS] = (uint16_t)v[2];
    s->selector[SEG_GS] = (uint16_t)v[3];
    s->fs_base = fs_base;
    s->gs_base = 0;
    if (!fsgsbase)
        return;
    __asm__ volatile("rdfsbase %0; rdgsbase %1" : "=r"(s->fs_base), "=r"(s->gs_base));
    if (v[2] != 0 || s->fs_base != fs_base)
        __asm__ volatile("mov %0, %%fs; wrfsbase %1" ::"r"(0), "r"(fs_base));
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    ucontext_t *u = context;
    unsigned next = batch->next;

    (void)number;
    (void)info;
    __builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() & ~STICKY_FLAGS);
    capture_segments(&batch->results[next].out);
    if (running) {
        capture(u, &batch->cases[next], &batch->results[next]);
        batch->next = ++next;
    }
    running = true;
    if (next == batch->end || batch->line_count > BATCH_SIZE * LINES_PER_CASE)
        _exit(0);
    install(u, &batch->cases[next], next);
}

static void child(void)
{
    static const int signals[] = {SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    struct itimerval limit = {.it_value.tv_usec = BATCH_MICROSECONDS};
    stack_t stack = {.ss_size = 256 * 1024};

    stack.ss_sp = malloc(stack.ss_size);
    sigaltstack(&stack, NULL);
    for (unsigned n = 0; n < sizeof(signals) / sizeof(signals[0]); n++)
        sigaction(signals[n], &action, NULL);
    setitimer(ITIMER_PROF, &limit, NULL);
    raise(SIGTRAP);
    _exit(1);
}

static void write_descriptors(void)
{
    for (unsigned n = 0; n < LDT_COUNT; n++) {
        struct diff_segment s = layout_segment(n);
        struct user_desc d = {
            .entry_number = n,
            .base_addr = s.base,
            .limit = s.limit,
            .seg_32bit = s.big,
            .contents = s.code   ? MODIFY_LDT_CONTENTS_CODE
                        : s.down ? MODIFY_LDT_CONTENTS_STACK
                                 : MODIFY_LDT_CONTENTS_DATA,
            .read_exec_only = !s.writable,
            .seg_not_present = !s.present,
            .useable = 1,
        };

        if (syscall(SYS_modify_ldt, 0x11, &d, sizeof(d)) != 0) {
            perror("diff: modify_ldt");
            exit(1);
        }
    }
}

struct diff_case *host_create(void)
{
    void *code, *data;

    fsgsbase = (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE) != 0;
    has_avx = host_has_feature(FEATURE_AVX);
    has_avx512 = host_has_feature(FEATURE_AVX512F);
    for (unsigned n = XSAVE_OPMASK; has_avx512 && n <= XSAVE_HIGH; n++) {
        uint32_t eax, ecx, edx;

        __get_cpuid_count(13, n, &eax, &component_offset[n], &ecx, &edx);
    }
    syscall(SYS_arch_prctl, ARCH_GET_FS, &fs_base);
    batch = mmap(NULL, sizeof(*batch), PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    code = mmap((void *)CODE_BASE, CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    data = mmap((void *)DATA_BASE, DATA_SIZE, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (batch == MAP_FAILED || code == MAP_FAILED || data == MAP_FAILED) {
        perror("diff: mmap");
        exit(1);
    }
    write_descriptors();
    return batch->cases;
}

enum host_end host_run(const uint8_t *data, unsigned first, unsigned count,
                       const struct diff_result **results, unsigned *done)
{
    int status = 0;
    pid_t pid;

    memset((void *)CODE_BASE, 0xcc, CODE_SIZE);
    for (unsigned n = first; n < first + count; n++)
        memcpy((void *)slot_address(n), batch->cases[n].code, batch->cases[n].length);
    image = data;
    memcpy((void *)DATA_BASE, data, DATA_SIZE);
    batch->next = first;
    batch->end = first + count;
    batch->line_count = 0;
    fflush(NULL);
    pid = fork();
    if (pid == 0)
        child();
    waitpid(pid, &status, 0);
    *done = batch->next - first;
    *results = batch->results;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return HOST_DONE;
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGPROF ? HOST_RUNAWAY : HOST_DIED;
}

bool host_has_fsgsbase(void)
{
    return fsgsbase;
}

uint64_t host_fs_base(void)
{
    return fs_base;
}

static bool ask_feature(unsigned feature)
{
    enum { EAX, EBX, ECX, EDX };
    static const struct {
        uint32_t leaf, subleaf;
        uint8_t reg, bit;
    } rows[] = {
#define X(name, word, leaf, subleaf, reg, bit) {leaf, subleaf, reg, bit},
        CPU_FEATURES(X)
#undef X
    };
    uint32_t out[4];

    if (feature == FEATURE_BASE)
        return true;
    return __get_cpuid_count(rows[feature].leaf, rows[feature].subleaf, &out[EAX], &out[EBX],
                             &out[ECX], &out[EDX]) &&
           (out[rows[feature].reg] >> rows[feature].bit & 1);
}

bool host_has_feature(unsigned feature)
{
    static int8_t known[FEATURE_COUNT]; /* -1: no, 1: yes */

    if (known[feature] == 0)
        known[feature] = ask_feature(feature) ? 1 : -1;
    return known[feature] > 0;
}
