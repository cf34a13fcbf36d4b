#include "mmu/bus.h"

#include "base/log.h"
#include "mmu/memory.h"
#include "mmu/mmu.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RAM_SIZE  0x10000u
#define ROM_BASE  0x20000u
#define MMIO_BASE 0x40000000u

/* A device that keeps what it was asked in a text: "r0.4" reads 4 bytes at offset 0. */
struct recorder {
    char text[256];
    uint64_t answer;
};

static void note(struct recorder *d, char what, uint64_t offset, unsigned size)
{
    size_t used = strlen(d->text);

    snprintf(d->text + used, sizeof(d->text) - used, "%c%x.%u ", what, (unsigned)offset, size);
}

/* Each byte reads as the low byte of its offset, plus `answer`. */
static uint64_t recorder_read(void *device, uint64_t offset, unsigned size)
{
    struct recorder *d = device;
    uint64_t value = 0;

    note(d, 'r', offset, size);
    for (unsigned i = 0; i < size; i++)
        value |= ((offset + i) & 0xff) << 8 * i;
    return value + d->answer;
}

static void recorder_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    struct recorder *d = device;

    note(d, 'w', offset, size);
    d->answer = value;
}

static const struct bus_region_ops bytes_ops = {"bytes", recorder_read, recorder_write, 1};
static const struct bus_region_ops words_ops = {"words", recorder_read, recorder_write, 2};
static const struct bus_region_ops dwords_ops = {"dwords", recorder_read, recorder_write, 4};
static const struct bus_region_ops qwords_ops = {"qwords", recorder_read, recorder_write, 8};

struct fixture {
    struct machine_memory *memory;
    struct bus *bus;
    struct recorder device;
};

static struct fixture f;

static void setup(void)
{
    memset(&f, 0, sizeof(f));
    f.memory = machine_memory_create(0x40000, NULL);
    ck_assert(machine_memory_add(f.memory, mpa(0), RAM_SIZE, FRAME_RAM, NULL));
    ck_assert(machine_memory_add(f.memory, mpa(ROM_BASE), 0x1000, FRAME_ROM, NULL));
    f.bus = bus_create(f.memory, NULL);
}

static void teardown(void)
{
    bus_destroy(f.bus);
    machine_memory_destroy(f.memory);
}

static bool add(uint64_t base, uint64_t size, const struct bus_region_ops *ops)
{
    return bus_add_mmio(f.bus, gpa(base), size, ops, &f.device, NULL);
}

START_TEST(what_dma_writes_to_ram_reads_back)
{
    uint8_t in[10000], out[sizeof(in)];

    for (size_t i = 0; i < sizeof(in); i++)
        in[i] = (uint8_t)(i * 7);
    ck_assert(bus_write(f.bus, gpa(0x1ffd), in, sizeof(in)));
    ck_assert(bus_read(f.bus, gpa(0x1ffd), out, sizeof(out)));
    ck_assert_mem_eq(in, out, sizeof(in));
}
END_TEST

START_TEST(rom_ignores_writes_but_not_the_loader)
{
    uint8_t value = 5, got = 0;

    ck_assert(bus_write(f.bus, gpa(ROM_BASE + 3), &value, 1));
    bus_read(f.bus, gpa(ROM_BASE + 3), &got, 1);
    ck_assert_uint_eq(got, 0);
    ck_assert(bus_load(f.bus, gpa(ROM_BASE + 3), &value, 1));
    bus_read(f.bus, gpa(ROM_BASE + 3), &got, 1);
    ck_assert_uint_eq(got, 5);
}
END_TEST

START_TEST(an_unclaimed_access_reads_ones_and_is_counted)
{
    uint32_t value = 0;

    ck_assert(!bus_read(f.bus, gpa(MMIO_BASE), &value, 4));
    ck_assert_uint_eq(value, UINT32_MAX);
    ck_assert(!bus_write(f.bus, gpa(MMIO_BASE), &value, 4));
    ck_assert_uint_eq(bus_mmio_read(f.bus, gpa(MMIO_BASE), 2), 0xffff);
    ck_assert_uint_eq(bus_port_read(f.bus, 0x80, 1), 0xff);
    bus_port_write(f.bus, 0x80, 1, 1);
    ck_assert_uint_eq(bus_unclaimed_count(f.bus), 5);
}
END_TEST

START_TEST(a_read_across_ram_a_hole_and_a_device_takes_each_part_from_its_owner)
{
    uint8_t got[16], ram[4] = {1, 2, 3, 4};

    ck_assert(add(RAM_SIZE + 8, 8, &qwords_ops));
    bus_write(f.bus, gpa(RAM_SIZE - 4), ram, 4);
    ck_assert(!bus_read(f.bus, gpa(RAM_SIZE - 4), got, 16));
    ck_assert_mem_eq(got, "\1\2\3\4\377\377\377\377\377\377\377\377\0\1\2\3", 16);
    ck_assert_str_eq(f.device.text, "r0.4 ");
}
END_TEST

START_TEST(an_access_over_the_top_of_the_address_space_does_not_wrap)
{
    uint8_t got[32];

    ck_assert(!bus_read(f.bus, gpa(UINT64_MAX - 3), got, sizeof(got)));
    ck_assert_uint_eq(got[31], 0xff);
    memset(got, 0, sizeof(got));
    ck_assert(!bus_write(f.bus, gpa(UINT64_MAX - 3), got, sizeof(got)));
}
END_TEST

START_TEST(an_mmio_access_that_fits_arrives_whole)
{
    ck_assert(add(MMIO_BASE, 0x100, &dwords_ops));
    ck_assert_uint_eq(bus_mmio_read(f.bus, gpa(MMIO_BASE + 0x10), 4), 0x13121110);
    bus_mmio_write(f.bus, gpa(MMIO_BASE + 0x12), 0xabcd1234, 2);
    ck_assert_str_eq(f.device.text, "r10.4 w12.2 ");
    ck_assert_uint_eq(f.device.answer, 0x1234);
}
END_TEST

START_TEST(a_wide_mmio_access_splits_low_address_first)
{
    ck_assert(add(MMIO_BASE, 0x100, &words_ops));
    ck_assert_uint_eq(bus_mmio_read(f.bus, gpa(MMIO_BASE + 0x10), 8), 0x1716151413121110);
    bus_mmio_write(f.bus, gpa(MMIO_BASE), 0x11112222, 4);
    ck_assert_str_eq(f.device.text, "r10.2 r12.2 r14.2 r16.2 w0.2 w2.2 ");
}
END_TEST

START_TEST(an_unaligned_mmio_access_splits_into_aligned_pieces)
{
    ck_assert(add(MMIO_BASE, 0x100, &dwords_ops));
    ck_assert_uint_eq(bus_mmio_read(f.bus, gpa(MMIO_BASE + 1), 8), 0x0807060504030201);
    ck_assert_str_eq(f.device.text, "r1.1 r2.2 r4.4 r8.1 ");
}
END_TEST

START_TEST(an_mmio_access_past_the_end_of_a_region_reads_ones_there)
{
    ck_assert(add(MMIO_BASE, 6, &dwords_ops));
    ck_assert_uint_eq(bus_mmio_read(f.bus, gpa(MMIO_BASE + 4), 4), 0xffff0504);
    ck_assert_str_eq(f.device.text, "r4.2 ");
}
END_TEST

START_TEST(adjacent_regions_share_a_split_access)
{
    struct recorder other = {.answer = 0};

    ck_assert(add(MMIO_BASE, 4, &dwords_ops));
    ck_assert(bus_add_mmio(f.bus, gpa(MMIO_BASE + 4), 4, &bytes_ops, &other, NULL));
    ck_assert_uint_eq(bus_mmio_read(f.bus, gpa(MMIO_BASE), 8), 0x0302010003020100);
    ck_assert_str_eq(f.device.text, "r0.4 ");
    ck_assert_str_eq(other.text, "r0.1 r1.1 r2.1 r3.1 ");
}
END_TEST

START_TEST(an_overlap_is_refused_and_names_both)
{
    struct error err = {0};

    ck_assert(add(MMIO_BASE, 0x100, &dwords_ops));
    ck_assert(!bus_add_mmio(f.bus, gpa(MMIO_BASE + 0xff), 1, &words_ops, &f.device, &err));
    ck_assert_ptr_nonnull(strstr(err.text, "words"));
    ck_assert_ptr_nonnull(strstr(err.text, "dwords"));
    ck_assert(!add(MMIO_BASE - 1, 2, &words_ops));
    ck_assert(!add(RAM_SIZE - 1, 2, &words_ops));
    ck_assert(!add(MMIO_BASE + 0x1000, 0, &words_ops));
    ck_assert(!add(UINT64_MAX, 2, &words_ops));
    ck_assert(add(MMIO_BASE - 1, 1, &words_ops));
    ck_assert(add(MMIO_BASE + 0x100, 1, &words_ops));
}
END_TEST

START_TEST(a_removed_region_answers_no_more_and_may_come_back_elsewhere)
{
    for (unsigned i = 0; i < 40; i++)
        ck_assert(add(MMIO_BASE + 0x1000 * (uint64_t)(i * 7 % 40), 0x1000, &dwords_ops));
    bus_mmio_read(f.bus, gpa(MMIO_BASE + 0x5000), 1);
    bus_remove_mmio(f.bus, gpa(MMIO_BASE + 0x5008)); /* nobody's base: no effect */
    ck_assert_uint_eq(bus_mmio_read(f.bus, gpa(MMIO_BASE + 0x5000), 1), 0);
    bus_remove_mmio(f.bus, gpa(MMIO_BASE + 0x5000));
    ck_assert_uint_eq(bus_mmio_read(f.bus, gpa(MMIO_BASE + 0x5000), 1), 0xff);
    ck_assert_uint_eq(bus_mmio_read(f.bus, gpa(MMIO_BASE + 0x6001), 1), 1);
    ck_assert(add(MMIO_BASE + 0x5800, 0x800, &dwords_ops));
    ck_assert_uint_eq(bus_mmio_read(f.bus, gpa(MMIO_BASE + 0x5804), 1), 4);
}
END_TEST

static void remover_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    (void)device;
    (void)offset;
    (void)value;
    (void)size;
    bus_remove_mmio(f.bus, gpa(MMIO_BASE));
}

START_TEST(a_device_may_remove_its_own_region_in_the_middle_of_an_access)
{
    static const struct bus_region_ops ops = {"remover", recorder_read, remover_write, 1};

    ck_assert(add(MMIO_BASE, 0x100, &ops));
    bus_mmio_write(f.bus, gpa(MMIO_BASE), 0, 8);
    ck_assert_uint_eq(bus_mmio_read(f.bus, gpa(MMIO_BASE), 1), 0xff);
}
END_TEST

START_TEST(a_port_access_reaches_the_device_with_its_offset)
{
    ck_assert(bus_add_ports(f.bus, 0x3f8, 8, &bytes_ops, &f.device, NULL));
    ck_assert_uint_eq(bus_port_read(f.bus, 0x3fd, 1), 5);
    bus_port_write(f.bus, 0x3f8, 0x1ff, 1);
    ck_assert_str_eq(f.device.text, "r5.1 w0.1 ");
    ck_assert_uint_eq(f.device.answer, 0xff);
}
END_TEST

START_TEST(a_wide_port_access_to_byte_ports_splits)
{
    ck_assert(bus_add_ports(f.bus, 0x40, 4, &bytes_ops, &f.device, NULL));
    ck_assert_uint_eq(bus_port_read(f.bus, 0x40, 4), 0x03020100);
    ck_assert_uint_eq(bus_port_read(f.bus, 0x42, 4), 0xffff0302);
    ck_assert_str_eq(f.device.text, "r0.1 r1.1 r2.1 r3.1 r2.1 r3.1 ");
    ck_assert_uint_eq(bus_unclaimed_count(f.bus), 0);
}
END_TEST

START_TEST(an_unaligned_port_access_that_fits_arrives_whole)
{
    ck_assert(bus_add_ports(f.bus, 0x1ce, 3, &words_ops, &f.device, NULL));
    ck_assert_uint_eq(bus_port_read(f.bus, 0x1cf, 2), 0x0201);
    ck_assert_str_eq(f.device.text, "r1.2 ");
}
END_TEST

START_TEST(ports_overlap_and_range_are_checked)
{
    struct error err = {0};

    ck_assert(bus_add_ports(f.bus, 0xfff8, 8, &bytes_ops, &f.device, NULL));
    ck_assert(!bus_add_ports(f.bus, 0xfff0, 9, &words_ops, &f.device, &err));
    ck_assert_ptr_nonnull(strstr(err.text, "bytes"));
    ck_assert(!bus_add_ports(f.bus, 0xfff0, 17, &words_ops, &f.device, NULL));
    ck_assert(!bus_add_ports(f.bus, 0xffff, 2, &words_ops, &f.device, NULL));
    ck_assert(!bus_add_ports(f.bus, 0x10, 0, &words_ops, &f.device, NULL));
    ck_assert_uint_eq(bus_port_read(f.bus, 0xffff, 4), 0xffffff07);
    bus_remove_ports(f.bus, 0xfff9); /* nobody's first port: no effect */
    ck_assert_uint_eq(bus_port_read(f.bus, 0xfff8, 1), 0);
    bus_remove_ports(f.bus, 0xfff8);
    ck_assert_uint_eq(bus_port_read(f.bus, 0xfff8, 1), 0xff);
}
END_TEST

static unsigned announced;

static void count_bytes(struct mmu_context *m, mpa_t address, unsigned length)
{
    (void)m, (void)address;
    announced += length;
}

START_TEST(dma_into_code_is_announced_frame_by_frame)
{
    static const uint8_t zeroes[8192];
    struct mmu_context m;

    announced = 0;
    mmu_init(&m, f.bus, f.memory, NULL, 0);
    f.memory->code_changed = count_bytes;
    mmu_frame_watch(&m, mpa(0x2000), FRAME_WATCH_CODE);
    bus_write(f.bus, gpa(0x1800), zeroes, 8192);
    ck_assert_uint_eq(announced, 4096);
    mmu_destroy(&m);
}
END_TEST

START_TEST(an_unanswered_access_is_logged)
{
    char *text = NULL;
    size_t length = 0;
    struct log log;
    struct bus *bus;

    log_init(&log);
    log.stream = open_memstream(&text, &length);
    log.mask = LOG_GUEST_ERROR;
    bus = bus_create(f.memory, &log);
    bus_port_read(bus, 0x1234, 2);
    bus_destroy(bus);
    fclose(log.stream);
    ck_assert_ptr_nonnull(strstr(text, "0x1234"));
    free(text);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("bus");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, what_dma_writes_to_ram_reads_back);
    tcase_add_test(tc, rom_ignores_writes_but_not_the_loader);
    tcase_add_test(tc, an_unclaimed_access_reads_ones_and_is_counted);
    tcase_add_test(tc, a_read_across_ram_a_hole_and_a_device_takes_each_part_from_its_owner);
    tcase_add_test(tc, an_access_over_the_top_of_the_address_space_does_not_wrap);
    tcase_add_test(tc, an_mmio_access_that_fits_arrives_whole);
    tcase_add_test(tc, a_wide_mmio_access_splits_low_address_first);
    tcase_add_test(tc, an_unaligned_mmio_access_splits_into_aligned_pieces);
    tcase_add_test(tc, an_mmio_access_past_the_end_of_a_region_reads_ones_there);
    tcase_add_test(tc, adjacent_regions_share_a_split_access);
    tcase_add_test(tc, an_overlap_is_refused_and_names_both);
    tcase_add_test(tc, a_removed_region_answers_no_more_and_may_come_back_elsewhere);
    tcase_add_test(tc, a_device_may_remove_its_own_region_in_the_middle_of_an_access);
    tcase_add_test(tc, a_port_access_reaches_the_device_with_its_offset);
    tcase_add_test(tc, a_wide_port_access_to_byte_ports_splits);
    tcase_add_test(tc, an_unaligned_port_access_that_fits_arrives_whole);
    tcase_add_test(tc, ports_overlap_and_range_are_checked);
    tcase_add_test(tc, dma_into_code_is_announced_frame_by_frame);
    tcase_add_test(tc, an_unanswered_access_is_logged);
    return run_suite("bus", tc);
}
