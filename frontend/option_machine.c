/* Options of the groups Machine and Time: what the machine is made of. */
#include "base/bits.h"
#include "frontend/option_handlers.h"
#include "frontend/properties.h"
#include "frontend/values.h"

#include <string.h>

#define WORD_SIZE 64
#define SPEC_SIZE 512

/* --- -machine --- */

static const char *entry_word(const void *opaque, size_t n)
{
    static const char *const words[] = {"direct", "bzimage", "flat16", "flat32", "flat64"};

    (void)opaque;
    return n < ARRAY_SIZE(words) ? words[n] : NULL;
}

static bool set_kernel_entry(struct options *o, const char *what, const char *value,
                             struct error *err)
{
    if (loader_parse_entry(value, &o->machine.kernel_entry, NULL))
        return true;
    return value_unknown(err, what, value, entry_word, NULL);
}

static bool set_triple_fault(struct options *o, const char *what, const char *value,
                             struct error *err)
{
    o->machine.triple_fault_resets = strcmp(value, "reset") == 0;
    if (o->machine.triple_fault_resets || strcmp(value, "exit") == 0)
        return true;
    return error_set(err, "%s: '%s' is neither 'exit' nor 'reset'", what, value);
}

static bool set_hpet(struct options *o, const char *what, const char *value, struct error *err)
{
    return value_switch(what, value, &o->machine.hpet, err);
}

static const char *accel_word(const void *opaque, size_t n)
{
    static const char *const words[] = {"interp"};

    (void)opaque;
    return n < ARRAY_SIZE(words) ? words[n] : NULL;
}

/* "kvm:tcg" asks for the first that is there, and so do several options; software emulation is what
 * we have. Whether one was found at last, options_check_accel says. */
static bool set_accel(struct options *o, const char *what, const char *value, struct error *err)
{
    char name[WORD_SIZE];

    for (const char *p = value;; p++) {
        size_t length = strcspn(p, ":");

        snprintf(name, sizeof(name), "%.*s", (int)MIN(length, sizeof(name) - 1), p);
        if (word_in(name, "interp|tcg"))
            o->accel_found = true;
        else if (word_in(name, "kvm|xen|hvf|hax|whpx|nvmm"))
            o->accel_missing = options_own(o, name);
        else
            return value_unknown(err, what, name, accel_word, NULL);
        p += length;
        if (*p == '\0')
            return true;
    }
}

bool options_check_accel(const struct options *o, struct error *err)
{
    if (o->accel_missing == NULL || o->accel_found)
        return true;
    return error_set(err, "-accel: '%s': Gnomon never uses hardware virtualization; valid: interp",
                     o->accel_missing);
}

static const char *machine_word(const void *opaque, size_t n)
{
    static const char *const words[] = {"pc", "q35"};

    (void)opaque;
    return n < ARRAY_SIZE(words) ? words[n] : NULL;
}

static bool set_machine_type(struct options *o, const char *what, const char *value,
                             struct error *err)
{
    (void)o;
    if (word_in(value, "pc|q35") || strncmp(value, "pc-q35-", 7) == 0 ||
        strncmp(value, "pc-i440fx-", 10) == 0)
        return true;
    return value_unknown(err, what, value, machine_word, NULL);
}

bool opt_machine(struct options *o, const char *value, struct error *err)
{
    static const struct property properties[] = {
        {"type", set_machine_type, NULL},
        {"kernel-entry", set_kernel_entry, NULL},
        {"triple-fault", set_triple_fault, NULL},
        {"hpet", set_hpet, NULL},
        {"accel", set_accel, NULL},
        {"acpi", NULL, "on|auto"},
        {"pit", NULL, "on"},
        {"pic", NULL, "on|auto"},
        {"i8042", NULL, "on"},
        {"smm", NULL, "off|auto"},
        {"usb", NULL, "off"},
        {"vmport", NULL, "off|auto"},
        {"nvdimm", NULL, "off"},
        {"sata", NULL, "off"},
        {"graphics", NULL, "off"},
        /* Properties of hardware virtualization, and of the host's memory. */
        {"kernel-irqchip", property_ignore, NULL},
        {"kernel_irqchip", property_ignore, NULL},
        {"dump-guest-core", property_ignore, NULL},
        {"mem-merge", property_ignore, NULL},
    };

    if (word_in(value, "help|?")) {
        fprintf(o->out, "pc   PCI PC (default)\nq35  the same machine for now\n");
        o->done = true;
        return true;
    }
    return properties_set_first(o, "-machine", value, set_machine_type, properties,
                                ARRAY_SIZE(properties), err);
}

/* --- Memory and processors --- */

static bool set_memory(struct options *o, const char *what, const char *value, struct error *err)
{
    uint64_t size;

    if (!value_size(what, value, 1 << 20, &size, err))
        return false;
    if (size < MACHINE_MEMORY_MIN || size > MACHINE_MEMORY_MAX)
        return error_set(err, "%s: %s: RAM is between 1M and 1024G", what, value);
    o->machine.memory_size = size;
    return true;
}

static bool set_hotplug(struct options *o, const char *what, const char *value, struct error *err)
{
    (void)o, (void)value;
    return error_set(err, "%s: memory cannot be added to a running machine", what);
}

bool opt_memory(struct options *o, const char *value, struct error *err)
{
    static const struct property properties[] = {
        {"size", set_memory, NULL}, {"slots", set_hotplug, NULL}, {"maxmem", set_hotplug, NULL}};

    return properties_set_first(o, "-m", value, set_memory, properties, ARRAY_SIZE(properties),
                                err);
}

static const char *model_word(const void *opaque, size_t n)
{
    (void)opaque;
    return machine_cpu_model(n);
}

static const char *feature_word(const void *opaque, size_t n)
{
    (void)opaque;
    return machine_cpu_feature(n);
}

/* One element of -cpu after the model, appended to spec as +feature or -feature: those are what
 * QEMU writes as feature=on and feature=off, too. */
static bool cpu_feature(char *spec, size_t size, char *element, struct error *err)
{
    char *value = strchr(element, '='), sign = '+';
    size_t used = strlen(spec);
    bool on = true;

    if (value != NULL)
        *value++ = '\0';
    if (value == NULL && (*element == '+' || *element == '-'))
        sign = *element++;
    /* True of every model here, or about hosts and hypervisors. */
    if (word_in(element, "check|enforce|migratable|host-phys-bits|kvm|l3-cache"))
        return true;
    if (value != NULL && !value_switch("-cpu", value, &on, err))
        return false;
    snprintf(spec + used, size - used, ",%c%s", on ? sign : '-', element);
    if (machine_check_cpu(spec, NULL))
        return true;
    return value_unknown(err, "-cpu: feature", element, feature_word, NULL);
}

bool opt_cpu(struct options *o, const char *value, struct error *err)
{
    char element[SPEC_SIZE], spec[2 * SPEC_SIZE] = "";

    if (word_in(value, "help|?")) {
        machine_print_cpu_models(o->out);
        o->done = true;
        return true;
    }
    if (!value_next(&value, element, sizeof(element), err))
        return err->set ? false : error_set(err, "-cpu: the value is empty");
    /* The host's processor is none of the guest's business: "host" is what we have of it. */
    snprintf(spec, sizeof(spec), "%s", strcmp(element, "host") == 0 ? "max" : element);
    if (!machine_check_cpu(spec, NULL))
        return value_unknown(err, "-cpu", element, model_word, NULL);
    while (strlen(spec) < SPEC_SIZE && value_next(&value, element, sizeof(element), err)) {
        if (!cpu_feature(spec, sizeof(spec), element, err))
            return false;
    }
    o->machine.cpu = options_own(o, spec);
    return !err->set;
}

static bool set_accel_thread(struct options *o, const char *what, const char *value,
                             struct error *err)
{
    (void)o;
    return word_in(value, "single|multi") ||
           error_set(err, "%s: '%s' is neither 'single' nor 'multi'", what, value);
}

bool opt_accel(struct options *o, const char *value, struct error *err)
{
    static const struct property properties[] = {
        {"accel", set_accel, NULL},         {"thread", set_accel_thread, NULL},
        {"tb-size", property_ignore, NULL}, {"split-wx", property_ignore, NULL},
        {"one-insn-per-tb", NULL, "off"},   {"kernel-irqchip", property_ignore, NULL},
    };

    if (word_in(value, "help|?")) {
        fprintf(o->out, "interp   interpreter (default)\n");
        o->done = true;
        return true;
    }
    return properties_set_first(o, "-accel", value, set_accel, properties, ARRAY_SIZE(properties),
                                err);
}

/* --- MMU --- */

/* A number from least to most, a power of two if that is asked for. */
static bool mmu_number(const char *what, const char *value, unsigned least, unsigned most,
                       bool power, unsigned *out, struct error *err)
{
    uint64_t n;

    if (!value_number(what, value, most, &n, err))
        return false;
    if (n < least || (power && (n & (n - 1)) != 0))
        return error_set(err, "%s: '%s' is not %sbetween %u and %u", what, value,
                         power ? "a power of two " : "", least, most);
    *out = (unsigned)n;
    return true;
}

static bool set_mmu_paranoid(struct options *o, const char *what, const char *value,
                             struct error *err)
{
    o->machine.mmu.policy = MMU_POLICY_PARANOID;
    return mmu_number(what, value, 1, 1000000000, false, &o->machine.mmu.paranoid, err);
}

static bool set_mmu_policy(struct options *o, const char *what, const char *value,
                           struct error *err)
{
    if (strcmp(value, "flush") == 0)
        o->machine.mmu.policy = MMU_POLICY_FLUSH;
    else if (strcmp(value, "coherent") == 0)
        o->machine.mmu.policy = MMU_POLICY_COHERENT;
    else
        return error_set(err, "%s: the policy is coherent, flush or paranoid=N, not '%s'", what,
                         value);
    return true;
}

static bool set_mmu_consumer(struct options *o, const char *what, const char *value,
                             struct error *err)
{
    o->machine.mmu.consumer =
        strcmp(value, "apply") == 0 ? MMU_CONSUMER_APPLY : MMU_CONSUMER_INVALIDATE;
    return word_in(value, "apply|invalidate") ||
           error_set(err, "%s: '%s' is neither 'apply' nor 'invalidate'", what, value);
}

static bool set_mmu_patch(struct options *o, const char *what, const char *value, struct error *err)
{
    o->machine.mmu.patch = strcmp(value, "address") == 0 ? MMU_PATCH_ADDRESS
                           : strcmp(value, "value") == 0 ? MMU_PATCH_VALUE
                                                         : MMU_PATCH_VALIDATED;
    return word_in(value, "address|value|validated") ||
           error_set(err, "%s: '%s' is not 'validated', 'value' or 'address'", what, value);
}

static bool set_mmu_tables(struct options *o, const char *what, const char *value,
                           struct error *err)
{
    o->machine.mmu.tables = strcmp(value, "shared") == 0 ? MMU_TABLES_SHARED : MMU_TABLES_PRIVATE;
    return word_in(value, "private|shared") ||
           error_set(err, "%s: '%s' is neither 'private' nor 'shared'", what, value);
}

static bool set_mmu_spaces(struct options *o, const char *what, const char *value,
                           struct error *err)
{
    return mmu_number(what, value, 2, 63, false, &o->machine.mmu.spaces, err);
}

static bool set_mmu_slots(struct options *o, const char *what, const char *value, struct error *err)
{
    return mmu_number(what, value, 2, 1024, true, &o->machine.mmu.slots, err);
}

static bool set_mmu_pages(struct options *o, const char *what, const char *value, struct error *err)
{
    return mmu_number(what, value, 16, 4096, false, &o->machine.mmu.pages, err);
}

static bool set_mmu_flood(struct options *o, const char *what, const char *value, struct error *err)
{
    return mmu_number(what, value, 0, 255, false, &o->machine.mmu.flood, err);
}

static bool set_mmu_delay(struct options *o, const char *what, const char *value, struct error *err)
{
    return mmu_number(what, value, 0, 1000000, false, &o->machine.mmu_delay, err);
}

static bool set_mmu_p2m(struct options *o, const char *what, const char *value, struct error *err)
{
    static const char *const words[] = {
        [MACHINE_P2M_BARE] = "bare",
        [MACHINE_P2M_IDENTITY] = "identity",
        [MACHINE_P2M_SCATTER] = "scatter",
    };

    for (unsigned n = 0; n < ARRAY_SIZE(words); n++) {
        if (strcmp(value, words[n]) == 0) {
            o->machine.p2m = (enum machine_p2m)n;
            return true;
        }
    }
    return error_set(err, "%s: '%s' is neither 'bare', 'identity' nor 'scatter'", what, value);
}

bool opt_mmu(struct options *o, const char *value, struct error *err)
{
    static const struct property properties[] = {
        {"paranoid", set_mmu_paranoid, NULL}, {"consumer", set_mmu_consumer, NULL},
        {"tables", set_mmu_tables, NULL},     {"patch", set_mmu_patch, NULL},
        {"spaces", set_mmu_spaces, NULL},     {"slots", set_mmu_slots, NULL},
        {"pages", set_mmu_pages, NULL},       {"flood", set_mmu_flood, NULL},
        {"p2m", set_mmu_p2m, NULL},           {"delay", set_mmu_delay, NULL},
    };

    return properties_set_first(o, "-mmu", value, set_mmu_policy, properties,
                                ARRAY_SIZE(properties), err);
}

/* --- Time --- */

static bool set_icount_shift(struct options *o, const char *what, const char *value,
                             struct error *err)
{
    uint64_t shift = 3;

    if (strcmp(value, "auto") != 0 && !value_number(what, value, 10, &shift, err))
        return false;
    o->machine.icount_shift = (unsigned)shift;
    return true;
}

static bool set_icount_first(struct options *o, const char *what, const char *value,
                             struct error *err)
{
    (void)what;
    return set_icount_shift(o, "-icount: shift", value, err);
}

static bool set_icount_sleep(struct options *o, const char *what, const char *value,
                             struct error *err)
{
    return value_switch(what, value, &o->machine.idle_sleeps, err);
}

bool opt_icount(struct options *o, const char *value, struct error *err)
{
    static const struct property properties[] = {{"shift", set_icount_shift, NULL},
                                                 {"sleep", set_icount_sleep, NULL},
                                                 {"align", NULL, "off"}};

    o->machine.deterministic = true;
    o->machine.icount_shift = 3;
    return properties_set_first(o, "-icount", value, set_icount_first, properties,
                                ARRAY_SIZE(properties), err);
}

static bool set_rtc_base(struct options *o, const char *what, const char *value, struct error *err)
{
    o->rtc_given = true;
    return value_date(what, value, &o->machine.rtc_start, err);
}

bool opt_rtc(struct options *o, const char *value, struct error *err)
{
    /* There is one clock: the host's in parallel mode, the virtual one with -icount. */
    static const struct property properties[] = {{"base", set_rtc_base, NULL},
                                                 {"clock", NULL, "host|rt|vm"},
                                                 {"driftfix", NULL, "none|slew"}};

    return properties_set(o, "-rtc", value, properties, ARRAY_SIZE(properties), err);
}

bool opt_seed(struct options *o, const char *value, struct error *err)
{
    o->seed_given = true;
    return value_number("-seed", value, UINT64_MAX, &o->machine.seed, err);
}

bool opt_no_hpet(struct options *o, const char *value, struct error *err)
{
    (void)value, (void)err;
    o->machine.hpet = false;
    return true;
}

bool opt_name(struct options *o, const char *value, struct error *err)
{
    char element[SPEC_SIZE];

    /* "NAME", "guest=NAME", and names of processes and threads that we do not set. */
    while (value_next(&value, element, sizeof(element), err)) {
        if (strncmp(element, "guest=", 6) == 0)
            o->name = options_own(o, element + 6);
        else if (strchr(element, '=') == NULL)
            o->name = options_own(o, element);
    }
    return !err->set;
}
