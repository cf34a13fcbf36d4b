/*
 * Which interrupts and ports the devices of the PC have that may be anywhere: what wiring.c
 * connects and the ACPI tables tell. What is fixed for a device says its own header.
 */
#ifndef MACHINE_BOARD_H
#define MACHINE_BOARD_H

#include <stdint.h>

/* Pins of the I/O APIC (ISA interrupt n has pin n otherwise). */
#define PIT_IOAPIC_PIN 2
#define PIRQ_FIRST_PIN 16 /* PIRQA# to PIRQD# */

/* ISA interrupts; the SCI is PM_SCI_IRQ. */
#define PIT_IRQ      0
#define KEYBOARD_IRQ 1
#define RTC_IRQ      8
#define MOUSE_IRQ    12

#define HPET_TIMER_COUNT 3

struct board_serial {
    const char *name;
    uint16_t port;
    uint8_t irq;
};

/* COM1 to COM4. */
#define BOARD_SERIAL_PORTS                                                                         \
    {                                                                                              \
        {"com1", 0x3f8, 4}, {"com2", 0x2f8, 3}, {"com3", 0x3e8, 4}, {"com4", 0x2e8, 3},            \
    }

#endif
