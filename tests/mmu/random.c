/*
 * The randomised test of the MMU: a guest that does anything to its tables, registers and caches
 * (tests/mmu/guest.h) for as many steps as asked for, by each policy and with everything as small
 * as it goes, each in one machine. The first difference from the model ends the program; so does a
 * run in which something was never done.
 *
 *   random [--seed S] [--steps N] [--variation NAME] [--verbose-from N] [--list]
 *
 * A step is one operation. --steps is for each variation; GNOMON_FULL=1 multiplies it by 16. A run
 * is repeated by the seed, up to any step; from --verbose-from on it says what it does.
 */
#include "tests/mmu/guest.h"
#include "tests/mmu/option_words.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <unistd.h>

/* In the order of struct mmu_options: behind the words stand paranoid's N, spaces, slots, shadow
 * pages and flood; tables are private unless said otherwise. */
static const struct variation {
    const char *name;
    struct mmu_options options;
    bool p2m;
} variations[] = {
    {"flush", {FLUSH, APPLY, VALIDATED, 1, 16, 1024, 4096, 16, PRIVATE}, false},
    {"coherent", {COHERENT, APPLY, VALIDATED, 1, 16, 1024, 4096, 16, PRIVATE}, false},
    {"paranoid", {PARANOID, APPLY, VALIDATED, 40, 16, 1024, 4096, 16, PRIVATE}, false},
    {"invalidate", {COHERENT, INVALIDATE, VALIDATED, 1, 16, 1024, 4096, 16, PRIVATE}, false},
    {"address", {COHERENT, APPLY, ADDRESS, 1, 16, 1024, 4096, 255, PRIVATE}, false},
    {"value", {PARANOID, APPLY, VALUE, 40, 16, 1024, 4096, 255, PRIVATE}, false},
    {"shared", {PARANOID, APPLY, VALIDATED, 40, 16, 1024, 4096, 16, SHARED}, false},
    {"shared-value", {COHERENT, APPLY, VALUE, 1, 16, 1024, 4096, 255, SHARED}, false},
    {"small", {COHERENT, APPLY, VALIDATED, 1, 2, 2, 16, 255, PRIVATE}, false},
    {"small-flood0", {PARANOID, APPLY, VALIDATED, 7, 2, 2, 16, 0, PRIVATE}, false},
    {"small-flood1", {COHERENT, INVALIDATE, ADDRESS, 1, 2, 2, 16, 1, PRIVATE}, false},
    {"small-value", {PARANOID, APPLY, VALUE, 7, 2, 2, 24, 8, PRIVATE}, false},
    {"small-shared", {PARANOID, INVALIDATE, VALIDATED, 7, 2, 2, 32, 8, SHARED}, false},
    {"medium", {COHERENT, APPLY, VALIDATED, 1, 3, 8, 48, 3, PRIVATE}, false},
    {"p2m-flush", {FLUSH, APPLY, VALIDATED, 1, 16, 1024, 4096, 16, PRIVATE}, true},
    {"p2m", {PARANOID, APPLY, VALIDATED, 40, 16, 1024, 4096, 16, PRIVATE}, true},
    {"p2m-shared", {PARANOID, APPLY, VALIDATED, 7, 3, 8, 64, 8, SHARED}, true},
    {"p2m-small", {COHERENT, INVALIDATE, VALIDATED, 1, 3, 8, 48, 3, PRIVATE}, true},
};

/* What is running, for who has to say how to run it again. */
static const struct variation *variation;
static struct driver *driver;
static uint64_t seed = 1;

static void say_again(void *unused)
{
    char text[200];
    int length;

    (void)unused;
    if (driver == NULL)
        return;
    length = snprintf(text, sizeof(text),
                      "again: --seed %" PRIu64 " --variation %s --steps %" PRIu64
                      " --verbose-from %" PRIu64 "\n",
                      seed, variation->name, driver->operations + 1,
                      driver->operations > 40 ? driver->operations - 40 : 0);
    (void)!write(STDERR_FILENO, text, (size_t)length);
}

/* A check inside the MMU has failed. */
static void on_abort(int signal_number)
{
    say_again(NULL);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void report(const struct driver *d)
{
    for (unsigned i = 0; i < 2; i++) {
        const struct mmu_context *m = d->vcpu[i].m;
        const struct mmu_stats *s = &m->stats;

        printf("  cpu%u: %" PRIu64 " walks, %" PRIu64 " fills by shadow, %" PRIu64
               " events, switches %" PRIu64 " (%" PRIu64 " warm, %" PRIu64 " evictions)\n",
               i, m->walks, s->shadow_fills, s->events, s->space_switches, s->space_switches_warm,
               s->spaces_evicted);
        printf("        patches: %" PRIu64 " taken, %" PRIu64 " applied, %" PRIu64
               " rederived, %" PRIu64 " invalidated, %" PRIu64 " dropped; %" PRIu64
               " frames dropped, %" PRIu64 " rebuilds, %" PRIu64 " known faults\n",
               s->patches_taken, s->patches_applied, s->patches_rederived, s->patches_invalidated,
               s->patches_dropped, s->frames_dropped, s->rebuilds, s->faults_known);
    }
}

static void run(const struct variation *v, uint64_t steps, uint64_t verbose_from, uint64_t *deeds)
{
    static struct guest g;
    struct driver *d = model_create();

    variation = v;
    driver = d;
    printf("%s: seed %" PRIu64 ", %" PRIu64 " steps\n", v->name, seed, steps);
    fflush(stdout);
    d->failed = say_again;
    d->window = GUEST_FRAMES;
    for (unsigned i = 0; i < 2; i++)
        mmu_configure(d->vcpu[i].m, &v->options);
    model_reset(d);
    guest_create(&g, d, seed * 1000 + (uint64_t)(v - variations), v->p2m);
    while (d->operations < steps) {
        d->trace = d->operations >= verbose_from;
        d->window_period = d->trace ? 1 : 64;
        guest_act(&g);
    }
    model_compare(d, true);
    report(d);
    fflush(stdout);
    for (unsigned i = 0; i < DEED_COUNT; i++)
        deeds[i] += g.deeds[i];
    driver = NULL;
    model_destroy(d);
}

static int print_deeds(const uint64_t *deeds)
{
    int missing = 0;

    for (unsigned i = 0; i < DEED_COUNT; i++) {
        printf("%10" PRIu64 "  %s\n", deeds[i], guest_deed_text[i]);
        missing += deeds[i] == 0;
    }
    if (missing > 0)
        printf("%d of these were never done: the run is too short, or the guest is wrong\n",
               missing);
    return missing;
}

static uint64_t number(const char *text)
{
    char *rest;
    uint64_t n = strtoull(text, &rest, 0);

    if (*text == '\0' || *rest != '\0') {
        fprintf(stderr, "random: not a number: %s\n", text);
        exit(2);
    }
    return n;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},
        {"steps", required_argument, NULL, 'n'},
        {"variation", required_argument, NULL, 'v'},
        {"verbose-from", required_argument, NULL, 'f'},
        {"list", no_argument, NULL, 'l'},
        {NULL, 0, NULL, 0},
    };
    uint64_t steps = 50000, verbose_from = UINT64_MAX, deeds[DEED_COUNT] = {0};
    const char *only = NULL;
    bool found = false;

    if (getenv("GNOMON_FULL") != NULL)
        steps *= 16;
    for (int c = getopt_long(argc, argv, "", options, NULL); c != -1;
         c = getopt_long(argc, argv, "", options, NULL)) {
        switch (c) {
        case 's':
            seed = number(optarg);
            break;
        case 'n':
            steps = number(optarg) * (getenv("GNOMON_FULL") != NULL ? 16 : 1);
            break;
        case 'v':
            only = optarg;
            break;
        case 'f':
            verbose_from = number(optarg);
            break;
        case 'l':
            for (unsigned i = 0; i < ARRAY_SIZE(variations); i++)
                puts(variations[i].name);
            return 0;
        default:
            return 2;
        }
    }
    signal(SIGABRT, on_abort);
    signal(SIGFPE, on_abort);
    for (unsigned i = 0; i < ARRAY_SIZE(variations); i++) {
        if (only != NULL && strcmp(only, variations[i].name) != 0)
            continue;
        run(&variations[i], steps, verbose_from, deeds);
        found = true;
    }
    if (!found) {
        fprintf(stderr, "random: no variation '%s', see --list\n", only);
        return 2;
    }
    return print_deeds(deeds) > 0 && only == NULL ? 1 : 0;
}
