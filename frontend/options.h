/*
 * The command line: the table in options.def, parsed into struct options. "-opt" and "--opt" are
 * the same, a value is the next argument or follows "=" ("--timeout=60").
 */
#ifndef FRONTEND_OPTIONS_H
#define FRONTEND_OPTIONS_H

#include "base/error.h"
#include "machine/machine.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Where the bytes of a device go. */
enum backend_kind {
    BACKEND_NONE,  /* the device is not there */
    BACKEND_NULL,  /* nowhere */
    BACKEND_STDIO,
    BACKEND_FILE,
    BACKEND_PTY,
    BACKEND_SOCKET, /* monitors only; path: the address (socket_address.h) */
    BACKEND_NAMED, /* the -chardev called `path` */
};

struct backend_spec {
    enum backend_kind kind;
    const char *path; /* file, or the id of a -chardev */
    bool append;      /* file: keep what is there */
    bool mux;         /* stdio: quit keys on Ctrl-A */
    bool signal;      /* stdio: Ctrl-C and the like are for Gnomon, not for the guest */
    const char *log;  /* file that gets a copy of the output, or NULL */
    bool log_append;
};

#define CHARDEV_MAX         8
#define OPTIONS_MONITOR_MAX 4

struct named_backend {
    const char *id;
    struct backend_spec spec;
    const char *host, *port; /* of a socket, or NULL */
    bool server;
};

/* The numbers of -smp; 0: not given. Further -smp options add to them. */
struct smp_numbers {
    unsigned cpus, maxcpus, sockets, cores, threads;
};

struct owned_text;

struct options {
    struct machine_config machine; /* without log, host and chardevs */
    struct backend_spec serial[MACHINE_SERIAL_COUNT];
    struct smp_numbers smp;
    unsigned serial_count;         /* -serial options seen */
    struct backend_spec debugcon;  /* BACKEND_NONE: no port E9h */
    struct named_backend chardevs[CHARDEV_MAX];
    unsigned chardev_count;
    struct backend_spec monitors[OPTIONS_MONITOR_MAX]; /* -monitor and -mon */
    unsigned monitor_count;
    uint8_t escape;                /* -echr; 0: Ctrl-A */
    bool no_defaults;
    bool accel_found;              /* some -accel named what we have */
    const char *accel_missing;     /* the last that we have not, or NULL */
    bool nographic;
    bool display_none;
    bool start_stopped;            /* -S */
    bool rtc_given;
    bool seed_given;
    uint64_t timeout_ns;           /* --timeout; 0: none */
    uint64_t silence_ns;           /* --silence; 0: never */
    const char *pidfile;           /* -pidfile, or NULL */
    uint32_t log_mask;             /* -d */
    const char *log_file;          /* -D, or NULL */
    const char *symbols;           /* -symbols, or NULL */
    const char *name;              /* -name, or NULL */
    const char *firmware_dir;      /* -L, or NULL */
    const char *gdb;               /* -gdb, or NULL */
    const char *trace_filter;      /* -trace mmu: what follows "mmu:", "" for all; NULL: no trace */
    const char *trace_file;
    const char *trace_format;      /* "text", "json" or "chrome" */
    bool done;                     /* -help and the like: everything has been said, end with 0 */
    FILE *out;                     /* where -help and the like go */
    struct owned_text *owned;      /* texts that options_destroy frees */
};

/* Defaults, then the arguments (argv[0] is the program). On false err says what is wrong, with the
 * nearest valid spelling: exit status 2. `out` gets the text of -help and the like. The strings of
 * argv must outlive the options. */
bool options_parse(struct options *o, int argc, char *const *argv, FILE *out, struct error *err);

void options_destroy(struct options *o);

void options_print_help(FILE *out);

/* What the -chardev of that name says; NULL and err if there is none. */
const struct backend_spec *options_chardev(const struct options *o, const char *id,
                                           struct error *err);

/* Is this monitor the second user of a serial port's back end, behind Ctrl-A c? */
bool options_monitor_shared(const struct options *o, const struct backend_spec *spec);

/* A copy of the text that lives as long as the options. */
const char *options_own(struct options *o, const char *text);

#endif
