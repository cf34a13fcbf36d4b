/*
 * An interrupt message as it travels between I/O APIC, local APICs and devices that signal by
 * memory write (MSI). SDM volume 3, chapter "Advanced Programmable Interrupt Controller": delivery
 * modes as in the ICR figure, MSI address and data as in "Message Address/Data Register Format".
 * The machine routes it: it asks every local APIC whether it accepts, picks one for lowest
 * priority, and hands the message over.
 */
#ifndef DEVICES_APIC_MESSAGE_H
#define DEVICES_APIC_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

/* Values as encoded in bits 10:8 of ICR, LVT entries and redirection entries; 3 is reserved. */
enum apic_delivery_mode {
    APIC_DELIVERY_FIXED = 0,
    APIC_DELIVERY_LOWEST = 1,
    APIC_DELIVERY_SMI = 2,
    APIC_DELIVERY_NMI = 4,
    APIC_DELIVERY_INIT = 5,
    APIC_DELIVERY_STARTUP = 6,
    APIC_DELIVERY_EXTINT = 7,
};

/* Physical destination of a broadcast. Senders with 8-bit destinations translate FFh to it. */
#define APIC_DESTINATION_ALL 0xffffffffu

struct apic_message {
    uint8_t vector;        /* fixed, lowest: interrupt vector; startup: page number of the code */
    uint8_t delivery_mode; /* enum apic_delivery_mode */
    bool logical;          /* destination matches logical ids, else physical ids */
    bool level_triggered;  /* wants an EOI message when it is done */
    bool assert;           /* false: de-assertion of a level; receivers ignore it */
    uint32_t destination;  /* physical: APIC id or APIC_DESTINATION_ALL; logical: MDA */
    bool exclude_sender;   /* the local APIC that sent it must not get it (all but self) */
};

/* The message that a memory write of `data` to FEExxxxxh (address) means. */
static inline struct apic_message apic_message_from_msi(uint64_t address, uint32_t data)
{
    uint32_t destination = (address >> 12) & 0xff;
    bool logical = (address & 4) != 0;

    return (struct apic_message){
        .vector = data & 0xff,
        .delivery_mode = (data >> 8) & 7,
        .logical = logical,
        .level_triggered = (data & 0x8000) != 0,
        .assert = (data & 0xc000) != 0x8000, /* the level bit counts for level trigger only */
        .destination = !logical && destination == 0xff ? APIC_DESTINATION_ALL : destination,
    };
}

#endif
