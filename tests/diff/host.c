/* Runs cases on the host's processor: a SIGTRAP handler installs a case's registers in its signal
 * frame and returns into the case; the INT3 or fault that ends it brings the next signal. */
#include "diff.h"

#include "cpu/insn.h"

#include <cpuid.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

/* Where the standard format, which signal frames have, keeps the upper halves of YMM registers. */
#define XSAVE_AVX_OFFSET 576

/* And the three components of AVX-512, whose places processors of different makers differ in. */
#define XSAVE_OPMASK 5
#define XSAVE_ZMM    6
#define XSAVE_HIGH   7

#define CODE_SIZE (BATCH_SIZE * SLOT_SIZE)

/* In memory shared with the child. */
struct batch {
    unsigned count, next;
    struct diff_case cases[BATCH_SIZE];
    struct diff_result results[BATCH_SIZE];
};

/* A test program, one thread: the handler needs a way to its state. */
static struct batch *batch;
static bool running;

static const int greg_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                REG_R12, REG_R13, REG_R14, REG_R15};

static char *component(struct _libc_fpstate *fp, unsigned number)
{
    uint32_t eax, offset = 0, ecx, edx;

    __get_cpuid_count(13, number, &eax, &offset, &ecx, &edx);
    return (char *)fp + offset;
}

static void install(ucontext_t *u, const struct diff_case *c, unsigned slot)
{
    greg_t *g = u->uc_mcontext.gregs;
    struct _libc_fpstate *fp = u->uc_mcontext.fpregs;
    uint64_t *xstate_bv = (uint64_t *)((char *)fp + 512);
    uint16_t cs = c->compat ? 0x23 : 0x33;

    for (unsigned n = 0; n < 16; n++)
        g[greg_of[n]] = (greg_t)c->in.gpr[n];
    g[REG_RIP] = (greg_t)slot_address(slot);
    g[REG_EFL] = (greg_t)c->in.rflags;
    g[REG_CSGSFS] = (greg_t)(((uint64_t)g[REG_CSGSFS] & ~0xffffull) | cs);
    fp->cwd = c->in.fcw;
    fp->swd = c->in.fsw;
    fp->ftw = c->in.ftw;
    fp->fop = c->in.fop;
    fp->rip = c->in.fip;
    fp->rdp = c->in.fdp;
    fp->mxcsr = c->in.mxcsr;
    for (unsigned n = 0; n < 8; n++) {
        memcpy(fp->_st[n].significand, &c->in.st[n].significand, 8);
        fp->_st[n].exponent = c->in.st[n].sign_exponent;
    }
    memcpy(fp->_xmm, c->in.xmm, sizeof(c->in.xmm));
    *xstate_bv |= 3; /* x87 and SSE are to be loaded */
    if (host_has_feature(FEATURE_AVX)) {
        *xstate_bv |= 4;
        memcpy((char *)fp + XSAVE_AVX_OFFSET, c->in.ymm, sizeof(c->in.ymm));
    }
    if (host_has_feature(FEATURE_AVX512F)) {
        *xstate_bv |= 0xe0;
        memcpy(component(fp, XSAVE_OPMASK), c->in.opmask, sizeof(c->in.opmask));
        memcpy(component(fp, XSAVE_ZMM), c->in.zmm, sizeof(c->in.zmm));
        memcpy(component(fp, XSAVE_HIGH), c->in.high, sizeof(c->in.high));
    }
    memcpy((void *)DATA_BASE, c->data, DATA_SIZE);
}

static void capture(const ucontext_t *u, struct diff_result *r)
{
    const greg_t *g = u->uc_mcontext.gregs;
    struct _libc_fpstate *fp = u->uc_mcontext.fpregs;
    struct diff_state *s = &r->out;

    for (unsigned n = 0; n < 16; n++)
        s->gpr[n] = (uint64_t)g[greg_of[n]];
    s->rip = (uint64_t)g[REG_RIP];
    s->rflags = (uint64_t)g[REG_EFL];
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
    if (host_has_feature(FEATURE_AVX))
        memcpy(s->ymm, (const char *)fp + XSAVE_AVX_OFFSET, sizeof(s->ymm));
    if (host_has_feature(FEATURE_AVX512F)) {
        memcpy(s->opmask, component(fp, XSAVE_OPMASK), sizeof(s->opmask));
        memcpy(s->zmm, component(fp, XSAVE_ZMM), sizeof(s->zmm));
        memcpy(s->high, component(fp, XSAVE_HIGH), sizeof(s->high));
    }
    s->vector = (uint8_t)g[REG_TRAPNO];
    s->error_code = (uint32_t)g[REG_ERR];
    s->cr2 = s->vector == 14 ? (uint64_t)g[REG_CR2] : 0;
    memcpy(r->data, (void *)DATA_BASE, DATA_SIZE);
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    ucontext_t *u = context;

    (void)number;
    (void)info;
    if (running)
        capture(u, &batch->results[batch->next++]);
    running = true;
    if (batch->next == batch->count)
        _exit(0);
    install(u, &batch->cases[batch->next], batch->next);
}

static void child(void)
{
    static const int signals[] = {SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    stack_t stack = {.ss_size = 256 * 1024};

    stack.ss_sp = malloc(stack.ss_size);
    sigaltstack(&stack, NULL);
    for (unsigned n = 0; n < sizeof(signals) / sizeof(signals[0]); n++)
        sigaction(signals[n], &action, NULL);
    /* 64-bit processes run with null data segments; 32-bit code needs real ones. */
    __asm__ volatile("mov %0, %%ds; mov %0, %%es" ::"r"(0x2b));
    alarm(60);
    raise(SIGTRAP);
    _exit(1);
}

void host_create(void)
{
    void *code, *data;

    batch = mmap(NULL, sizeof(*batch), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    code = mmap((void *)CODE_BASE, CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    data = mmap((void *)DATA_BASE, DATA_SIZE, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (batch == MAP_FAILED || code == MAP_FAILED || data == MAP_FAILED) {
        perror("diff: mmap");
        exit(1);
    }
}

bool host_run(const struct diff_case *cases, unsigned count, struct diff_result *results,
              unsigned *done)
{
    int status = 0;
    pid_t pid;

    memset((void *)CODE_BASE, 0xcc, CODE_SIZE);
    for (unsigned n = 0; n < count; n++)
        memcpy((void *)slot_address(n), cases[n].code, cases[n].length);
    memcpy(batch->cases, cases, count * sizeof(cases[0]));
    batch->count = count;
    batch->next = 0;
    fflush(NULL);
    pid = fork();
    if (pid == 0)
        child();
    waitpid(pid, &status, 0);
    *done = batch->next;
    memcpy(results, batch->results, batch->next * sizeof(results[0]));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool host_has_feature(unsigned feature)
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
