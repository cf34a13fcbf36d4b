/* Names that differ only in spelling. */
#include "decode_diff.h"

#include <string.h>

static const struct {
    const char *ours, *theirs;
    unsigned bits; /* 0, or the operand size that the name tells */
} spellings[] = {
    {"cbw", "cbw", 16},
    {"cbw", "cwde", 32},
    {"cbw", "cdqe", 64},
    {"cwd", "cwd", 16},
    {"cwd", "cdq", 32},
    {"cwd", "cqo", 64},
    {"pusha", "pushaw", 16},
    {"pusha", "pushal", 32},
    {"popa", "popaw", 16},
    {"popa", "popal", 32},
    {"pushf", "pushf", 16},
    {"pushf", "pushfd", 32},
    {"pushf", "pushfq", 64},
    {"popf", "popf", 16},
    {"popf", "popfd", 32},
    {"popf", "popfq", 64},
    {"iret", "iret", 16},
    {"iret", "iretd", 32},
    {"iret", "iretq", 64},
    {"retf", "retf", 0},
    {"retf", "retfq", 64},
    {"movs", "movsb", 8},
    {"movs", "movsw", 16},
    {"movs", "movsd", 32},
    {"movs", "movsq", 64},
    {"cmps", "cmpsb", 8},
    {"cmps", "cmpsw", 16},
    {"cmps", "cmpsd", 32},
    {"cmps", "cmpsq", 64},
    {"stos", "stosb", 8},
    {"stos", "stosw", 16},
    {"stos", "stosd", 32},
    {"stos", "stosq", 64},
    {"lods", "lodsb", 8},
    {"lods", "lodsw", 16},
    {"lods", "lodsd", 32},
    {"lods", "lodsq", 64},
    {"scas", "scasb", 8},
    {"scas", "scasw", 16},
    {"scas", "scasd", 32},
    {"scas", "scasq", 64},
    {"ins", "insb", 8},
    {"ins", "insw", 16},
    {"ins", "insd", 0},
    {"outs", "outsb", 8},
    {"outs", "outsw", 16},
    {"outs", "outsd", 0},
    {"mov", "movabs", 0},
    {"xlat", "xlatb", 0},
    {"ud1", "ud2b", 0},
    {"fwait", "wait", 0},
    {"shl", "sal", 0},
    {"jrcxz", "jcxz", 0},
    {"jrcxz", "jecxz", 0},
    {"xchg", "nop", 0},
    {"nop", "endbr32", 0},
    {"nop", "endbr64", 0},
    {"movd", "movq", 64},
    {"pinsrd", "pinsrq", 64},
    {"pextrd", "pextrq", 64},
    {"xsave", "xsave64", 64},
    {"xrstor", "xrstor64", 64},
    {"xsaveopt", "xsaveopt64", 64},
    {"fxsave", "fxsave64", 64},
    {"fxrstor", "fxrstor64", 64},
    {"vmovd", "vmovq", 64},
    {"vpinsrd", "vpinsrq", 64},
    {"vpextrd", "vpextrq", 64},
    {"vcvtpd2ps", "vcvtpd2psx", 0},
    {"vcvtpd2dq", "vcvtpd2dqx", 0},
    {"vcvttpd2dq", "vcvttpd2dqx", 0},
    {"xsavec", "xsavec64", 64},
    {"xsaves", "xsaves64", 64},
    {"xrstors", "xrstors64", 64},
    {"cmpxchg8b", "cmpxchg16b", 64},
    {"fneni", "feni8087_nop", 0},
    {"fndisi", "fdisi8087_nop", 0},
    {"fnsetpm", "fsetpm", 0},
    {"fstp", "fstpnce", 0},
};

bool names_agree(const char *ours, const char *theirs, unsigned bits)
{
    const char *last = strrchr(ours, ' '); /* "rep movs" */
    bool listed = false;

    if (last != NULL)
        ours = last + 1;
    for (unsigned n = 0; n < ARRAY_SIZE(spellings); n++) {
        if (strcmp(spellings[n].ours, ours) == 0 && strcmp(spellings[n].theirs, theirs) == 0)
            return bits == 0 || spellings[n].bits == 0 || bits == spellings[n].bits;
        listed |= strcmp(spellings[n].ours, ours) == 0 && spellings[n].bits == bits;
    }
    /* A name that tells the size must. */
    return strcmp(ours, theirs) == 0 && (bits == 0 || !listed);
}
