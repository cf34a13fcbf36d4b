/* The counters of a context, as text. */
#include "base/bits.h"
#include "mmu/patch.h"
#include "mmu/safepoint.h"
#include "mmu/shadow.h"

#include <inttypes.h>

struct counter {
    const char *name;
    uint64_t value;
};

/* Posts of all producers to the vCPU. */
struct posts {
    uint64_t posted, merged, overflows;
};

static struct posts posts(const struct mmu_context *m)
{
    const struct patch_channel *column = m->memory->channels[m->vcpu];
    struct posts sum = {0, 0, 0};

    for (unsigned n = 0; column != NULL && n < PATCH_PRODUCERS; n++) {
        if (n == m->memory->context_end) /* no vCPU has the numbers that follow */
            n = PATCH_EVENT_LOOP;
        sum.posted += column[n].posted;
        sum.merged += column[n].merged;
        sum.overflows += column[n].overflows;
    }
    return sum;
}

/* TLB slots that hold something, in all spaces. */
static uint64_t live_slots(const struct tlb *t)
{
    uint64_t live = 0;

    for (unsigned n = 0; n < t->space_count; n++)
        for (unsigned view = 0; view < TLB_VIEW_COUNT; view++)
            for (unsigned k = 0; k < 2; k++) {
                const struct tlb_table *table = &t->spaces[n]->tables[view];

                for (unsigned i = 0; i < table->log[k].count; i++) {
                    const struct tlb_side *side = &table->side[table->log[k].slots[i]];

                    live += tlb_side_live(side) && side->to.global == k;
                }
            }
    return live;
}

void mmu_report(const struct mmu_context *m, FILE *out)
{
    const struct posts channel = posts(m);
    const struct mmu_stats *s = &m->stats;
    const struct tlb *t = m->tlb;
    const struct counter counters[] = {
        {"walks", m->walks},
        {"fills", m->fills},
        {"fills from shadow pages", s->shadow_fills},
        {"page faults known without a walk", s->faults_known},
        {"flushes", m->flushes},
        {"page invalidations", m->page_invalidations},
        {"coherency events", s->events},
        {"space switches", s->space_switches},
        {"space switches to a warm one", s->space_switches_warm},
        {"spaces evicted", s->spaces_evicted},
        {"spaces", t->space_count - 1}, /* the common one is not */
        {"TLB entries live", live_slots(t)},
        {"shadow pages made", s->shadow_pages},
        {"shadow pages", t->shadow != NULL ? shadow_page_count(t->shadow) : 0},
        {"patches posted", channel.posted},
        {"patches merged", channel.merged},
        {"patches overflowed", channel.overflows},
        {"times patches were taken", s->consumptions},
        {"patches taken", s->patches_taken},
        {"patches applied", s->patches_applied},
        {"patches re-derived", s->patches_rederived},
        {"patches invalidated", s->patches_invalidated},
        {"patches without effect", s->patches_dropped},
        {"frames dropped", s->frames_dropped},
        {"TLB entries dropped by patches", s->slots_dropped},
        {"rebuilds", s->rebuilds},
        {"requests of others", mmu_times_asked(m)},
        {"fills until the next event", t->transient_fills},
        {"compositions at fills", s->compositions},
        {"TLB entries dropped by p2m changes", s->p2m_dropped},
        {"paranoid checks", s->paranoid_checks},
        {"paranoid errors", s->paranoid_errors},
    };

    for (unsigned n = 0; n < ARRAY_SIZE(counters); n++)
        fprintf(out, "mmu: %-34s %" PRIu64 "\n", counters[n].name, counters[n].value);
}
