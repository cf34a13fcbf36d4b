/*
 * Without arguments: reads the structures back. With --dump: writes what "dmidecode --from-dump"
 * reads to dmi.bin in the current folder; environment as for acpi_test.c.
 */
#include "machine/smbios.h"

#include "base/bits.h"
#include "tests/unit/machine/tables_rig.h"

#include <stdio.h>

#define GIB             (1ull << 30)
#define STRUCTURE_COUNT 600

struct structure {
    const uint8_t *bytes; /* formatted area */
    const char *strings;  /* set of strings after it */
};

struct fixture {
    struct tables_rig rig;
    uint64_t anchor;
    struct structure list[STRUCTURE_COUNT];
    unsigned count;
    size_t length; /* of all structures */
    size_t largest;
};

static void fixture_create(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    tables_rig_create(&f->rig);
}

static void fixture_destroy(struct fixture *f)
{
    tables_rig_destroy(&f->rig);
}

/* Installs what rig.target describes and takes the structures apart. */
static void install(struct fixture *f)
{
    struct error err = {0};
    const uint8_t *entry, *first, *p;
    size_t room;
    gpa_t at;

    ck_assert_msg(smbios_install(&f->rig.target, &at, &err), "%s", err.text);
    tables_rig_read(&f->rig);
    f->anchor = at.v;
    entry = tables_rig_at(&f->rig, f->anchor, 0x18);
    room = le32_get(entry + 0x0c);
    first = p = tables_rig_at(&f->rig, le64_get(entry + 0x10), room);
    f->count = 0;
    f->largest = 0;
    do {
        struct structure *s = &f->list[f->count++];
        const uint8_t *start = p;

        ck_assert_uint_lt(f->count, STRUCTURE_COUNT);
        ck_assert_uint_ge(p[1], 4);
        s->bytes = p;
        p += p[1];
        s->strings = (const char *)p;
        while (p[0] != 0 || p[1] != 0)
            p++;
        p += 2;
        ck_assert(p <= first + room);
        f->largest = MAX(f->largest, (size_t)(p - start));
    } while (f->list[f->count - 1].bytes[0] != 127);
    f->length = (size_t)(p - first);
}

static const struct structure *find(const struct fixture *f, uint8_t type, unsigned n)
{
    for (unsigned i = 0; i < f->count; i++) {
        if (f->list[i].bytes[0] == type && n-- == 0)
            return &f->list[i];
    }
    return NULL;
}

static const struct structure *need(const struct fixture *f, uint8_t type)
{
    const struct structure *s = find(f, type, 0);

    ck_assert_msg(s != NULL, "there is no structure of type %u", type);
    return s;
}

/* The string whose number is at the offset. */
static const char *text(const struct structure *s, unsigned offset)
{
    const char *p = s->strings;

    ck_assert_uint_ne(s->bytes[offset], 0);
    for (unsigned n = 1; n < s->bytes[offset]; n++) {
        ck_assert(*p != 0);
        p += strlen(p) + 1;
    }
    ck_assert(*p != 0);
    return p;
}

START_TEST(the_64_bit_entry_point_leads_to_the_structures)
{
    struct fixture f;
    const uint8_t *p;

    fixture_create(&f);
    install(&f);
    ck_assert_uint_eq(f.anchor % 16, 0);
    p = tables_rig_at(&f.rig, f.anchor, 0x18);
    ck_assert_mem_eq(p, "_SM3_", 5);
    ck_assert_uint_eq(p[6], 0x18);
    ck_assert_uint_eq(tables_rig_sum(p, 0x18), 0);
    ck_assert_uint_eq(le32_get(p + 0x0c), f.length);
    fixture_destroy(&f);
}
END_TEST

START_TEST(the_32_bit_entry_point_leads_there_too)
{
    struct fixture f;
    const uint8_t *entry, *p = NULL;

    fixture_create(&f);
    install(&f);
    entry = tables_rig_at(&f.rig, f.anchor, 0x18);
    for (unsigned offset = 0; offset < SMBIOS_SIZE && p == NULL; offset += 16) {
        if (memcmp(tables_rig_at(&f.rig, SMBIOS_BASE + offset, 16), "_SM_", 4) == 0)
            p = tables_rig_at(&f.rig, SMBIOS_BASE + offset, 0x1f);
    }
    ck_assert(p != NULL);
    ck_assert_uint_eq(p[5], 0x1f);
    ck_assert_uint_eq(tables_rig_sum(p, 0x1f), 0);
    ck_assert_mem_eq(p + 0x10, "_DMI_", 5);
    ck_assert_uint_eq(tables_rig_sum(p + 0x10, 0x0f), 0);
    ck_assert_uint_eq(le16_get(p + 0x08), f.largest);
    ck_assert_uint_eq(le16_get(p + 0x16), f.length);
    ck_assert_uint_eq(le32_get(p + 0x18), le64_get(entry + 0x10));
    ck_assert_uint_eq(le16_get(p + 0x1c), f.count);
    fixture_destroy(&f);
}
END_TEST

START_TEST(the_system_is_gnomon)
{
    struct fixture f;

    fixture_create(&f);
    install(&f);
    ck_assert_str_eq(text(need(&f, 1), 4), "Gnomon");
    ck_assert_str_eq(text(need(&f, 1), 5), "Gnomon PC");
    ck_assert_str_eq(text(need(&f, 0), 4), "Gnomon");
    ck_assert_uint_eq(strlen(text(need(&f, 0), 8)), 10);
    ck_assert_uint_eq(need(&f, 0)->bytes[0x13] & 0x10, 0x10); /* a virtual machine */
    ck_assert_str_eq(text(need(&f, 3), 4), "Gnomon");
    fixture_destroy(&f);
}
END_TEST

START_TEST(handles_are_unique)
{
    struct fixture f;

    fixture_create(&f);
    f.rig.target.topology.sockets = 512;
    f.rig.target.ram_above_4g = GIB;
    install(&f);
    for (unsigned i = 0; i < f.count; i++) {
        for (unsigned k = 0; k < i; k++)
            ck_assert_uint_ne(le16_get(f.list[i].bytes + 2), le16_get(f.list[k].bytes + 2));
    }
    fixture_destroy(&f);
}
END_TEST

START_TEST(each_socket_is_what_cpuid_says)
{
    struct fixture f;
    const struct structure *s;
    uint32_t r[4];

    fixture_create(&f);
    f.rig.target.topology.sockets = 3;
    install(&f);
    s = find(&f, 4, 2);
    ck_assert(s != NULL && find(&f, 4, 3) == NULL);
    ck_assert_str_eq(text(s, 0x04), "CPU 2");
    ck_assert_str_eq(text(s, 0x07), cpu_models[0].vendor);
    ck_assert_str_eq(text(s, 0x10), cpu_models[0].brand);
    cpu_cpuid(f.rig.target.cpu, 1, 0, r);
    ck_assert_uint_eq(le32_get(s->bytes + 0x08), r[0]);
    ck_assert_uint_eq(le32_get(s->bytes + 0x0c), r[3]);
    fixture_destroy(&f);
}
END_TEST

/* One structure a socket; cores, enabled cores and threads of the whole socket in it. */
static void check_counts(struct cpu_topology t, const uint8_t bytes[3], const uint16_t words[3],
                         uint16_t characteristics)
{
    struct fixture f;

    fixture_create(&f);
    f.rig.target.topology = t;
    install(&f);
    for (unsigned n = 0; n < t.sockets; n++) {
        const struct structure *s = find(&f, 4, n);

        ck_assert(s != NULL);
        ck_assert_mem_eq(s->bytes + 0x23, bytes, 3);
        for (unsigned i = 0; i < 3; i++)
            ck_assert_uint_eq(le16_get(s->bytes + 0x2a + 2 * i), words[i]);
        ck_assert_uint_eq(le16_get(s->bytes + 0x26), characteristics);
        ck_assert_uint_eq(s->bytes[0x18], 0x41); /* populated, enabled */
    }
    ck_assert(find(&f, 4, t.sockets) == NULL);
    fixture_destroy(&f);
}

START_TEST(a_socket_says_how_many_cores_and_threads_it_has)
{
    check_counts((struct cpu_topology){1, 1, 1}, (const uint8_t[]){1, 1, 1},
                 (const uint16_t[]){1, 1, 1}, 0x04);
    check_counts((struct cpu_topology){2, 3, 2}, (const uint8_t[]){3, 3, 6},
                 (const uint16_t[]){3, 3, 6}, 0x1c);
    check_counts((struct cpu_topology){2, 4, 1}, (const uint8_t[]){4, 4, 4},
                 (const uint16_t[]){4, 4, 4}, 0x0c);
    check_counts((struct cpu_topology){3, 1, 2}, (const uint8_t[]){1, 1, 2},
                 (const uint16_t[]){1, 1, 2}, 0x14);
    check_counts((struct cpu_topology){1, 200, 2}, (const uint8_t[]){200, 200, 255},
                 (const uint16_t[]){200, 200, 400}, 0x1c);
}
END_TEST

static void check_memory(uint64_t below, uint64_t above, uint16_t mib, uint32_t extended_mib)
{
    struct fixture f;
    const struct structure *low, *high;

    fixture_create(&f);
    f.rig.target.ram_below_4g = below;
    f.rig.target.ram_above_4g = above;
    install(&f);
    ck_assert_uint_eq(le16_get(need(&f, 17)->bytes + 0x0c), mib);
    ck_assert_uint_eq(le32_get(need(&f, 17)->bytes + 0x1c), extended_mib);
    ck_assert_uint_eq(le16_get(need(&f, 17)->bytes + 0x04), le16_get(need(&f, 16)->bytes + 2));
    low = need(&f, 19);
    ck_assert_uint_eq(le32_get(low->bytes + 0x04), 0);
    ck_assert_uint_eq(le32_get(low->bytes + 0x08), (below >> 10) - 1);
    ck_assert_uint_eq(le16_get(low->bytes + 0x0c), le16_get(need(&f, 16)->bytes + 2));
    high = find(&f, 19, 1);
    ck_assert_int_eq(high != NULL, above != 0);
    if (high != NULL && above < 1ull << 41) {
        ck_assert_uint_eq(le32_get(high->bytes + 0x04), (4 * GIB) >> 10);
        ck_assert_uint_eq(le32_get(high->bytes + 0x08), ((4 * GIB + above) >> 10) - 1);
    }
    fixture_destroy(&f);
}

START_TEST(memory_is_what_the_machine_has)
{
    check_memory(64ull << 20, 0, 64, 0);
    check_memory(3 * GIB, 0, 3072, 0);
    check_memory(3 * GIB, 3 * GIB, 6144, 0);
    check_memory(3 * GIB, 29 * GIB - (2ull << 20), 32766, 0);
    check_memory(3 * GIB, 29 * GIB - (1ull << 20), 0x7fff, 32767);
    check_memory(3 * GIB, 1021 * GIB, 0x7fff, 1 << 20);
}
END_TEST

START_TEST(an_array_of_two_tebibytes_needs_the_extended_fields)
{
    struct fixture f;
    const struct structure *high;

    fixture_create(&f);
    f.rig.target.ram_below_4g = 3 * GIB;
    f.rig.target.ram_above_4g = 2048 * GIB - 3 * GIB;
    install(&f);
    ck_assert_uint_eq(le32_get(need(&f, 16)->bytes + 0x07), 0x80000000u);
    ck_assert_uint_eq(le64_get(need(&f, 16)->bytes + 0x0f), 2048 * GIB);
    f.rig.target.ram_above_4g = 4096 * GIB;
    install(&f);
    high = find(&f, 19, 1);
    ck_assert(high != NULL);
    ck_assert_uint_eq(le32_get(high->bytes + 0x04), 0xffffffffu);
    ck_assert_uint_eq(le64_get(high->bytes + 0x0f), 4 * GIB);
    ck_assert_uint_eq(le64_get(high->bytes + 0x17), 4100 * GIB - 1);
    fixture_destroy(&f);
}
END_TEST

START_TEST(too_many_sockets_are_an_error)
{
    struct fixture f;
    struct error err = {0};
    gpa_t at;

    fixture_create(&f);
    f.rig.target.topology.sockets = 513;
    ck_assert(!smbios_install(&f.rig.target, &at, &err));
    ck_assert(strstr(err.text, "513 sockets") != NULL);
    fixture_destroy(&f);
}
END_TEST

/* The format has a 32-byte place for the entry point first; the address in it counts from the
 * file's start. */
START_TEST(dump)
{
    uint8_t entry[32] = {0};
    const uint8_t *p;
    struct fixture f;
    FILE *file;

    fixture_create(&f);
    tables_rig_from_environment(&f.rig);
    install(&f);
    p = tables_rig_at(&f.rig, f.anchor, 0x18);
    memcpy(entry, p, 0x18);
    le64_put(entry + 0x10, sizeof(entry));
    entry[5] = 0;
    entry[5] = (uint8_t)-tables_rig_sum(entry, 0x18);
    file = fopen("dmi.bin", "wb");
    ck_assert(file != NULL);
    ck_assert_uint_eq(fwrite(entry, 1, sizeof(entry), file), sizeof(entry));
    p = tables_rig_at(&f.rig, le64_get(p + 0x10), f.length);
    ck_assert_uint_eq(fwrite(p, 1, f.length, file), f.length);
    ck_assert_int_eq(fclose(file), 0);
    fixture_destroy(&f);
}
END_TEST

int main(int argc, char **argv)
{
    TCase *tc = tcase_create("smbios");

    if (argc == 2 && strcmp(argv[1], "--dump") == 0) {
        tcase_add_test(tc, dump);
        return run_suite("smbios", tc);
    }
    tcase_add_test(tc, the_64_bit_entry_point_leads_to_the_structures);
    tcase_add_test(tc, the_32_bit_entry_point_leads_there_too);
    tcase_add_test(tc, the_system_is_gnomon);
    tcase_add_test(tc, handles_are_unique);
    tcase_add_test(tc, each_socket_is_what_cpuid_says);
    tcase_add_test(tc, a_socket_says_how_many_cores_and_threads_it_has);
    tcase_add_test(tc, memory_is_what_the_machine_has);
    tcase_add_test(tc, an_array_of_two_tebibytes_needs_the_extended_fields);
    tcase_add_test(tc, too_many_sockets_are_an_error);
    return run_suite("smbios", tc);
}
