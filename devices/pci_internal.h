/*
 * What the two halves of the PCI host share: pci.c (ports, bridges, interrupt routing) and
 * pci_function.c (configuration space of one function, its BARs). Nobody else includes this.
 */
#ifndef DEVICES_PCI_INTERNAL_H
#define DEVICES_PCI_INTERNAL_H

#include "devices/pci.h"

/* Drives PIRQA#..PIRQD# and the IRQs they are routed to from the functions' INTx levels. */
void pci_update_interrupts(struct pci_host *h);

#endif
