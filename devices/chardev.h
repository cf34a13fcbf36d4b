/*
 * A byte stream between a device and the outside (terminal, file, pty, nothing). The front end
 * implements it; a device calls send, and is called back with what arrived. Everything runs with
 * the machine's device lock held.
 */
#ifndef DEVICES_CHARDEV_H
#define DEVICES_CHARDEV_H

#include <stddef.h>
#include <stdint.h>

struct chardev {
    /* To the outside; never blocks for long, never fails (what cannot be written is dropped). */
    void (*send)(struct chardev *c, const uint8_t *bytes, size_t count);

    /* Set by the device: how many bytes it can take now, and delivery of at most that many. */
    size_t (*can_receive)(void *device);
    void (*receive)(void *device, const uint8_t *bytes, size_t count);
    void *device;

    /* Set by the front end, may be NULL: the device can take bytes again. */
    void (*ready)(struct chardev *c);
};

#endif
