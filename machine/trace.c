/* What -d in_asm, exec and cpu write: blocks as they are decoded and before they run. */
#include "base/log.h"
#include "cpu/mode.h"
#include "machine/internal.h"
#include "machine/report.h"

#include <inttypes.h>

#define DECODED_MOST 64 /* instructions of a block */

static const struct report_tools no_tools;

void machine_trace_block(void *opaque, unsigned length)
{
    struct machine_processor *p = opaque;
    struct machine *m = p->machine;
    struct vcpu *cpu = p->vcpu;
    const struct report_tools *tools = m->config.tools != NULL ? m->config.tools : &no_tools;
    FILE *out = m->log->stream;
    bool several = m->processor_count > 1;
    char name[128];

    if (length > 0) {
        fputs("----------------", out);
        if (several)
            fprintf(out, " cpu%u", cpu->index);
        fputc('\n', out);
        machine_print_code(m, cpu, out, machine_code_address(cpu, cpu->rip), length, DECODED_MOST,
                           tools);
        return;
    }
    cpu->block = NULL; /* the one before has ended: vcpu_instructions counts all of it */
    if (log_on(m->log, LOG_EXEC))
        fprintf(
            out, "cpu%u: %04x:%016" PRIx64 " instruction %" PRIu64 " %s\n", cpu->index,
            cpu->seg[SEG_CS].selector, cpu->rip, vcpu_instructions(cpu),
            symbols_text(tools->symbols, machine_code_address(cpu, cpu->rip), name, sizeof(name)));
    if (several && log_on(m->log, LOG_CPU) && !log_on(m->log, LOG_EXEC))
        fprintf(out, "cpu%u:\n", cpu->index);
    if (log_on(m->log, LOG_CPU))
        vcpu_dump(cpu, out);
}
