/* Which rows of the instruction table are tested, and how often. */
#include "base/bits.h"
#include "cpu/insn.h"
#include "values.h"

#include <string.h>

/* Rows whose effect is another system's: they ask the kernel for something, or Linux emulates them
 * for what UMIP forbids. By mnemonic. */
static const char *const excluded[] = {
    "syscall", "sysenter", "sgdt", "sidt", "sldt", "smsw", "str", "wrpkru", "rdpkru",
};

static bool is_one_of(const char *mnemonic, const char *const *list, size_t count)
{
    for (size_t k = 0; k < count; k++)
        if (strcmp(mnemonic, list[k]) == 0)
            return true;
    return false;
}

enum row_class row_class(unsigned n, enum diff_mode mode)
{
    const struct insn_row *row = &insn_rows[n];

    if (mode == DIFF_64 ? row->modes == IN_NO64 || row->modes == IN_PROT_NO64 : row->modes == IN_64)
        return ROW_NO_MODE;
    if (is_one_of(row->mnemonic, excluded, ARRAY_SIZE(excluded)))
        return ROW_EXCLUDED;
    if (!host_has_feature(row->feature) || (row_touches_fs(n) && !host_has_fsgsbase()))
        return ROW_ABSENT;
    return ROW_TESTED;
}

static bool ends_in(const char *text, const char *end)
{
    size_t n = strlen(text), k = strlen(end);

    return n >= k && strcmp(text + n - k, end) == 0;
}

unsigned row_weight(unsigned n)
{
    const struct insn_row *row = &insn_rows[n];
    const char *name = row->mnemonic;

    if (row_always_faults(n))
        return 1;
    if (row->attrs & A_X87)
        return 4;
    if ((row->attrs & (A_SSE | A_AVX)) &&
        (ends_in(name, "ps") || ends_in(name, "ss") || ends_in(name, "pd") || ends_in(name, "sd") ||
         strstr(name, "cvt") != NULL))
        return 5;
    return 2;
}

bool row_always_faults(unsigned n)
{
    static const char *const traps[] = {"int3", "int1", "into", "int", "rsm", "ud0", "ud1", "ud2"};
    const struct insn_row *row = &insn_rows[n];

    return (row->attrs & (A_CPL0 | A_CPL0_UD | A_IO)) != 0 ||
           is_one_of(row->mnemonic, traps, ARRAY_SIZE(traps)) ||
           strpbrk(row->mnemonic, "{") != NULL || strcmp(row->mnemonic, "cli") == 0 ||
           strcmp(row->mnemonic, "sti") == 0 || strcmp(row->mnemonic, "xsetbv") == 0 ||
           strcmp(row->mnemonic, "rdpmc") == 0 || strstr(row->operands, "DX") != NULL;
}

bool row_touches_fs(unsigned n)
{
    const struct insn_row *row = &insn_rows[n];

    return strstr(row->mnemonic, "fsbase") != NULL || strcmp(row->operands, "fs") == 0 ||
           strcmp(row->mnemonic, "lfs") == 0 || strstr(row->operands, "Sw") != NULL;
}

/* Rows that change what the encodings behind them rely on: where code runs, how wide it is, the
 * segments; and those that tell what the two systems do not have in common. */
bool row_in_sequence(unsigned n)
{
    static const char *const alone[] = {
        "popf",  "pushf",    "iret",     "retf",     "lcall",    "ljmp",  "enter",  "cpuid",
        "rdtsc", "rdtscp",   "rdrand",   "rdseed",   "xgetbv",   "rdpid", "clzero", "les",
        "lds",   "lss",      "lfs",      "lgs",      "rdfsbase", "lsl",   "lar",    "bound",
        "verr",  "rdgsbase", "wrfsbase", "wrgsbase", "verw",     "jmp",   "call",   "ret",
    };
    const struct insn_row *row = &insn_rows[n];

    if (row_always_faults(n) || row_touches_fs(n) || allowance_exists(n))
        return false;
    /* PUSH and POP of segment registers. */
    if (strlen(row->operands) == 2 && row->operands[1] == 's' &&
        strchr("cdefgs", row->operands[0]) != NULL)
        return false;
    if (row->attrs & A_VSIB)
        return false;
    if (row->attrs & A_JUMP && row->operands[0] == 'J')
        return true;
    if (strcmp(row->operands, "Ev,Gv,CL") == 0) /* SHLD, SHRD: see limit_count */
        return false;
    return !is_one_of(row->mnemonic, alone, ARRAY_SIZE(alone));
}

/* ---- Sequences ------------------------------------------------------------------------------ */

enum row_kind { KIND_GENERAL, KIND_X87, KIND_VECTOR, KIND_COUNT };

static enum row_kind kind_of(unsigned n)
{
    uint32_t attrs = insn_rows[n].attrs;

    return attrs & (A_X87 | A_MMX)   ? KIND_X87
           : attrs & (A_SSE | A_AVX) ? KIND_VECTOR
                                     : KIND_GENERAL;
}

/* All rows that sequences take, by mode and kind. */
static struct {
    uint16_t rows[2048];
    unsigned count;
} lists[DIFF_COUNT][KIND_COUNT];

static void make_lists(void)
{
    for (unsigned n = 0; n < insn_row_count; n++)
        for (unsigned mode = 0; mode < DIFF_COUNT; mode++)
            if (row_class(n, mode) == ROW_TESTED && row_in_sequence(n) &&
                lists[mode][kind_of(n)].count < ARRAY_SIZE(lists[0][0].rows))
                lists[mode][kind_of(n)].rows[lists[mode][kind_of(n)].count++] = (uint16_t)n;
}

unsigned rows_pick(enum diff_mode mode, int like, uint64_t *random)
{
    unsigned kind =
        like >= 0 ? (unsigned)kind_of((unsigned)like) : random_below(random, KIND_COUNT);

    if (lists[0][0].count == 0)
        make_lists();
    return lists[mode][kind].rows[random_below(random, lists[mode][kind].count)];
}
