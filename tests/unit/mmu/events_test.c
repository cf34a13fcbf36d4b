/* Events: the filter language, the three formats, the ring, and who emits what. */
#include "json_check.h"
#include "mmu/event_fields.h"
#include "mmu/events.h"
#include "mmu/tlb.h"
#include "mmu/p2m.h"
#include "mmu_rig.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <inttypes.h>
#include <unistd.h>

static struct rig r;
static struct mmu_context *const m = &r.m;

static void setup(void)
{
    ck_assert(rig_create(&r));
    rig_long_mode(&r, m);
    rig_map(&r, 0x1000, 0x401000, RIG_RWU);
    m->events = mmu_events_create(64);
    m->origin_rip = 0xffffffff81000010;
    m->origin_instructions = 12345;
}

static void teardown(void)
{
    struct mmu_events *events = m->events;

    m->events = NULL;
    ck_assert(mmu_events_close(events, NULL));
    rig_destroy(&r);
}

/* --- Filters --- */

/* A step of a walk, with every field that such a step has. */
static const struct mmu_event step = {
    .kind = MMU_EVENT_WALK_STEP,
    .gva = 0x400123,
    .gpa = 0x1008,
    .old_entry = 0x67,
    .level = 2,
    .rights = WALK_WRITABLE | WALK_EXECUTABLE,
    .cr3 = 0x10000,
    .rip = 0x7fff,
    .instructions = 1000,
    .vcpu = 3,
};

static const struct mmu_event page_fault = {
    .kind = MMU_EVENT_PAGE_FAULT,
    .gva = 0x5000,
    .access = MMU_WRITE,
    .view = TLB_VIEW_USER,
    .cause = MMU_CAUSE_DENIED,
    .error = 7,
};

static bool passes(const char *text, const struct mmu_event *e)
{
    struct error err = {0};
    struct mmu_filter *f = mmu_filter_create(text, &err);
    bool result;

    if (f == NULL)
        ck_abort_msg("'%s': %s", text, err.text);
    result = mmu_filter_passes(f, e);
    /* What passes must be of a kind that the mask has. */
    if (result)
        ck_assert(mmu_filter_kinds(f) >> e->kind & 1);
    mmu_filter_destroy(f);
    return result;
}

static const struct {
    const char *text;
    bool step, fault;
} filters[] = {
    {"kind==walk", true, false},
    {"kind==walk_step", true, false},
    {"kind==walk_end", false, false},
    {"kind!=walk", false, true},
    {"kind!=fault", true, false},
    {"!kind==walk", false, true},
    {"kind==walk||kind==fault", true, true},
    {"va==0x400123", true, false},
    {"va!=0x400123", false, true},
    {"va==4194595", true, false},
    {"va<0x400123", false, true},
    {"va<=0x400123", true, true},
    {"va>0x400122", true, false},
    {"va>=0x400124", false, false},
    {"va&0x20", true, false},
    {"va & 0x4", false, false},
    {"va in 0x400000-0x4fffff", true, false},
    {"va in 0x5000-0x400123", true, true},
    {"va in 0x400124-0x4fffff", false, false},
    {"va in 5-4", false, false},
    {"level==2", true, false},
    {"level!=3", true, false}, /* the fault has no level: false */
    {"level<=2 && va in 0x400000-0x4fffff", true, false},
    {"gpa==0x1008 && old==0x67", true, false},
    {"new==0", false, false}, /* neither has it */
    {"rights==wx", true, false},
    {"rights==xw", true, false},
    {"rights & u", false, false},
    {"rights & ux", true, false},
    {"rights!=wx", false, false},
    {"rights==5", true, false},
    {"access==write", false, true},
    {"access!=read", false, true},
    {"view==user", false, true},
    {"view==supervisor", false, false},
    {"cause==denied", false, true},
    {"error==7 && !error&8", false, true},
    {"error & 0x8 || level==2", true, false},
    {"cr3==0x10000", true, false},
    {"rip<0x8000", true, true},
    {"instructions>=1000", true, false},
    {"vcpu==3", true, false},
    {"(kind==walk || kind==fault) && va>0x5000", true, false},
    {"kind==walk || kind==fault && va>0x5000", true, false},
    {"!(kind==walk && level==2)", false, true},
    {"!!kind==walk", true, false},
    {"\t kind == walk  &&level == 2 ", true, false},
    {"va==0xffffffffffffffff || va<=0xFFFFFFFFFFFFFFFF", true, true},
    {"instructions==18446744073709551615", false, false},
};

START_TEST(a_filter_means_what_it_says)
{
    for (unsigned i = 0; i < ARRAY_SIZE(filters); i++) {
        ck_assert_msg(passes(filters[i].text, &step) == filters[i].step, "%s", filters[i].text);
        ck_assert_msg(passes(filters[i].text, &page_fault) == filters[i].fault, "%s",
                      filters[i].text);
    }
    ck_assert(mmu_filter_passes(NULL, &step));
}
END_TEST

static const struct {
    const char *text, *message;
} bad_filters[] = {
    {"", "a field expected at the end"},
    {"kind", "== or != expected at the end"},
    {"va", "a comparison expected at the end"},
    {"kind==", "a kind of event expected at the end"},
    {"kind==nonsense", "column 7: a kind of event expected, not 'nonsense'"},
    {"nonsense==1", "column 1: a field expected, not 'nonsense'"},
    {"kind==walk nonsense", "column 12: && or || expected, not 'nonsense'"},
    {"kind==walk &&", "a field expected at the end"},
    {"kind==walk & level==1", "column 12: && or || expected, not '&'"},
    {"level==1 | level==2", "column 10: && or || expected, not '|'"},
    {"(level==1", "')' expected at the end"},
    {"level==1)", "column 9: && or || expected, not ')'"},
    {"level==x", "column 8: a number expected, not 'x'"},
    {"level==0x", "column 8: a number expected, not '0x'"},
    {"level==0xg", "column 8: a number expected, not '0xg'"},
    {"level==18446744073709551616", "a number of at most 64 bits expected"},
    {"level==-1", "column 8: a number expected, not '-'"},
    {"level=1", "column 6: a comparison expected, not '='"},
    {"va in 5", "'-' and the upper end expected at the end"},
    {"va in 5-", "a number expected at the end"},
    {"kind in walk-tlb", "column 6: == or != expected, not 'in'"},
    {"kind<walk", "column 5: == or != expected, not '<'"},
    {"cause==gone", "one of the field's words expected, not 'gone'"},
    {"access&write", "column 7: == or != expected, not '&'"},
    {"rights==uz", "letters of u, w, x expected, not 'uz'"},
    {"va in", "a number expected at the end"},
    {"va && 1", "column 4: a comparison expected, not '&'"},
};

START_TEST(an_error_in_a_filter_names_its_place)
{
    for (unsigned i = 0; i < ARRAY_SIZE(bad_filters); i++) {
        struct error err = {0};
        struct mmu_filter *f = mmu_filter_create(bad_filters[i].text, &err);

        ck_assert_msg(f == NULL, "%s", bad_filters[i].text);
        ck_assert_msg(strstr(err.text, bad_filters[i].message) != NULL, "'%s' gave: %s",
                      bad_filters[i].text, err.text);
    }
}
END_TEST

START_TEST(a_filter_has_limits_and_says_so)
{
    char text[4096];
    struct error err = {0};

    memset(text, '(', 100);
    text[100] = '\0';
    ck_assert_ptr_null(mmu_filter_create(text, &err));
    ck_assert_ptr_nonnull(strstr(err.text, "nested deeper"));
    memset(text, '!', 4000);
    text[4000] = '\0';
    ck_assert_ptr_null(mmu_filter_create(text, NULL));
    strcpy(text, "va==1");
    for (unsigned i = 0; i < 100; i++)
        strcat(text, " || va==1");
    err = (struct error){0};
    ck_assert_ptr_null(mmu_filter_create(text, &err));
    ck_assert_ptr_nonnull(strstr(err.text, "more than 64 terms"));
}
END_TEST

START_TEST(the_mask_follows_from_what_the_filter_says_of_kinds)
{
    struct mmu_events *ev = m->events;

    ck_assert_uint_eq(ev->mask, MMU_EVENTS_ALL);
    ck_assert(mmu_events_set_filter(ev, "kind==fault", NULL));
    ck_assert_uint_eq(ev->mask, BIT64(MMU_EVENT_PAGE_FAULT));
    ck_assert(mmu_events_set_filter(ev, "error & 4", NULL)); /* two kinds have the field */
    ck_assert_uint_eq(ev->mask, BIT64(MMU_EVENT_PAGE_FAULT) | BIT64(MMU_EVENT_WALK_END));
    ck_assert(!mmu_events_set_filter(ev, "kind==", NULL)); /* the old one stays */
    ck_assert_uint_eq(ev->mask, BIT64(MMU_EVENT_PAGE_FAULT) | BIT64(MMU_EVENT_WALK_END));
    ck_assert(mmu_events_set_filter(ev, " ", NULL));
    ck_assert_uint_eq(ev->mask, MMU_EVENTS_ALL);
    ck_assert(mmu_events_set_filter(ev, "kind==code", NULL));
    ck_assert(mmu_events_set_filter(ev, NULL, NULL));
    ck_assert_uint_eq(ev->mask, MMU_EVENTS_ALL);
}
END_TEST

/* --- Ring and counters --- */

static void emit(uint64_t address)
{
    MMU_EMIT(m, INVLPG, .gva = address, .count = 1);
}

START_TEST(a_full_ring_keeps_the_newest_and_counts_all)
{
    struct mmu_events *ev = m->events;
    const struct mmu_event *e;

    for (unsigned i = 0; i < 100; i++)
        emit(i << 12);
    ck_assert_uint_eq(ev->ring.written, 100);
    ck_assert_uint_eq(ring_oldest(&ev->ring), 36);
    ck_assert_uint_eq(ev->counts[MMU_EVENT_INVLPG], 100);
    ck_assert_ptr_null(ring_at(&ev->ring, 35));
    for (uint64_t n = 36; n < 100; n++) {
        e = ring_at(&ev->ring, n);
        ck_assert_uint_eq(e->sequence, n);
        ck_assert_uint_eq(e->gva, n << 12);
    }
    e = ring_at(&ev->ring, 99);
    ck_assert_uint_eq(e->rip, 0xffffffff81000010);
    ck_assert_uint_eq(e->instructions, 12345);
    ck_assert_uint_eq(e->cr3, m->cr3);
    ck_assert_uint_eq(e->kind, MMU_EVENT_INVLPG);
}
END_TEST

START_TEST(what_does_not_pass_is_not_counted)
{
    struct mmu_events *ev = m->events;

    mmu_events_set_filter(ev, "va>=0x5000", NULL);
    for (unsigned i = 0; i < 10; i++)
        emit(i << 12);
    ck_assert_uint_eq(ev->ring.written, 5);
    ck_assert_uint_eq(ev->counts[MMU_EVENT_INVLPG], 5);
}
END_TEST

static void on_event(void *opaque, const struct mmu_event *e)
{
    *(uint64_t *)opaque += e->gva;
}

START_TEST(a_listener_hears_what_passes)
{
    uint64_t sum = 0;

    m->events->notify = on_event;
    m->events->notify_opaque = &sum;
    mmu_events_set_filter(m->events, "va!=4", NULL);
    for (unsigned i = 1; i <= 4; i++)
        emit(i);
    ck_assert_uint_eq(sum, 6);
}
END_TEST

static uint64_t expensive(unsigned *calls)
{
    return ++*calls;
}

START_TEST(fields_of_an_unwanted_event_are_not_computed)
{
    struct mmu_events *events = m->events;
    unsigned calls = 0;

    mmu_events_set_filter(events, "kind==walk", NULL);
    MMU_EMIT(m, INVLPG, .gva = expensive(&calls));
    m->events = NULL;
    MMU_EMIT(m, INVLPG, .gva = expensive(&calls));
    m->events = events;
    ck_assert_uint_eq(calls, 0);
}
END_TEST

/* --- Who emits what --- */

static uint64_t count_of(enum mmu_event_kind kind)
{
    return m->events->counts[kind];
}

START_TEST(an_access_tells_of_its_walk_and_fill)
{
    struct mmu_fault fault;
    const struct mmu_event *e;

    ck_assert_int_eq(mmu_store(m, gva(0x1234), 1, 0, &fault), MMU_OK);
    ck_assert_uint_eq(count_of(MMU_EVENT_WALK_START), 1);
    ck_assert_uint_eq(count_of(MMU_EVENT_WALK_STEP), 4);
    ck_assert_uint_eq(count_of(MMU_EVENT_WALK_UPDATE), 4);
    ck_assert_uint_eq(count_of(MMU_EVENT_WALK_END), 1);
    ck_assert_uint_eq(count_of(MMU_EVENT_TLB_FILL), 1);
    e = ring_at(&m->events->ring, 0);
    ck_assert_uint_eq(e->kind, MMU_EVENT_WALK_START);
    ck_assert_uint_eq(e->gva, 0x1234);
    ck_assert_uint_eq(e->access, MMU_WRITE);
    for (unsigned i = 1; i <= 4; i++) {
        e = ring_at(&m->events->ring, i);
        ck_assert_uint_eq(e->level, 5 - i);
    }
    e = ring_at(&m->events->ring, 4);
    ck_assert_uint_eq(e->gpa, rig_pte(0x1000));
    ck_assert_uint_eq(e->old_entry, 0x401007);
    e = ring_at(&m->events->ring, 8);
    ck_assert_uint_eq(e->old_entry, 0x401007);
    ck_assert_uint_eq(e->new_entry, 0x401067);
    e = ring_at(&m->events->ring, 9);
    ck_assert_uint_eq(e->kind, MMU_EVENT_WALK_END);
    ck_assert_uint_eq(e->gpa, 0x401234);
    ck_assert_uint_eq(e->cause, MMU_CAUSE_OK);
    e = ring_at(&m->events->ring, 10);
    ck_assert_uint_eq(e->gpa, 0x401000);
    ck_assert_uint_eq(e->shift, 12);
    mmu_load(m, gva(0x1000), 1, &(uint64_t){0}, &fault);
    ck_assert_uint_eq(m->events->ring.written, 11); /* a hit is no event */
}
END_TEST

START_TEST(a_fault_tells_its_cause_and_error_code)
{
    struct mmu_fault fault;
    const struct mmu_event *e;

    mmu_events_set_filter(m->events, "kind==fault", NULL);
    mmu_set_privilege(m, 3, false);
    mmu_load(m, gva(0x9000), 1, &(uint64_t){0}, &fault);
    ck_assert_uint_eq(m->events->ring.written, 1);
    e = ring_at(&m->events->ring, 0);
    ck_assert_uint_eq(e->gva, 0x9000);
    ck_assert_uint_eq(e->error, PF_USER);
    ck_assert_uint_eq(e->cause, MMU_CAUSE_NOT_PRESENT);
    ck_assert_uint_eq(e->view, TLB_VIEW_USER);
    rig_map(&r, 0x9000, 0x409000, RIG_RWU | BIT64(51));
    mmu_load(m, gva(0x9000), 1, &(uint64_t){0}, &fault);
    e = ring_at(&m->events->ring, 1);
    ck_assert_uint_eq(e->cause, MMU_CAUSE_RESERVED);
    ck_assert_uint_eq(e->error, PF_USER | PF_PRESENT | PF_RESERVED);
    rig_map(&r, 0x9000, 0x409000, PTE_P);
    mmu_store(m, gva(0x9000), 1, 0, &fault);
    e = ring_at(&m->events->ring, 2);
    ck_assert_uint_eq(e->cause, MMU_CAUSE_DENIED);
    ck_assert_uint_eq(e->access, MMU_WRITE);
    ck_assert_uint_eq(e->error, PF_USER | PF_PRESENT | PF_WRITE);
}
END_TEST

/* Does something of everything. */
static void tour(void)
{
    struct mmu_fault fault;
    uint64_t far = 0x1000 + (uint64_t)TLB_SIZE * PAGE_SIZE;

    mmu_store(m, gva(0x1000), 1, 0, &fault);
    rig_poke(&r, RIG_PD + (far >> 21) * 8, RIG_PT2 | RIG_RWU);
    rig_poke(&r, RIG_PT2 + 8, 0x700000 | RIG_RWU);
    mmu_load(m, gva(far), 1, &(uint64_t){0}, &fault);
    mmu_load(m, gva(0x9000), 1, &(uint64_t){0}, &fault);
    mmu_store(m, gva(0x1000), 1, 0, &fault);
    mmu_frame_watch(m, mpa(0x401000), FRAME_WATCH_CODE);
    mmu_store(m, gva(0x1000), 1, 0, &fault);
    mmu_frame_unwatch(m, mpa(0x401000), FRAME_WATCH_CODE);
    mmu_invlpg(m, gva(0x1000));
    mmu_invpcid(m, 2, 0, gva(0));
    mmu_set_cr3(m, RIG_PML4, false);
    mmu_set_control(m, m->cr0 ^ CR0_WP, m->cr4 ^ CR4_SMEP, m->efer ^ EFER_NXE);
    mmu_set_pkru(m, 5);
    mmu_set_a20(m, false);
}

/* Tables that change, under a policy that keeps what came of them. */
static void coherent_tour(void)
{
    struct mmu_options options = mmu_default_options;
    struct mmu_fault fault;

    options.policy = MMU_POLICY_COHERENT;
    options.spaces = 2;
    options.flood = 1;
    mmu_set_a20(m, true);
    mmu_configure(m, &options);
    rig_long_mode(&r, m);
    mmu_store(m, gva(0x1000), 1, 0, &fault);
    rig_map(&r, 0x1000, 0x402000, RIG_RWU);
    mmu_invlpg(m, gva(0x1000));
    rig_map(&r, 0x1000, 0x401000, RIG_RWU); /* a second time without a walk */
    mmu_invlpg(m, gva(0x1000));
    mmu_store(m, gva(0x1000), 1, 0, &fault);
    rig_map(&r, 0x3000, RIG_PT, RIG_RWU); /* the table itself */
    mmu_store(m, gva(0x3000 + 1 * 8), 8, 0x402000 | RIG_RWU, &fault);
    rig_poke(&r, RIG_PD, 0);
    for (uint64_t root = RIG_PML4 + 0x10000; root < RIG_PML4 + 0x40000; root += 0x10000)
        mmu_set_cr3(m, root, false);
    bus_set_p2m(r.bus, p2m_create_identity(r.memory));
    ck_assert(p2m_set(bus_p2m(r.bus), gpa(0x401000), mpa(0x402000), NULL));
}

START_TEST(every_kind_of_event_happens)
{
    tour();
    coherent_tour();
    for (unsigned kind = 0; kind < MMU_EVENT_COUNT; kind++)
        ck_assert_msg(m->events->counts[kind] > 0, "no %s",
                      mmu_event_info((enum mmu_event_kind)kind)->word);
}
END_TEST

/* --- Formats --- */

static const char *printed(const struct mmu_event *e, enum mmu_sink_format format, char *buffer,
                           size_t size)
{
    FILE *out = fmemopen(buffer, size, "w");

    mmu_event_print(out, e, format);
    fclose(out);
    return buffer;
}

START_TEST(text_fills_in_the_kinds_template)
{
    char buffer[512];

    ck_assert_str_eq(printed(&step, MMU_SINK_TEXT, buffer, sizeof(buffer)),
                     "1000 cpu3 0x7fff walk_step level 2: 0x67 at 0x1008, -wx");
    ck_assert_str_eq(printed(&page_fault, MMU_SINK_TEXT, buffer, sizeof(buffer)),
                     "0 cpu0 0x0 page_fault write of 0x5000, view user: denied, error 0x7");
}
END_TEST

START_TEST(no_template_names_a_field_that_its_kind_lacks)
{
    for (unsigned kind = 0; kind < MMU_EVENT_COUNT; kind++) {
        const struct mmu_event_info *info = mmu_event_info((enum mmu_event_kind)kind);
        const char *open = info->format;

        while ((open = strchr(open, '{')) != NULL) {
            size_t length = strcspn(open, "}") - 1;
            const struct event_field *f = event_field_find(open + 1, length);

            ck_assert_msg(f != NULL && (f->bit == 0 || (info->fields & f->bit)), "%s: %s",
                          info->word, open);
            open++;
        }
    }
}
END_TEST

START_TEST(words_of_kinds_and_causes_are_unique)
{
    for (unsigned a = 0; a < MMU_EVENT_COUNT; a++)
        for (unsigned b = 0; b < MMU_EVENT_COUNT; b++) {
            const char *word = mmu_event_info((enum mmu_event_kind)a)->word;

            ck_assert(a == b || strcmp(word, mmu_event_info((enum mmu_event_kind)b)->word) != 0);
            ck_assert_msg(strcmp(word, mmu_event_info((enum mmu_event_kind)b)->group) != 0,
                          "%s is also a group", word);
        }
    for (unsigned a = 0; a < MMU_CAUSE_COUNT; a++)
        for (unsigned b = 0; b < a; b++)
            ck_assert_str_ne(mmu_cause_word((enum mmu_event_cause)a),
                             mmu_cause_word((enum mmu_event_cause)b));
}
END_TEST

START_TEST(json_is_json_and_holds_the_kinds_fields_only)
{
    char buffer[1024];

    printed(&step, MMU_SINK_JSON, buffer, sizeof(buffer));
    ck_assert_msg(json_valid(buffer), "%s", buffer);
    ck_assert(json_has(buffer, "sequence", "0"));
    ck_assert(json_has(buffer, "kind", "\"walk_step\""));
    ck_assert(json_has(buffer, "vcpu", "3"));
    ck_assert(json_has(buffer, "va", "\"0x400123\""));
    ck_assert(json_has(buffer, "level", "2"));
    ck_assert(json_has(buffer, "rights", "\"-wx\""));
    ck_assert_ptr_null(strstr(buffer, "error"));
    ck_assert_ptr_null(strstr(buffer, "cause"));
    for (unsigned kind = 0; kind < MMU_EVENT_COUNT; kind++) {
        struct mmu_event e = {.kind = (uint8_t)kind,
                              .gva = UINT64_MAX,
                              .old_entry = UINT64_MAX,
                              .cause = UINT8_MAX,
                              .access = UINT8_MAX,
                              .view = UINT8_MAX,
                              .rights = UINT8_MAX,
                              .error = UINT32_MAX,
                              .count = UINT32_MAX};

        for (unsigned format = MMU_SINK_JSON; format <= MMU_SINK_CHROME; format++)
            ck_assert_msg(
                json_valid(printed(&e, (enum mmu_sink_format)format, buffer, sizeof(buffer))), "%s",
                buffer);
    }
}
END_TEST

/* What a sink of the format holds after the tour; freed by the caller. */
static char *recorded(enum mmu_sink_format format, const char *filter)
{
    char path[] = "/tmp/gnomon-events-XXXXXX", *text;
    int fd = mkstemp(path);
    struct error err = {0};
    FILE *file;
    long size;

    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert(mmu_events_set_filter(m->events, filter, NULL));
    ck_assert_msg(mmu_events_open_sink(m->events, path, format, &err), "%s", err.text);
    tour();
    ck_assert(mmu_events_close(m->events, &err));
    m->events = mmu_events_create(1);
    file = fopen(path, "r");
    ck_assert_int_eq(fseek(file, 0, SEEK_END), 0);
    size = ftell(file);
    rewind(file);
    text = calloc(1, (size_t)size + 1);
    ck_assert_uint_eq(fread(text, 1, (size_t)size, file), (size_t)size);
    fclose(file);
    unlink(path);
    return text;
}

START_TEST(a_json_sink_has_one_object_a_line)
{
    char *text = recorded(MMU_SINK_JSON, NULL), *save = NULL;
    unsigned lines = 0;

    for (char *line = strtok_r(text, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        char sequence[16];

        snprintf(sequence, sizeof(sequence), "%u", lines++);
        ck_assert_msg(json_valid(line), "%s", line);
        ck_assert(json_has(line, "sequence", sequence));
    }
    ck_assert_uint_gt(lines, 20);
    free(text);
}
END_TEST

static unsigned occurrences(const char *text, const char *what)
{
    unsigned n = 0;

    for (; (text = strstr(text, what)) != NULL; text++)
        n++;
    return n;
}

START_TEST(a_chrome_sink_is_one_document_with_balanced_walks)
{
    char *text = recorded(MMU_SINK_CHROME, NULL);

    ck_assert_msg(json_valid(text), "%s", text);
    ck_assert_uint_gt(occurrences(text, "\"ph\":\"B\""), 2);
    ck_assert_uint_eq(occurrences(text, "\"ph\":\"B\""), occurrences(text, "\"ph\":\"E\""));
    ck_assert_uint_eq(occurrences(text, "\"ph\":\"i\""), occurrences(text, "\"s\":\"t\""));
    ck_assert_uint_eq(occurrences(text, "\"ts\":12345"), occurrences(text, "\"ph\":"));
    free(text);
}
END_TEST

START_TEST(a_chrome_sink_without_events_is_a_document_too)
{
    char *text = recorded(MMU_SINK_CHROME, "va==1");

    ck_assert_msg(json_valid(text), "%s", text);
    ck_assert_uint_eq(occurrences(text, "\"ph\":"), 0);
    free(text);
}
END_TEST

START_TEST(a_sink_that_cannot_be_written_is_an_error)
{
    struct error err = {0};

    ck_assert(!mmu_events_open_sink(m->events, "/nonexistent/x", MMU_SINK_TEXT, &err));
    ck_assert_ptr_nonnull(strstr(err.text, "/nonexistent/x"));
    err = (struct error){0};
    ck_assert(mmu_events_open_sink(m->events, "/dev/full", MMU_SINK_TEXT, &err));
    emit(0);
    ck_assert(!mmu_events_close(m->events, &err));
    ck_assert(err.set);
    m->events = mmu_events_create(1);
    ck_assert(mmu_events_close(NULL, NULL));
}
END_TEST

START_TEST(formats_are_known_by_name)
{
    enum mmu_sink_format format = MMU_SINK_TEXT;
    struct error err = {0};

    ck_assert(mmu_sink_format_from_word("chrome", &format, NULL));
    ck_assert_int_eq(format, MMU_SINK_CHROME);
    ck_assert(!mmu_sink_format_from_word("xml", &format, &err));
    ck_assert_ptr_nonnull(strstr(err.text, "'xml'"));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("events");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_filter_means_what_it_says);
    tcase_add_test(tc, an_error_in_a_filter_names_its_place);
    tcase_add_test(tc, a_filter_has_limits_and_says_so);
    tcase_add_test(tc, the_mask_follows_from_what_the_filter_says_of_kinds);
    tcase_add_test(tc, a_full_ring_keeps_the_newest_and_counts_all);
    tcase_add_test(tc, what_does_not_pass_is_not_counted);
    tcase_add_test(tc, a_listener_hears_what_passes);
    tcase_add_test(tc, fields_of_an_unwanted_event_are_not_computed);
    tcase_add_test(tc, an_access_tells_of_its_walk_and_fill);
    tcase_add_test(tc, a_fault_tells_its_cause_and_error_code);
    tcase_add_test(tc, every_kind_of_event_happens);
    tcase_add_test(tc, text_fills_in_the_kinds_template);
    tcase_add_test(tc, no_template_names_a_field_that_its_kind_lacks);
    tcase_add_test(tc, words_of_kinds_and_causes_are_unique);
    tcase_add_test(tc, json_is_json_and_holds_the_kinds_fields_only);
    tcase_add_test(tc, a_json_sink_has_one_object_a_line);
    tcase_add_test(tc, a_chrome_sink_is_one_document_with_balanced_walks);
    tcase_add_test(tc, a_chrome_sink_without_events_is_a_document_too);
    tcase_add_test(tc, a_sink_that_cannot_be_written_is_an_error);
    tcase_add_test(tc, formats_are_known_by_name);
    return run_suite("events", tc);
}
