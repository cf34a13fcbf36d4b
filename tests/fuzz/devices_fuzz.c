/*
 * The devices of a PC wired together, driven by a guest that does anything: the input is a sequence
 * of operations (op byte, then what it needs) on ports, registers, time, user input and saved
 * state. Nothing may crash, hang or touch foreign memory; a saved board loaded into a new one must
 * save to the same bytes again; a mangled state is refused or makes a board that goes on.
 */
#include "base/bits.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/state.h"
#include "devices/debugport.h"
#include "devices/hpet.h"
#include "devices/i8042.h"
#include "devices/ioapic.h"
#include "devices/lapic.h"
#include "devices/pci.h"
#include "devices/pic.h"
#include "devices/pit.h"
#include "devices/pm.h"
#include "devices/port92.h"
#include "devices/pvpanic.h"
#include "devices/rtc.h"
#include "devices/uart.h"
#include "mmu/bus.h"
#include "mmu/memory.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            __builtin_trap();                                                                      \
    } while (0)

#define FIRINGS_MAX     200  /* timers per advance: a period of 10 ns is legal */
#define OPERATIONS_MAX  2000 /* per input */
#define ROUND_TRIPS_MAX 20

struct input {
    const uint8_t *bytes;
    size_t left;
};

static uint8_t next_u8(struct input *in)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->bytes++;
}

static uint32_t next_u32(struct input *in)
{
    uint32_t v = 0;

    for (unsigned i = 0; i < 4; i++)
        v = v << 8 | next_u8(in);
    return v;
}

struct board {
    struct log log;
    struct clock clock;
    struct machine_memory *memory;
    struct bus *bus;
    struct pic *pic;
    struct ioapic *ioapic;
    struct lapic *lapic;
    struct pit *pit;
    struct rtc *rtc;
    struct hpet *hpet;
    struct pci_host *pci;
    struct pm *pm;
    struct i8042 *i8042;
    struct port92 *port92;
    struct pvpanic *pvpanic;
    struct debugport *debugport;
    struct exitport *exitport;
    struct uart *uart[2];
    struct chardev chardev[2];
    struct pci_function card; /* a BAR of every sort */
    uint64_t scratch;         /* behind them */
    bool reset;               /* some device asked for one */
};

/* --- Wires --- */

static void set_irq(void *listener, unsigned pin, bool level)
{
    struct board *b = listener;

    pic_set_irq(b->pic, pin, level);
    ioapic_set_irq(b->ioapic, pin == 0 ? 2 : pin, level);
}

static struct irq_line irq(struct board *b, unsigned pin)
{
    return (struct irq_line){set_irq, b, pin};
}

static void set_lint0(void *listener, unsigned pin, bool level)
{
    lapic_set_lint(((struct board *)listener)->lapic, pin, level);
}

static void ignore_line(void *listener, unsigned pin, bool level)
{
    (void)listener;
    (void)pin;
    (void)level;
}

static void deliver(void *opaque, const struct apic_message *message)
{
    struct board *b = opaque;

    if (lapic_accepts(b->lapic, message))
        lapic_deliver(b->lapic, message);
}

static void end_of_interrupt(void *opaque, uint8_t vector)
{
    ioapic_eoi(((struct board *)opaque)->ioapic, vector);
}

static void ignore_signal(void *opaque)
{
    (void)opaque;
}

static void ignore_startup(void *opaque, uint8_t vector)
{
    (void)opaque;
    (void)vector;
}

static void legacy_replacement(void *opaque, bool on)
{
    struct board *b = opaque;

    pit_connect_irq0(b->pit, !on);
    rtc_connect_irq8(b->rtc, !on);
}

static void ask_reset(void *opaque)
{
    ((struct board *)opaque)->reset = true;
}

static void ask_pci_reset(void *opaque, bool hard)
{
    (void)hard;
    ask_reset(opaque);
}

static void ignore_shadow(void *opaque, uint32_t base, uint32_t size, bool read_ram, bool write_ram)
{
    (void)opaque;
    (void)read_ram;
    (void)write_ram;
    MUST(base >= 0xc0000 && base + size <= 0x100000);
}

static void ignore_events(void *opaque, uint8_t events)
{
    (void)opaque;
    MUST(events != 0);
}

static void ignore_exit(void *opaque, uint32_t status)
{
    (void)opaque;
    (void)status;
}

static void drop_bytes(struct chardev *c, const uint8_t *bytes, size_t count)
{
    (void)c;
    MUST(bytes != NULL && count > 0);
}

static uint64_t card_read(void *device, uint64_t offset, unsigned size)
{
    (void)offset;
    (void)size;
    return *(uint64_t *)device;
}

static void card_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    (void)size;
    *(uint64_t *)device = value ^ offset;
}

static const struct bus_region_ops card_ops = {"card", card_read, card_write, 4};

/* --- The board --- */

static void add_card(struct board *b)
{
    struct pci_function *f = &b->card;

    pci_function_init(f, "card", 0x1234, 0x5678, 0, 0xff0000, 2);
    pci_set_bar(f, 0, PCI_BAR_IO, 64, &card_ops, &b->scratch);
    pci_set_bar(f, 1, PCI_BAR_MEM32, 4096, &card_ops, &b->scratch);
    pci_set_bar(f, 2, PCI_BAR_MEM64, 1 << 20, &card_ops, &b->scratch);
    pci_set_bar(f, 4, PCI_BAR_MEM32_PREFETCH, 1 << 16, NULL, NULL);
    pci_set_bar(f, PCI_BAR_ROM, PCI_BAR_MEM32, 2048, &card_ops, &b->scratch);
    pci_add_capability(f, 0x09, 20);
    MUST(pci_add_function(b->pci, f, PCI_DEVFN(3, 0), NULL));
}

static void add_interrupt_chips(struct board *b)
{
    const struct lapic_config config = {.boot_processor = true,
                                        .physical_address_bits = 40,
                                        .tsc_hz = NS_PER_SECOND,
                                        .bus_hz = LAPIC_BUS_HZ,
                                        .x2apic = true,
                                        .tsc_deadline = true,
                                        .eoi_suppression = true};
    const struct lapic_callbacks callbacks = {.opaque = b,
                                              .send = deliver,
                                              .eoi = end_of_interrupt,
                                              .nmi = ignore_signal,
                                              .smi = ignore_signal,
                                              .init = ignore_signal,
                                              .startup = ignore_startup};
    struct irq_line intr = {ignore_line, b, 0};

    b->lapic = lapic_create(&b->log, &b->clock, &config, &callbacks, intr);
    b->ioapic = ioapic_create(b->bus, &b->log, deliver, b, NULL);
    b->pic = pic_create(b->bus, &b->log, (struct irq_line){set_lint0, b, 0}, NULL);
    MUST(bus_add_mmio(b->bus, gpa(LAPIC_DEFAULT_BASE), LAPIC_PAGE_SIZE, &lapic_mmio_ops, b->lapic,
                      NULL));
}

static void add_timers(struct board *b)
{
    struct hpet_config hpet = {
        .timer_count = 3,
        .route_capability = 0xf00000,
        .irq0 = irq(b, 0),
        .irq8 = irq(b, 8),
        .legacy = legacy_replacement,
        .legacy_opaque = b,
    };

    for (unsigned i = 0; i < HPET_PIN_COUNT; i++)
        hpet.pins[i] = (struct irq_line){ioapic_set_irq, b->ioapic, i};
    b->pit = pit_create(b->bus, &b->log, &b->clock, irq(b, 0), NULL);
    b->rtc = rtc_create(b->bus, &b->log, &b->clock, 1700000000, irq(b, 8), NULL);
    b->hpet = hpet_create(b->bus, &b->log, &b->clock, &hpet, NULL);
}

static void add_chipset(struct board *b)
{
    struct pci_wiring pci = {.reset = ask_pci_reset, .shadow = ignore_shadow, .opaque = b};
    struct pm_wiring pm = {.sci = irq(b, PM_SCI_IRQ), .power_off = ask_reset, .opaque = b};
    struct i8042_wiring i8042 = {.irq1 = irq(b, 1), .irq12 = irq(b, 12), .opaque = b};

    for (unsigned i = 0; i < 16; i++)
        pci.irq[i] = irq(b, i);
    for (unsigned i = 0; i < 4; i++)
        pci.pirq[i] = (struct irq_line){ioapic_set_irq, b->ioapic, 16 + i};
    i8042.a20 = (struct irq_line){ignore_line, b, 0};
    i8042.reset = ask_reset;
    b->pci = pci_create(b->bus, &b->log, &pci, NULL);
    b->pm =
        pm_create(b->bus, &b->log, &b->clock, b->pci, PCI_DEVFN(1, 3), PM_DEFAULT_BASE, &pm, NULL);
    b->i8042 = i8042_create(b->bus, &b->log, &b->clock, &i8042, NULL);
    b->port92 = port92_create(b->bus, &b->log, i8042.a20, ask_reset, b, NULL);
}

static struct board *board_create(FILE *log)
{
    struct board *b = calloc(1, sizeof(*b));

    MUST(b != NULL);
    log_init(&b->log);
    if (log != NULL) {
        b->log.stream = log;
        b->log.mask = UINT32_MAX;
    }
    clock_init(&b->clock, CLOCK_DETERMINISTIC, 0);
    b->memory = machine_memory_create(1 << 20, NULL);
    b->bus = bus_create(b->memory, &b->log);
    add_interrupt_chips(b);
    add_timers(b);
    add_chipset(b);
    add_card(b);
    b->pvpanic = pvpanic_create(b->bus, &b->log, ignore_events, b, NULL);
    b->debugport = debugport_create(b->bus, DEBUGPORT_BOCHS, &b->chardev[0], NULL);
    b->exitport = exitport_create(b->bus, &b->log, ignore_exit, b, NULL);
    for (unsigned i = 0; i < 2; i++) {
        b->chardev[i].send = drop_bytes;
        b->uart[i] = uart_create(b->bus, &b->log, &b->clock, i == 0 ? 0x3f8 : 0x2f8,
                                 i == 0 ? "com1" : "com2", irq(b, 4 - i), &b->chardev[i], NULL);
    }
    MUST(b->pvpanic != NULL && b->exitport != NULL && b->uart[1] != NULL);
    return b;
}

static void board_destroy(struct board *b)
{
    for (unsigned i = 0; i < 2; i++)
        uart_destroy(b->uart[i]);
    exitport_destroy(b->exitport);
    debugport_destroy(b->debugport);
    pvpanic_destroy(b->pvpanic);
    port92_destroy(b->port92);
    i8042_destroy(b->i8042);
    pm_destroy(b->pm);
    pci_destroy(b->pci);
    hpet_destroy(b->hpet);
    rtc_destroy(b->rtc);
    pit_destroy(b->pit);
    pic_destroy(b->pic);
    ioapic_destroy(b->ioapic);
    bus_remove_mmio(b->bus, gpa(LAPIC_DEFAULT_BASE));
    lapic_destroy(b->lapic);
    MUST(b->clock.timers == NULL);
    bus_destroy(b->bus);
    machine_memory_destroy(b->memory);
    free(b);
}

static void board_reset(struct board *b)
{
    b->reset = false;
    lapic_reset(b->lapic);
    ioapic_reset(b->ioapic);
    pic_reset(b->pic);
    pit_reset(b->pit);
    rtc_reset(b->rtc);
    hpet_reset(b->hpet);
    pci_reset(b->pci);
    pm_reset(b->pm);
    i8042_reset(b->i8042);
    port92_reset(b->port92);
    for (unsigned i = 0; i < 2; i++)
        uart_reset(b->uart[i]);
}

static void board_serialize(struct board *b, struct state *s)
{
    clock_serialize(&b->clock, s);
    lapic_serialize(b->lapic, s);
    ioapic_serialize(b->ioapic, s);
    pic_serialize(b->pic, s);
    pit_serialize(b->pit, s);
    rtc_serialize(b->rtc, s);
    hpet_serialize(b->hpet, s);
    pci_serialize(b->pci, s);
    pci_function_serialize(&b->card, s);
    pm_serialize(b->pm, s);
    i8042_serialize(b->i8042, s);
    port92_serialize(b->port92, s);
    for (unsigned i = 0; i < 2; i++)
        uart_serialize(b->uart[i], s);
}

/* --- Operations --- */

struct session {
    struct board *b;
    struct input in;
    FILE *log;
    unsigned round_trips;
};

/* First port and count of what the board has; raw ports are reachable, too. */
static const uint16_t ports[][2] = {
    {0x20, 2},  {0x40, 4},   {0x60, 1},   {0x61, 1},  {0x64, 1},    {0x70, 4},  {0x92, 1},
    {0xa0, 2},  {0xb2, 2},   {0xe9, 1},   {0x2f8, 8}, {0x3f8, 8},   {0x4d0, 2}, {0x505, 1},
    {0x5f0, 4}, {0x600, 64}, {0xafe0, 4}, {0xcf8, 8}, {0xc000, 64}, {0x80, 1},
};

static const uint64_t pages[][2] = {
    {LAPIC_DEFAULT_BASE, 0x400}, {IOAPIC_BASE, 0x48}, {HPET_BASE, HPET_SIZE},
    {0xfe000000, 0x1000},        {0x100000000, 0x40},
};

static uint16_t choose_port(struct input *in)
{
    uint8_t choice = next_u8(in), offset = next_u8(in);

    if (choice >= 0xf0)
        return (uint16_t)(choice << 8 | offset);
    choice %= ARRAY_SIZE(ports);
    return (uint16_t)(ports[choice][0] + offset % ports[choice][1]);
}

static gpa_t choose_address(struct input *in, unsigned size)
{
    uint8_t choice = next_u8(in) % ARRAY_SIZE(pages);
    uint64_t offset = (uint64_t)next_u8(in) << 4 | (next_u8(in) & 0x0f);

    /* A vCPU's access does not cross a page. */
    return gpa(pages[choice][0] + offset % pages[choice][1] % (PAGE_SIZE - size));
}

static void op_port_read(struct session *s)
{
    unsigned size = 1u << next_u8(&s->in) % 3;

    bus_port_read(s->b->bus, choose_port(&s->in), size);
}

static void op_port_write(struct session *s)
{
    unsigned size = 1u << next_u8(&s->in) % 3;
    uint16_t port = choose_port(&s->in);

    bus_port_write(s->b->bus, port, size == 1 ? next_u8(&s->in) : next_u32(&s->in), size);
}

static void op_mmio_read(struct session *s)
{
    unsigned size = 1u << next_u8(&s->in) % 4;

    bus_mmio_read(s->b->bus, choose_address(&s->in, size), size);
}

static void op_mmio_write(struct session *s)
{
    unsigned size = 1u << next_u8(&s->in) % 4;
    gpa_t address = choose_address(&s->in, size);
    uint64_t value = next_u32(&s->in);

    if (size == 8)
        value |= (uint64_t)next_u32(&s->in) << 32;
    bus_mmio_write(s->b->bus, address, value & size_mask(size), size);
}

/* Time passes, up to 18 minutes; each timer fires at its own moment. */
static void op_advance(struct session *s)
{
    struct clock *c = &s->b->clock;
    uint8_t exponent = next_u8(&s->in) % 40;
    uint64_t end = clock_now(c) + (1ull << exponent) + next_u8(&s->in);

    for (unsigned i = 0; i < FIRINGS_MAX && c->next_deadline <= end; i++) {
        clock_skip_to(c, c->next_deadline);
        clock_run_due(c);
    }
    if (c->next_deadline > end)
        clock_skip_to(c, end);
}

static void op_msr(struct session *s)
{
    uint8_t choice = next_u8(&s->in);
    uint32_t msr = choice == 0   ? MSR_IA32_APIC_BASE
                   : choice == 1 ? MSR_IA32_TSC_DEADLINE
                                 : MSR_X2APIC_FIRST + choice % 0x40;
    uint64_t value = 0;

    if (next_u8(&s->in) & 1) {
        lapic_msr_read(s->b->lapic, msr, &value);
        return;
    }
    value = (uint64_t)next_u32(&s->in) << 32;
    value |= next_u32(&s->in);
    lapic_msr_write(s->b->lapic, msr, value);
}

static void op_config(struct session *s)
{
    static const uint8_t functions[] = {PCI_DEVFN(0, 0), PCI_DEVFN(1, 0), PCI_DEVFN(1, 3),
                                        PCI_DEVFN(3, 0)};
    uint8_t devfn = functions[next_u8(&s->in) % sizeof(functions)];
    uint8_t reg = next_u8(&s->in);

    bus_port_write(s->b->bus, 0xcf8, 0x80000000u | (uint32_t)devfn << 8 | (reg & 0xfc), 4);
    bus_port_write(s->b->bus, 0xcfc, next_u32(&s->in), 4);
    bus_port_read(s->b->bus, (uint16_t)(0xcfc + (reg & 3)), 1);
}

static void op_serial_input(struct session *s)
{
    uint8_t bytes[8];
    struct chardev *c = &s->b->chardev[next_u8(&s->in) & 1];
    size_t room = c->can_receive(c->device);

    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = next_u8(&s->in);
    if (room > 0)
        c->receive(c->device, bytes, MIN(room, sizeof(bytes)));
}

static void op_user(struct session *s)
{
    uint8_t choice = next_u8(&s->in);
    int32_t a = (int32_t)next_u32(&s->in);

    switch (choice % 6) {
    case 0:
        i8042_key(s->b->i8042, (choice & 0x80) != 0, (uint16_t)a);
        break;
    case 1:
        i8042_mouse(s->b->i8042, a, -(a >> 8), a >> 24, next_u8(&s->in));
        break;
    case 2:
        pm_power_button(s->b->pm);
        break;
    case 3:
        pm_raise_gpe(s->b->pm, a & 15);
        break;
    case 4:
        uart_receive_break(s->b->uart[a & 1]);
        break;
    default:
        pci_set_intx(&s->b->card, a & 1);
        break;
    }
}

static void op_acknowledge(struct session *s)
{
    int vector = lapic_acknowledge(s->b->lapic);

    if (vector == LAPIC_ACK_EXTINT)
        vector = pic_acknowledge(s->b->pic);
    MUST(vector < 256);
}

static void op_reset(struct session *s)
{
    (void)next_u8(&s->in);
    board_reset(s->b);
}

static struct state *save(struct board *b)
{
    struct state *s = state_create_saving();

    board_serialize(b, s);
    MUST(state_finish(s, NULL));
    return s;
}

/* A new board in the state that was saved; NULL if it is refused. */
static struct board *load(const struct session *s, const void *bytes, size_t length,
                          struct error *err)
{
    struct board *b = board_create(s->log);
    struct state *loading = state_create_loading(bytes, length);

    board_serialize(b, loading);
    if (!state_finish(loading, err)) {
        board_destroy(b);
        b = NULL;
    }
    state_destroy(loading);
    return b;
}

static void replace_board(struct session *s, struct board *b)
{
    board_destroy(s->b);
    s->b = b;
}

static void op_round_trip(struct session *s)
{
    struct state *saved, *again;
    size_t length, length_again, same = 0;
    const uint8_t *bytes, *bytes_again;
    struct error err = {0};
    struct board *b;

    if (s->round_trips++ >= ROUND_TRIPS_MAX)
        return;
    saved = save(s->b);
    bytes = state_data(saved, &length);
    b = load(s, bytes, length, &err);
    if (b == NULL) {
        fprintf(stderr, "own state refused: %s\n", err.text);
        MUST(false);
    }
    again = save(b);
    bytes_again = state_data(again, &length_again);
    while (same < length && same < length_again && bytes[same] == bytes_again[same])
        same++;
    if (same < length || same < length_again) {
        fprintf(stderr, "saved again, another state at byte %zu of %zu\n", same, length);
        MUST(false);
    }
    state_destroy(again);
    state_destroy(saved);
    replace_board(s, b);
}

/* Up to four bytes of the state are changed, or it is cut. If it is accepted, its board goes on;
 * one that refused is only destroyed. */
static void op_hostile_load(struct session *s)
{
    struct state *saved = save(s->b);
    unsigned changes = next_u8(&s->in) % 5;
    struct error err = {0};
    struct board *b;
    size_t length;
    const void *bytes = state_data(saved, &length);
    uint8_t *copy = malloc(length);

    MUST(copy != NULL);
    memcpy(copy, bytes, length);
    for (unsigned i = 0; i < changes; i++) {
        uint32_t where = next_u32(&s->in);
        copy[(where >> 8) % length] = (uint8_t)where;
    }
    if (changes == 0)
        length = next_u32(&s->in) % length;
    b = load(s, copy, length, &err);
    if (b != NULL)
        replace_board(s, b);
    else
        MUST(err.text[0] != '\0');
    state_destroy(saved);
    free(copy);
}

static void (*const operations[])(struct session *s) = {
    op_port_read,    op_port_write,  op_port_write, op_mmio_read,    op_mmio_write, op_mmio_write,
    op_advance,      op_advance,     op_msr,        op_config,       op_config,     op_user,
    op_serial_input, op_acknowledge, op_round_trip, op_hostile_load, op_reset,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct session s = {.in = {data, size}};

    if (next_u8(&s.in) & 1)
        s.log = fopen("/dev/null", "w");
    s.b = board_create(s.log);
    for (unsigned i = 0; i < OPERATIONS_MAX && s.in.left > 0; i++) {
        operations[next_u8(&s.in) % ARRAY_SIZE(operations)](&s);
        if (s.b->reset)
            board_reset(s.b);
    }
    board_destroy(s.b);
    if (s.log != NULL)
        fclose(s.log);
    return 0;
}
