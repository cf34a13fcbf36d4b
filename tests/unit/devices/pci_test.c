#include "devices/pci.h"

#include "tests/unit/devices/device_rig.h"

#define CONFADD  0xcf8
#define CONFDATA 0xcfc

#define TEST_DEVFN PCI_DEVFN(3, 0)

/* A card with one BAR of each sort, all of them a scratch register. */
struct card {
    struct pci_function f;
    uint64_t last_offset;
    uint64_t value;
    unsigned moves;    /* calls of bar_moved */
    uint64_t moved_to; /* its last arguments */
    bool moved_mapped;
    unsigned written; /* calls of config_written */
};

struct board {
    struct rig rig;
    struct rig_irq irq, pirq;
    struct pci_host *host;
    struct card card, other;
    unsigned resets;
    bool hard;
    unsigned shadow_count;
    uint32_t shadow_base, shadow_size;
    bool shadow_read, shadow_write;
    uint8_t smram;
};

static uint64_t card_read(void *device, uint64_t offset, unsigned size)
{
    struct card *c = device;

    (void)size;
    c->last_offset = offset;
    return c->value;
}

static void card_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    struct card *c = device;

    (void)size;
    c->last_offset = offset;
    c->value = value;
}

static const struct bus_region_ops card_ops = {"card", card_read, card_write, 8};
static const struct bus_region_ops card_io_ops = {"card io", card_read, card_write, 4};

static void card_moved(struct pci_function *f, unsigned bar, uint64_t base, bool mapped)
{
    struct card *c = f->device;

    ck_assert_uint_eq(bar, 4);
    c->moves++;
    c->moved_to = base;
    c->moved_mapped = mapped;
}

static void card_written(struct pci_function *f, unsigned offset, unsigned size)
{
    struct card *c = f->device;

    (void)offset;
    (void)size;
    c->written++;
}

static void card_init(struct card *c, const char *name)
{
    memset(c, 0, sizeof(*c));
    pci_function_init(&c->f, name, 0x1234, 0x5678, 9, 0x020304, 1);
    pci_set_bar(&c->f, 0, PCI_BAR_IO, 32, &card_io_ops, c);
    pci_set_bar(&c->f, 1, PCI_BAR_MEM32, 4096, &card_ops, c);
    pci_set_bar(&c->f, 2, PCI_BAR_MEM64_PREFETCH, 16384, &card_ops, c);
    pci_set_bar(&c->f, 4, PCI_BAR_MEM32_PREFETCH, 1 << 24, NULL, NULL);
    pci_set_bar(&c->f, PCI_BAR_ROM, PCI_BAR_MEM32, 2048, &card_ops, c);
    c->f.device = c;
    c->f.bar_moved = card_moved;
    c->f.config_written = card_written;
}

static void board_reset(void *opaque, bool hard)
{
    struct board *b = opaque;

    b->resets++;
    b->hard = hard;
}

static void board_shadow(void *opaque, uint32_t base, uint32_t size, bool read_ram, bool write_ram)
{
    struct board *b = opaque;

    b->shadow_count++;
    b->shadow_base = base;
    b->shadow_size = size;
    b->shadow_read = read_ram;
    b->shadow_write = write_ram;
}

static void board_smram(void *opaque, uint8_t value)
{
    ((struct board *)opaque)->smram = value;
}

static struct board *board_create(void)
{
    struct board *b = calloc(1, sizeof(*b));
    struct pci_wiring wiring = {
        .reset = board_reset, .shadow = board_shadow, .smram = board_smram, .opaque = b};

    rig_create(&b->rig);
    for (unsigned i = 0; i < 16; i++)
        wiring.irq[i] = rig_line(&b->irq, i);
    for (unsigned i = 0; i < 4; i++)
        wiring.pirq[i] = rig_line(&b->pirq, i);
    b->host = pci_create(b->rig.bus, &b->rig.log, &wiring, NULL);
    ck_assert(b->host != NULL);
    card_init(&b->card, "card");
    card_init(&b->other, "other card");
    ck_assert(pci_add_function(b->host, &b->card.f, TEST_DEVFN, NULL));
    return b;
}

static void board_destroy(struct board *b)
{
    pci_destroy(b->host);
    rig_destroy(&b->rig);
    free(b);
}

static uint32_t config_address(unsigned devfn, unsigned reg)
{
    return 0x80000000u | devfn << 8 | (reg & 0xfc);
}

static uint32_t config_in(struct board *b, unsigned devfn, unsigned reg, unsigned size)
{
    bus_port_write(b->rig.bus, CONFADD, config_address(devfn, reg), 4);
    return bus_port_read(b->rig.bus, (uint16_t)(CONFDATA + (reg & 3)), size);
}

static void config_out(struct board *b, unsigned devfn, unsigned reg, uint32_t value, unsigned size)
{
    bus_port_write(b->rig.bus, CONFADD, config_address(devfn, reg), 4);
    bus_port_write(b->rig.bus, (uint16_t)(CONFDATA + (reg & 3)), value, size);
}

static void enable_card(struct board *b)
{
    config_out(b, TEST_DEVFN, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY, 2);
}

START_TEST(the_host_bridge_and_the_isa_bridge_answer)
{
    struct board *b = board_create();

    ck_assert_uint_eq(config_in(b, 0, 0, 4), 0x12378086);
    ck_assert_uint_eq(config_in(b, 0, 0x2c, 4), 0x11001af4);
    ck_assert_uint_eq(config_in(b, PCI_DEVFN(1, 0), 0, 4), 0x70008086);
    ck_assert_uint_eq(config_in(b, PCI_DEVFN(1, 0), 0x0a, 2), 0x0601);
    board_destroy(b);
}
END_TEST

START_TEST(an_absent_function_reads_as_all_ones)
{
    struct board *b = board_create();

    ck_assert_uint_eq(config_in(b, PCI_DEVFN(2, 0), 0, 4), 0xffffffff);
    bus_port_write(b->rig.bus, CONFADD, 0x80010000, 4); /* bus 1 */
    ck_assert_uint_eq(bus_port_read(b->rig.bus, CONFDATA, 2), 0xffff);
    bus_port_write(b->rig.bus, CONFADD, 0, 4); /* not enabled */
    ck_assert_uint_eq(bus_port_read(b->rig.bus, CONFDATA, 1), 0xff);
    board_destroy(b);
}
END_TEST

START_TEST(the_address_register_takes_dwords_only)
{
    struct board *b = board_create();

    bus_port_write(b->rig.bus, CONFADD, 0x80001802, 4);
    ck_assert_uint_eq(bus_port_read(b->rig.bus, CONFADD, 4), 0x80001800);
    bus_port_write(b->rig.bus, 0xcfb, 0x01, 1);
    bus_port_write(b->rig.bus, CONFADD, 0x1111, 2);
    ck_assert_uint_eq(bus_port_read(b->rig.bus, CONFADD, 4), 0x80001800);
    board_destroy(b);
}
END_TEST

START_TEST(data_accesses_select_bytes_of_the_dword)
{
    struct board *b = board_create();

    ck_assert_uint_eq(config_in(b, TEST_DEVFN, 0, 1), 0x34);
    ck_assert_uint_eq(config_in(b, TEST_DEVFN, 1, 1), 0x12);
    ck_assert_uint_eq(config_in(b, TEST_DEVFN, 2, 2), 0x5678);
    ck_assert_uint_eq(config_in(b, TEST_DEVFN, 8, 4), 0x02030409);
    config_out(b, TEST_DEVFN, PCI_INTERRUPT_LINE, 11, 1);
    ck_assert_uint_eq(config_in(b, TEST_DEVFN, PCI_INTERRUPT_LINE, 4), 0x0000010b);
    board_destroy(b);
}
END_TEST

START_TEST(read_only_registers_keep_their_values)
{
    struct board *b = board_create();

    config_out(b, TEST_DEVFN, 0, 0xffffffff, 4);
    config_out(b, TEST_DEVFN, 8, 0xffffffff, 4);
    ck_assert_uint_eq(config_in(b, TEST_DEVFN, 0, 4), 0x56781234);
    ck_assert_uint_eq(config_in(b, TEST_DEVFN, 8, 4), 0x02030409);
    board_destroy(b);
}
END_TEST

START_TEST(status_errors_are_cleared_by_writing_ones)
{
    struct board *b = board_create();

    pci_put_u16(&b->card.f, PCI_STATUS, 0xf900);
    config_out(b, TEST_DEVFN, PCI_STATUS, 0x3000, 2);
    ck_assert_uint_eq(config_in(b, TEST_DEVFN, PCI_STATUS, 2), 0xc900);
    board_destroy(b);
}
END_TEST

START_TEST(writing_ones_to_a_bar_shows_its_size)
{
    struct board *b = board_create();

    for (unsigned reg = 0x10; reg <= 0x30; reg += 4)
        config_out(b, TEST_DEVFN, reg, 0xffffffff, 4);
    ck_assert_uint_eq(config_in(b, TEST_DEVFN, 0x10, 4), 0xffffffe1);
    ck_assert_uint_eq(config_in(b, TEST_DEVFN, 0x14, 4), 0xfffff000);
    ck_assert_uint_eq(config_in(b, TEST_DEVFN, 0x18, 4), 0xffffc00c);
    ck_assert_uint_eq(config_in(b, TEST_DEVFN, 0x1c, 4), 0xffffffff);
    ck_assert_uint_eq(config_in(b, TEST_DEVFN, 0x20, 4), 0xff000008);
    ck_assert_uint_eq(config_in(b, TEST_DEVFN, 0x24, 4), 0);
    ck_assert_uint_eq(config_in(b, TEST_DEVFN, 0x30, 4), 0xfffff801);
    board_destroy(b);
}
END_TEST

START_TEST(a_bar_answers_while_its_space_is_enabled)
{
    struct board *b = board_create();

    b->card.value = 0x42;
    config_out(b, TEST_DEVFN, 0x10, 0xc001, 4);
    ck_assert_uint_eq(rig_in(&b->rig, 0xc000), 0xff);
    config_out(b, TEST_DEVFN, PCI_COMMAND, PCI_COMMAND_IO, 2);
    ck_assert_uint_eq(rig_in(&b->rig, 0xc01f), 0x42);
    ck_assert_uint_eq(b->card.last_offset, 0x1f);
    config_out(b, TEST_DEVFN, PCI_COMMAND, 0, 2);
    ck_assert_uint_eq(rig_in(&b->rig, 0xc000), 0xff);
    board_destroy(b);
}
END_TEST

START_TEST(a_bar_moves_with_its_register)
{
    struct board *b = board_create();

    b->card.value = 0x42;
    enable_card(b);
    config_out(b, TEST_DEVFN, 0x14, 0xfe000000, 4);
    ck_assert_uint_eq(bus_mmio_read(b->rig.bus, gpa(0xfe000010), 1), 0x42);
    config_out(b, TEST_DEVFN, 0x14, 0xfd000000, 4);
    ck_assert_uint_eq(bus_mmio_read(b->rig.bus, gpa(0xfe000010), 1), 0xff);
    ck_assert_uint_eq(bus_mmio_read(b->rig.bus, gpa(0xfd000010), 1), 0x42);
    board_destroy(b);
}
END_TEST

START_TEST(a_64_bit_bar_lies_above_4_gib)
{
    struct board *b = board_create();

    b->card.value = 0x42;
    config_out(b, TEST_DEVFN, 0x18, 0x00004000, 4);
    config_out(b, TEST_DEVFN, 0x1c, 0x12, 4);
    enable_card(b);
    ck_assert_uint_eq(bus_mmio_read(b->rig.bus, gpa(0x1200004020), 1), 0x42);
    ck_assert_uint_eq(b->card.last_offset, 0x20);
    board_destroy(b);
}
END_TEST

START_TEST(the_expansion_rom_has_its_own_enable_bit)
{
    struct board *b = board_create();

    b->card.value = 0x42;
    enable_card(b);
    config_out(b, TEST_DEVFN, PCI_ROM_ADDRESS, 0xfc000000, 4);
    ck_assert_uint_eq(bus_mmio_read(b->rig.bus, gpa(0xfc000000), 1), 0xff);
    config_out(b, TEST_DEVFN, PCI_ROM_ADDRESS, 0xfc000001, 4);
    ck_assert_uint_eq(bus_mmio_read(b->rig.bus, gpa(0xfc000000), 1), 0x42);
    board_destroy(b);
}
END_TEST

START_TEST(a_bar_without_ops_is_mapped_by_its_owner)
{
    struct board *b = board_create();

    enable_card(b);
    config_out(b, TEST_DEVFN, 0x20, 0xe0000000, 4);
    ck_assert_uint_eq(b->card.moves, 1);
    ck_assert_uint_eq(b->card.moved_to, 0xe0000000);
    ck_assert(b->card.moved_mapped);
    config_out(b, TEST_DEVFN, PCI_COMMAND, 0, 2);
    ck_assert_uint_eq(b->card.moves, 2);
    ck_assert(!b->card.moved_mapped);
    board_destroy(b);
}
END_TEST

START_TEST(a_bar_whose_place_was_taken_appears_once_it_is_free)
{
    struct board *b = board_create();

    ck_assert(pci_add_function(b->host, &b->other.f, PCI_DEVFN(4, 0), NULL));
    b->card.value = 0x42;
    b->other.value = 0x43;
    enable_card(b);
    config_out(b, TEST_DEVFN, 0x14, 0xfe000000, 4);
    config_out(b, PCI_DEVFN(4, 0), 0x14, 0xfe000000, 4);
    config_out(b, PCI_DEVFN(4, 0), PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    ck_assert_uint_eq(bus_mmio_read(b->rig.bus, gpa(0xfe000000), 1), 0x42);
    config_out(b, TEST_DEVFN, 0x14, 0xfd000000, 4);
    ck_assert_uint_eq(bus_mmio_read(b->rig.bus, gpa(0xfe000000), 1), 0x43);
    board_destroy(b);
}
END_TEST

START_TEST(sizing_with_decoding_enabled_does_no_harm)
{
    struct board *b = board_create();

    enable_card(b);
    for (unsigned reg = 0x10; reg <= 0x30; reg += 4) {
        config_out(b, TEST_DEVFN, reg, 0xffffffff, 4);
        config_out(b, TEST_DEVFN, reg, 0, 4);
    }
    for (unsigned i = 0; i < PCI_BAR_COUNT; i++)
        ck_assert(!b->card.f.bars[i].mapped);
    board_destroy(b);
}
END_TEST

START_TEST(two_functions_cannot_share_a_place)
{
    struct board *b = board_create();
    struct error err = {0};

    ck_assert(!pci_add_function(b->host, &b->other.f, TEST_DEVFN, &err));
    ck_assert(strstr(err.text, "other card") != NULL);
    board_destroy(b);
}
END_TEST

START_TEST(a_second_function_makes_the_device_multi_function)
{
    struct board *b = board_create();

    ck_assert_uint_eq(config_in(b, TEST_DEVFN, PCI_HEADER_TYPE, 1), 0);
    ck_assert(pci_add_function(b->host, &b->other.f, PCI_DEVFN(3, 1), NULL));
    ck_assert_uint_eq(config_in(b, TEST_DEVFN, PCI_HEADER_TYPE, 1), 0x80);
    board_destroy(b);
}
END_TEST

START_TEST(capabilities_form_a_list)
{
    struct board *b = board_create();
    unsigned first = pci_add_capability(&b->card.f, 0x09, 18);
    unsigned second = pci_add_capability(&b->card.f, 0x11, 12);

    ck_assert_uint_eq(first, 0x40);
    ck_assert_uint_eq(second, 0x54);
    ck_assert_uint_eq(config_in(b, TEST_DEVFN, PCI_CAPABILITY_LIST, 1), second);
    ck_assert_uint_eq(config_in(b, TEST_DEVFN, second, 2), first << 8 | 0x11);
    ck_assert_uint_eq(config_in(b, TEST_DEVFN, first, 2), 0x09);
    ck_assert_uint_eq(config_in(b, TEST_DEVFN, PCI_STATUS, 2), PCI_STATUS_CAP_LIST);
    ck_assert_uint_eq(pci_add_capability(&b->card.f, 0x09, 200), 0);
    board_destroy(b);
}
END_TEST

START_TEST(intx_is_swizzled_by_device_and_routed_by_pirqrc)
{
    struct board *b = board_create();

    /* device 3, INTA#: PIRQC# */
    pci_set_intx(&b->card.f, true);
    ck_assert(b->pirq.level[2]);
    for (unsigned i = 0; i < 16; i++)
        ck_assert(!b->irq.level[i]);
    config_out(b, PCI_DEVFN(1, 0), 0x62, 11, 1);
    ck_assert(b->irq.level[11]);
    config_out(b, PCI_DEVFN(1, 0), 0x62, 0x8b, 1);
    ck_assert(!b->irq.level[11]);
    board_destroy(b);
}
END_TEST

START_TEST(reserved_irqs_are_never_driven)
{
    struct board *b = board_create();

    pci_set_intx(&b->card.f, true);
    for (unsigned irq = 0; irq < 16; irq++) {
        bool reserved = irq <= 2 || irq == 8 || irq == 13;
        config_out(b, PCI_DEVFN(1, 0), 0x62, irq, 1);
        ck_assert_int_eq(b->irq.level[irq], !reserved);
    }
    board_destroy(b);
}
END_TEST

START_TEST(functions_share_an_irq)
{
    struct board *b = board_create();

    ck_assert(pci_add_function(b->host, &b->other.f, PCI_DEVFN(7, 0), NULL)); /* PIRQC# too */
    config_out(b, PCI_DEVFN(1, 0), 0x62, 10, 1);
    pci_set_intx(&b->card.f, true);
    pci_set_intx(&b->other.f, true);
    pci_set_intx(&b->card.f, false);
    ck_assert(b->irq.level[10]);
    pci_set_intx(&b->other.f, false);
    ck_assert(!b->irq.level[10]);
    board_destroy(b);
}
END_TEST

START_TEST(interrupt_disable_releases_the_line_but_status_shows_it)
{
    struct board *b = board_create();

    pci_set_intx(&b->card.f, true);
    config_out(b, TEST_DEVFN, PCI_COMMAND, PCI_COMMAND_INTX_DISABLE, 2);
    ck_assert(!b->pirq.level[2]);
    ck_assert_uint_eq(config_in(b, TEST_DEVFN, PCI_STATUS, 2), PCI_STATUS_INTERRUPT);
    board_destroy(b);
}
END_TEST

START_TEST(reset_control_resets_on_the_step_of_bit_2)
{
    struct board *b = board_create();

    rig_out(&b->rig, 0xcf9, 0x02);
    ck_assert_uint_eq(b->resets, 0);
    rig_out(&b->rig, 0xcf9, 0x06);
    ck_assert_uint_eq(b->resets, 1);
    ck_assert(b->hard);
    rig_out(&b->rig, 0xcf9, 0x06);
    ck_assert_uint_eq(b->resets, 1);
    rig_out(&b->rig, 0xcf9, 0x00);
    rig_out(&b->rig, 0xcf9, 0x04);
    ck_assert_uint_eq(b->resets, 2);
    ck_assert(!b->hard);
    board_destroy(b);
}
END_TEST

START_TEST(pam_registers_tell_the_machine_what_changed)
{
    struct board *b = board_create();

    config_out(b, 0, 0x59, 0x30, 1);
    ck_assert_uint_eq(b->shadow_count, 1);
    ck_assert_uint_eq(b->shadow_base, 0xf0000);
    ck_assert_uint_eq(b->shadow_size, 0x10000);
    ck_assert(b->shadow_read && b->shadow_write);
    config_out(b, 0, 0x5f, 0x10, 1);
    ck_assert_uint_eq(b->shadow_count, 2);
    ck_assert_uint_eq(b->shadow_base, 0xec000);
    ck_assert_uint_eq(b->shadow_size, 0x4000);
    ck_assert(b->shadow_read && !b->shadow_write);
    board_destroy(b);
}
END_TEST

static void serialize_board(void *device, struct state *s)
{
    struct board *b = device;

    pci_serialize(b->host, s);
    pci_function_serialize(&b->card.f, s);
}

#define SMRAM 0x72

START_TEST(smram_is_locked_until_a_reset)
{
    struct board *b = board_create();

    config_out(b, 0, SMRAM, PCI_SMRAM_ENABLE | PCI_SMRAM_OPEN, 1);
    ck_assert_uint_eq(b->smram, PCI_SMRAM_ENABLE | PCI_SMRAM_OPEN | 2);
    config_out(b, 0, SMRAM, PCI_SMRAM_ENABLE | PCI_SMRAM_OPEN | PCI_SMRAM_LOCK, 1);
    ck_assert_uint_eq(b->smram, PCI_SMRAM_ENABLE | PCI_SMRAM_LOCK | 2);
    config_out(b, 0, SMRAM & 0xfc, 0x007f0000, 4);
    ck_assert_uint_eq(config_in(b, 0, SMRAM, 1),
                      PCI_SMRAM_ENABLE | PCI_SMRAM_LOCK | PCI_SMRAM_CLOSE | 2);
    pci_reset(b->host);
    ck_assert_uint_eq(b->smram, 2);
    config_out(b, 0, SMRAM, PCI_SMRAM_ENABLE, 1);
    ck_assert_uint_eq(b->smram, PCI_SMRAM_ENABLE | 2);
    board_destroy(b);
}
END_TEST

START_TEST(the_lock_of_smram_is_restored)
{
    struct board *from = board_create(), *to = board_create();

    config_out(from, 0, SMRAM, PCI_SMRAM_ENABLE, 1);
    config_out(to, 0, SMRAM, PCI_SMRAM_LOCK, 1);
    ck_assert(rig_load(serialize_board, to, rig_save(serialize_board, from), 0));
    ck_assert_uint_eq(to->smram, PCI_SMRAM_ENABLE | 2);
    config_out(to, 0, SMRAM, PCI_SMRAM_OPEN, 1);
    ck_assert_uint_eq(to->smram, PCI_SMRAM_OPEN | 2);
    config_out(from, 0, SMRAM, PCI_SMRAM_LOCK, 1);
    ck_assert(rig_load(serialize_board, to, rig_save(serialize_board, from), 0));
    config_out(to, 0, SMRAM, PCI_SMRAM_OPEN, 1);
    ck_assert_uint_eq(to->smram, PCI_SMRAM_LOCK | 2);
    board_destroy(from);
    board_destroy(to);
}
END_TEST

START_TEST(reset_unmaps_and_releases)
{
    struct board *b = board_create();

    enable_card(b);
    config_out(b, TEST_DEVFN, 0x14, 0xfe000000, 4);
    config_out(b, 0, 0x59, 0x30, 1);
    pci_set_intx(&b->card.f, true);
    pci_reset(b->host);
    ck_assert_uint_eq(bus_mmio_read(b->rig.bus, gpa(0xfe000000), 1), 0xff);
    ck_assert(!b->pirq.level[2]);
    ck_assert_uint_eq(config_in(b, TEST_DEVFN, 0x14, 4), 0);
    ck_assert(!b->shadow_read);
    board_destroy(b);
}
END_TEST

START_TEST(a_restored_host_maps_and_routes_as_the_saved_one)
{
    struct board *from = board_create(), *to = board_create();

    enable_card(from);
    config_out(from, TEST_DEVFN, 0x14, 0xfe000000, 4);
    config_out(from, PCI_DEVFN(1, 0), 0x62, 11, 1);
    config_out(from, 0, 0x59, 0x30, 1);
    pci_set_intx(&from->card.f, true);
    ck_assert(rig_load(serialize_board, to, rig_save(serialize_board, from), 0));
    to->card.value = 0x42;
    ck_assert_uint_eq(bus_mmio_read(to->rig.bus, gpa(0xfe000000), 1), 0x42);
    ck_assert_uint_eq(bus_port_read(to->rig.bus, CONFADD, 4), config_address(0, 0x58));
    ck_assert_uint_eq(to->shadow_base, 0xf0000);
    ck_assert(to->host->irq_level[11]);
    pci_set_intx(&to->card.f, false);
    ck_assert(!to->host->irq_level[11]);
    board_destroy(from);
    board_destroy(to);
}
END_TEST

START_TEST(a_truncated_state_is_refused)
{
    struct board *from = board_create(), *to = board_create();

    ck_assert(!rig_load(serialize_board, to, rig_save(serialize_board, from), 100));
    board_destroy(from);
    board_destroy(to);
}
END_TEST

START_TEST(a_state_cannot_change_read_only_registers)
{
    struct board *from = board_create(), *to = board_create();

    pci_put_u32(&from->card.f, PCI_REVISION_ID, 0xffffffff);
    from->card.f.config[PCI_INTERRUPT_PIN] = 200;
    ck_assert(rig_load(serialize_board, to, rig_save(serialize_board, from), 0));
    ck_assert_uint_eq(config_in(to, TEST_DEVFN, 8, 4), 0x02030409);
    ck_assert_uint_eq(config_in(to, TEST_DEVFN, PCI_INTERRUPT_PIN, 1), 1);
    board_destroy(from);
    board_destroy(to);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("pci");

    tcase_add_test(tc, the_host_bridge_and_the_isa_bridge_answer);
    tcase_add_test(tc, an_absent_function_reads_as_all_ones);
    tcase_add_test(tc, the_address_register_takes_dwords_only);
    tcase_add_test(tc, data_accesses_select_bytes_of_the_dword);
    tcase_add_test(tc, read_only_registers_keep_their_values);
    tcase_add_test(tc, status_errors_are_cleared_by_writing_ones);
    tcase_add_test(tc, writing_ones_to_a_bar_shows_its_size);
    tcase_add_test(tc, a_bar_answers_while_its_space_is_enabled);
    tcase_add_test(tc, a_bar_moves_with_its_register);
    tcase_add_test(tc, a_64_bit_bar_lies_above_4_gib);
    tcase_add_test(tc, the_expansion_rom_has_its_own_enable_bit);
    tcase_add_test(tc, a_bar_without_ops_is_mapped_by_its_owner);
    tcase_add_test(tc, a_bar_whose_place_was_taken_appears_once_it_is_free);
    tcase_add_test(tc, sizing_with_decoding_enabled_does_no_harm);
    tcase_add_test(tc, two_functions_cannot_share_a_place);
    tcase_add_test(tc, a_second_function_makes_the_device_multi_function);
    tcase_add_test(tc, capabilities_form_a_list);
    tcase_add_test(tc, intx_is_swizzled_by_device_and_routed_by_pirqrc);
    tcase_add_test(tc, reserved_irqs_are_never_driven);
    tcase_add_test(tc, functions_share_an_irq);
    tcase_add_test(tc, interrupt_disable_releases_the_line_but_status_shows_it);
    tcase_add_test(tc, reset_control_resets_on_the_step_of_bit_2);
    tcase_add_test(tc, pam_registers_tell_the_machine_what_changed);
    tcase_add_test(tc, smram_is_locked_until_a_reset);
    tcase_add_test(tc, the_lock_of_smram_is_restored);
    tcase_add_test(tc, reset_unmaps_and_releases);
    tcase_add_test(tc, a_restored_host_maps_and_routes_as_the_saved_one);
    tcase_add_test(tc, a_truncated_state_is_refused);
    tcase_add_test(tc, a_state_cannot_change_read_only_registers);
    return run_suite("pci", tc);
}
