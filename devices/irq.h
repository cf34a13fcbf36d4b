/*
 * A wire from a device to whoever listens: an interrupt controller's input, the processor's INTR
 * or NMI pin. Level is what the wire carries; edge or level sensitivity belongs to the listener.
 */
#ifndef DEVICES_IRQ_H
#define DEVICES_IRQ_H

#include <stdbool.h>
#include <stddef.h>

struct irq_line {
    void (*set)(void *listener, unsigned pin, bool level); /* NULL: not connected */
    void *listener;
    unsigned pin;
};

static inline void irq_set(const struct irq_line *line, bool level)
{
    if (line->set != NULL)
        line->set(line->listener, line->pin, level);
}

#endif
