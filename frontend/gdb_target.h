/*
 * The target description: the machine's registers, by feature, and the types that they have.
 * Source: the GDB manual, "Target Descriptions".
 */
#ifndef FRONTEND_GDB_TARGET_H
#define FRONTEND_GDB_TARGET_H

#include "frontend/gdb_packet.h"

/* Appends target.xml. */
void gdb_target_describe(struct gdb_reply *xml);

#endif
