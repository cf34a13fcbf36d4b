/*
 * The monitor: commands for people who look at a machine, one a line; the answer goes to a stream.
 * The same table serves terminals and sockets (monitor_client.h) and "monitor" in GDB. Reading
 * changes nothing in the guest. Any line is answered; what is none is told what would be right.
 *
 * Threads: the event-loop thread, without the device lock; the machine may run or not.
 */
#ifndef FRONTEND_MONITOR_H
#define FRONTEND_MONITOR_H

#include "machine/machine.h"
#include "machine/report.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define MONITOR_LINE_MAX 1024

enum monitor_wait {
    MONITOR_READY,
    MONITOR_WAIT_STOP,  /* for the machine to stop, then tell where */
    MONITOR_WAIT_QUIET, /* for the same, without telling */
    MONITOR_FOLLOW,     /* MMU events are shown as they come: see monitor_follow */
};

/* One who types commands. */
struct monitor {
    struct machine *machine;
    const struct report_tools *tools;
    bool in_gdb;            /* GDB lets the machine run: commands that would do so refuse */
    bool physical;          /* the debugger's memory accesses are physical */
    bool step_interrupts;   /* a single step takes interrupts */
    enum monitor_wait wait; /* the last command goes on: see monitor_stopped */
    uint64_t until;         /* address where a breakpoint of run-until waits, */
    bool until_set;         /* if one does */
    unsigned once;          /* MMU breakpoint that goes with the next stop; 0: none */
    uint64_t followed;      /* MONITOR_FOLLOW: number of the next event to show */
    bool no_files;          /* commands write no files of the host */
    uint64_t walks;         /* page walks of one listing at most; 0: a default */
    unsigned cpu;           /* the processor that is looked at, */
    bool cpu_chosen;        /* if one was, */
    uint64_t cpu_stop;      /* until the stop after this one (machine_stop_reason.stop) */
};

/* This processor is looked at until the machine stops anew; before, and from then on, it is the one
 * that stopped it. False: there is none with that number. */
bool monitor_choose(struct monitor *monitor, unsigned cpu);

/* For what follows the machine's tools look at the processor chosen. */
void monitor_select(struct monitor *monitor);

/* Runs a line. Afterwards `wait` says whether the command is done. */
void monitor_command(struct monitor *monitor, const char *line, FILE *out);

/* A waiting command looks whether the machine has stopped: true if it is done. */
bool monitor_stopped(struct monitor *monitor, FILE *out);

/* Shows the events that came since the last call, while a command follows them. */
void monitor_follow(struct monitor *monitor, FILE *out);

/* The user has had enough of waiting, or goes. */
void monitor_cancel(struct monitor *monitor);

/* Possible ends of the last word of a line of `length` bytes: word n that begins with it, or false
 * after the last. *typed is how much of it is there. */
bool monitor_complete(const char *line, size_t length, unsigned n, char *word, size_t size,
                      size_t *typed);

/* What help prints. */
void monitor_print_help(FILE *out);

#endif
