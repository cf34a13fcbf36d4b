/* The commands of the remote protocol. Source: the GDB manual, "Remote Protocol", "Packets". */
#include "frontend/gdb_session.h"

#include "base/bits.h"
#include "frontend/gdb_target.h"
#include "machine/debug.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SIGNAL_INT  2
#define SIGNAL_TRAP 5
#define SIGNAL_SEGV 11

static void transmit(struct gdb_session *s, const struct gdb_reply *r)
{
    gdb_reply_free(&s->last);
    gdb_reply_frame(&s->last, r);
    s->send(s->opaque, s->last.text, s->last.length);
}

/* --- Target description --- */

/* qXfer:features:read:target.xml:OFFSET,LENGTH */
static void transfer(struct gdb_session *s, const char *args, struct gdb_reply *r)
{
    static const char file[] = "target.xml:";
    uint64_t offset, length;

    if (strncmp(args, file, strlen(file)) != 0) {
        gdb_reply_text(r, "E00");
        return;
    }
    args += strlen(file);
    if (!gdb_take_hex(&args, &offset) || *args++ != ',' || !gdb_take_hex(&args, &length)) {
        gdb_reply_text(r, "E01");
        return;
    }
    if (s->description.length == 0)
        gdb_target_describe(&s->description);
    offset = MIN(offset, s->description.length);
    length = MIN(length, (uint64_t)GDB_PACKET_MAX / 2);
    if (length >= s->description.length - offset) {
        gdb_reply_text(r, "l");
        length = s->description.length - offset;
    } else {
        gdb_reply_text(r, "m");
    }
    gdb_reply_binary(r, s->description.text + offset, length);
}

/* --- Stops --- */

static void stop_reply(const struct machine_stop_reason *why, struct gdb_reply *r)
{
    unsigned thread = why->processor + 1;

    switch (why->kind) {
    case MACHINE_STOP_REQUEST:
        gdb_reply_format(r, "T%02xthread:%x;", SIGNAL_INT, thread);
        break;
    case MACHINE_STOP_STEP:
    case MACHINE_STOP_BREAKPOINT:
    case MACHINE_STOP_IO:
    case MACHINE_STOP_UNTIL:
    case MACHINE_STOP_EVENT:
        gdb_reply_format(r, "T%02xthread:%x;", SIGNAL_TRAP, thread);
        break;
    case MACHINE_STOP_WRITE:
    case MACHINE_STOP_READ:
    case MACHINE_STOP_ACCESS:
        gdb_reply_format(r, "T%02xthread:%x;%s:%" PRIx64 ";", SIGNAL_TRAP, thread,
                         why->kind == MACHINE_STOP_WRITE  ? "watch"
                         : why->kind == MACHINE_STOP_READ ? "rwatch"
                                                          : "awatch",
                         why->address);
        break;
    case MACHINE_STOP_TRIPLE_FAULT:
        gdb_reply_format(r, "T%02xthread:%x;", SIGNAL_SEGV, thread);
        break;
    }
}

void gdb_session_parked(struct gdb_session *s)
{
    struct machine_stop_reason why;
    struct gdb_reply r = {0};

    if (!s->waiting || !machine_debug_parked(s->machine, &why))
        return;
    s->waiting = false;
    monitor_choose(&s->monitor, why.processor);
    s->stepper = GDB_ANY;
    stop_reply(&why, &r);
    transmit(s, &r);
    gdb_reply_free(&r);
}

void gdb_session_ended(struct gdb_session *s, int status)
{
    struct gdb_reply r = {0};

    if (!s->waiting)
        return;
    s->waiting = false;
    gdb_reply_format(&r, "W%02x", status & 0xff);
    transmit(s, &r);
    gdb_reply_free(&r);
}

/* --- Threads --- */

/* "1f": processor 1eh; "0": GDB_ANY, "-1": GDB_ALL. False if there is no such thread. */
static bool take_thread(struct gdb_session *s, const char **text, unsigned *processor)
{
    uint64_t id;

    if (strncmp(*text, "-1", 2) == 0) {
        *text += 2;
        *processor = GDB_ALL;
        return true;
    }
    if (!gdb_take_hex(text, &id) || id > machine_processor_count(s->machine))
        return false;
    *processor = id == 0 ? GDB_ANY : (unsigned)id - 1;
    return true;
}

static void list_threads(struct gdb_session *s, struct gdb_reply *r)
{
    for (unsigned n = 0; n < machine_processor_count(s->machine); n++)
        gdb_reply_format(r, "%c%x", n == 0 ? 'm' : ',', n + 1);
}

/* qThreadExtraInfo,THREAD */
static bool describe_thread(struct gdb_session *s, const char *args, struct gdb_reply *r)
{
    unsigned processor;
    char text[64];

    if (!take_thread(s, &args, &processor) || processor >= GDB_ALL ||
        !machine_debug_select(s->machine, processor))
        return false;
    snprintf(text, sizeof(text), "CPU#%u [%s]", processor, machine_debug_state(s->machine));
    gdb_reply_hex(r, text, strlen(text));
    return true;
}

/* Hg, Hc */
static bool choose_thread(struct gdb_session *s, const char *args)
{
    char what = *args;
    unsigned processor;

    if ((what != 'c' && what != 'g') || (args++, !take_thread(s, &args, &processor)))
        return false;
    if (what == 'c')
        s->stepper = processor;
    else if (what == 'g' && processor < GDB_ALL)
        monitor_choose(&s->monitor, processor);
    return true;
}

static bool thread_alive(struct gdb_session *s, const char *args)
{
    unsigned processor;

    return take_thread(s, &args, &processor);
}

/* --- Going on --- */

enum action { ACTION_NONE, ACTION_RUN, ACTION_STEP };

/* What each thread is to do. False if none is to do anything. */
static bool resume(struct gdb_session *s, const uint8_t actions[MACHINE_VCPU_MAX])
{
    unsigned count = machine_processor_count(s->machine), running = 0;
    struct machine_resume go = {.interrupts = s->monitor.step_interrupts};

    for (unsigned n = 0; n < count; n++) {
        if (actions[n] == ACTION_STEP && (go.steps == 0 || n == s->monitor.cpu)) {
            go.steps = 1;
            go.stepper = n;
        }
    }
    for (unsigned n = 0; n < count; n++) {
        go.stands[n] = actions[n] != ACTION_RUN && !(go.steps > 0 && n == go.stepper);
        running += !go.stands[n];
    }
    if (running == 0)
        return false;
    s->waiting = true;
    machine_debug_resume(s->machine, &go);
    return true;
}

/* 'c', 'C', 's' or 'S' with a signal, which no guest takes. */
static bool take_action(const char **text, enum action *action)
{
    char letter = *(*text)++;
    uint64_t number;

    *action = letter == 's' || letter == 'S' ? ACTION_STEP : ACTION_RUN;
    if (letter == 'C' || letter == 'S')
        return gdb_take_hex(text, &number);
    return letter == 'c' || letter == 's';
}

/* ;ACTION[:THREAD]...: for each thread, the first that names it or names none; threads without one
 * stand still. */
static bool resume_threads(struct gdb_session *s, const char *args)
{
    uint8_t actions[MACHINE_VCPU_MAX] = {ACTION_NONE};
    unsigned processor;
    enum action action;

    while (*args == ';') {
        args++;
        processor = GDB_ALL;
        if (!take_action(&args, &action) ||
            (*args == ':' && (args++, !take_thread(s, &args, &processor))))
            return false;
        if (processor == GDB_ANY)
            processor = s->monitor.cpu;
        for (unsigned n = 0; n < MACHINE_VCPU_MAX; n++)
            if ((processor == GDB_ALL || n == processor) && actions[n] == ACTION_NONE)
                actions[n] = (uint8_t)action;
    }
    return *args == '\0' && resume(s, actions);
}

/* c and s, about the thread of H c: with one chosen the others stand still. */
static bool resume_chosen(struct gdb_session *s, bool step)
{
    uint8_t actions[MACHINE_VCPU_MAX] = {ACTION_NONE};

    if (s->stepper < GDB_ALL) {
        actions[s->stepper] = step ? ACTION_STEP : ACTION_RUN;
    } else {
        memset(actions, ACTION_RUN, sizeof(actions));
        if (step)
            actions[s->monitor.cpu] = ACTION_STEP;
    }
    return resume(s, actions);
}

/* --- Registers and memory --- */

static void read_registers(struct gdb_session *s, struct gdb_reply *r)
{
    uint8_t bytes[MACHINE_REGISTER_BYTES_MAX];

    for (unsigned n = 0; n < machine_register_count(); n++) {
        machine_register_get(s->machine, n, bytes);
        gdb_reply_hex(r, bytes, machine_register_info(n)->bits / 8);
    }
}

/* G: those that cannot be set are sent back as they were read. */
static bool write_registers(struct gdb_session *s, const char *args)
{
    uint8_t bytes[MACHINE_REGISTER_BYTES_MAX];

    for (unsigned n = 0; n < machine_register_count() && *args != '\0'; n++) {
        if (!gdb_take_bytes(&args, bytes, machine_register_info(n)->bits / 8))
            return false;
        machine_register_set(s->machine, n, bytes);
    }
    return true;
}

static bool read_register(struct gdb_session *s, const char *args, struct gdb_reply *r)
{
    uint8_t bytes[MACHINE_REGISTER_BYTES_MAX];
    uint64_t n;

    if (!gdb_take_hex(&args, &n) || n >= machine_register_count())
        return false;
    machine_register_get(s->machine, (unsigned)n, bytes);
    gdb_reply_hex(r, bytes, machine_register_info((unsigned)n)->bits / 8);
    return true;
}

static bool write_register(struct gdb_session *s, const char *args)
{
    uint8_t bytes[MACHINE_REGISTER_BYTES_MAX];
    uint64_t n;

    return gdb_take_hex(&args, &n) && n < machine_register_count() && *args++ == '=' &&
           gdb_take_bytes(&args, bytes, machine_register_info((unsigned)n)->bits / 8) &&
           machine_register_set(s->machine, (unsigned)n, bytes);
}

/* "ADDRESS,LENGTH" and what follows, up to `most` bytes. */
static bool take_range(const char **args, uint64_t *address, uint64_t *length, uint64_t most)
{
    return gdb_take_hex(args, address) && *(*args)++ == ',' && gdb_take_hex(args, length) &&
           *length <= most;
}

static bool read_memory(struct gdb_session *s, const char *args, struct gdb_reply *r)
{
    uint8_t bytes[GDB_PACKET_MAX / 2];
    uint64_t address, length;
    size_t count;

    if (!take_range(&args, &address, &length, UINT64_MAX) || *args != '\0')
        return false;
    length = MIN(length, sizeof(bytes));
    count = machine_debug_read(s->machine, address, s->monitor.physical, bytes, length);
    gdb_reply_hex(r, bytes, count);
    return count > 0 || length == 0;
}

static bool write_memory(struct gdb_session *s, const char *args, bool binary)
{
    uint8_t bytes[GDB_PACKET_MAX];
    uint64_t address, length;

    if (!take_range(&args, &address, &length, sizeof(bytes)) || *args++ != ':')
        return false;
    if (binary) {
        if ((size_t)(s->parser.data + s->parser.length - args) < length)
            return false;
        memcpy(bytes, args, length);
    } else if (!gdb_take_bytes(&args, bytes, length)) {
        return false;
    }
    return machine_debug_write(s->machine, address, s->monitor.physical, bytes, length) == length;
}

/* Z0-Z4 and z0-z4: software breakpoints are ours as well. */
static bool change_point(struct gdb_session *s, const char *args, bool add)
{
    static const enum machine_point_kind kinds[] = {MACHINE_POINT_EXECUTE, MACHINE_POINT_EXECUTE,
                                                    MACHINE_POINT_WRITE, MACHINE_POINT_READ,
                                                    MACHINE_POINT_ACCESS};
    struct machine_point p = {.any_root = true};
    uint64_t kind;

    if (!gdb_take_hex(&args, &kind) || kind >= ARRAY_SIZE(kinds) || *args++ != ',' ||
        !take_range(&args, &p.address, &p.length, UINT64_MAX))
        return false;
    p.kind = kinds[kind];
    if (p.kind == MACHINE_POINT_EXECUTE)
        p.length = 1;
    return add ? machine_debug_add(s->machine, &p) : machine_debug_remove(s->machine, &p);
}

/* --- Monitor --- */

static bool run_monitor(struct gdb_session *s, const char *args, struct gdb_reply *r)
{
    char line[GDB_PACKET_MAX / 2 + 1], *text = NULL;
    size_t length = strlen(args) / 2, size = 0;
    FILE *out;

    if (!gdb_take_bytes(&args, (uint8_t *)line, length) || *args != '\0')
        return false;
    line[length] = '\0';
    out = open_memstream(&text, &size);
    if (out == NULL)
        return false;
    monitor_command(&s->monitor, line, out);
    fclose(out);
    if (size > GDB_PACKET_MAX / 2)
        size = GDB_PACKET_MAX / 2;
    if (size > 0)
        gdb_reply_hex(r, text, size);
    else
        gdb_reply_text(r, "OK");
    free(text);
    return true;
}

/* --- Dispatch --- */

static bool starts(const char **text, const char *with)
{
    size_t n = strlen(with);

    if (strncmp(*text, with, n) != 0)
        return false;
    *text += n;
    return true;
}

static bool parked(struct gdb_session *s)
{
    struct machine_stop_reason why;

    return machine_debug_parked(s->machine, &why);
}

/* Packets that begin with q, Q or v. Unknown ones are answered with nothing, as is the rule. */
static bool query(struct gdb_session *s, const char *p, struct gdb_reply *r)
{
    if (starts(&p, "qSupported")) {
        gdb_reply_format(r,
                         "PacketSize=%x;qXfer:features:read+;vContSupported+;hwbreak-;swbreak-;"
                         "QStartNoAckMode+",
                         GDB_PACKET_MAX);
    } else if (starts(&p, "qXfer:features:read:")) {
        transfer(s, p, r);
    } else if (starts(&p, "qRcmd,")) {
        return run_monitor(s, p, r);
    } else if (starts(&p, "qfThreadInfo")) {
        list_threads(s, r);
    } else if (starts(&p, "qsThreadInfo")) {
        gdb_reply_text(r, "l");
    } else if (starts(&p, "qThreadExtraInfo,")) {
        return parked(s) && describe_thread(s, p, r);
    } else if (starts(&p, "qAttached")) {
        gdb_reply_text(r, "1");
    } else if (starts(&p, "qC")) {
        gdb_reply_format(r, "QC%x", s->monitor.cpu + 1);
    } else if (starts(&p, "qqemu.PhyMemMode")) { /* clients know the switch by this name */
        gdb_reply_text(r, s->monitor.physical ? "1" : "0");
    } else if (starts(&p, "Qqemu.PhyMemMode:")) {
        s->monitor.physical = *p == '1';
        gdb_reply_text(r, "OK");
    } else if (starts(&p, "QStartNoAckMode")) {
        gdb_reply_text(r, "OK");
        s->no_ack = true;
    } else if (starts(&p, "vCont?")) {
        gdb_reply_text(r, "vCont;c;C;s;S");
    } else if (starts(&p, "vKill")) {
        gdb_reply_text(r, "OK");
        machine_quit(s->machine, MACHINE_END_QUIT, 0);
    }
    return true;
}

static bool needs_parked_machine(char command)
{
    return strchr("gGpPmMXcCsSZz", command) != NULL;
}

/* One packet. Returns false for an error reply; r stays empty if a stop is what answers. */
static bool execute(struct gdb_session *s, const char *p, struct gdb_reply *r, bool *later)
{
    if ((needs_parked_machine(*p) || strncmp(p, "qRcmd", 5) == 0) && !parked(s))
        return false;
    if (parked(s))
        machine_debug_select(s->machine, s->monitor.cpu);
    if (strncmp(p, "vCont;", 6) == 0) {
        *later = parked(s) && resume_threads(s, p + 5);
        return *later;
    }
    switch (*p++) {
    case '?':
        s->waiting = *later = true;
        return true;
    case 'g':
        read_registers(s, r);
        return true;
    case 'p':
        return read_register(s, p, r);
    case 'm':
        return read_memory(s, p, r);
    case 'c':
    case 'C':
    case 's':
    case 'S':
        *later = resume_chosen(s, p[-1] == 's' || p[-1] == 'S');
        return *later;
    case 'H':
    case 'T':
    case 'G':
    case 'P':
    case 'M':
    case 'X':
    case 'Z':
    case 'z':
        break;
    case 'D':
        s->detached = true;
        break;
    case 'k':
        machine_quit(s->machine, MACHINE_END_QUIT, 0);
        *later = true;
        return true;
    case 'q':
    case 'Q':
    case 'v':
        return query(s, p - 1, r);
    default:
        return true;
    }
    gdb_reply_text(r, "OK");
    switch (p[-1]) {
    case 'H':
        return choose_thread(s, p);
    case 'T':
        return thread_alive(s, p);
    case 'G':
        return write_registers(s, p);
    case 'P':
        return write_register(s, p);
    case 'M':
        return write_memory(s, p, false);
    case 'X':
        return write_memory(s, p, true);
    case 'Z':
        return change_point(s, p, true);
    case 'z':
        return change_point(s, p, false);
    default:
        return true;
    }
}

static void packet(struct gdb_session *s)
{
    struct gdb_reply r = {0};
    bool later = false, was_acked = !s->no_ack;

    if (was_acked)
        s->send(s->opaque, "+", 1);
    if (!execute(s, s->parser.data, &r, &later)) {
        gdb_reply_free(&r);
        gdb_reply_text(&r, "E01");
        later = false;
    }
    if (later)
        gdb_session_parked(s);
    else
        transmit(s, &r);
    gdb_reply_free(&r);
}

void gdb_session_begin(struct gdb_session *s, struct machine *machine,
                       const struct report_tools *tools,
                       void (*send)(void *opaque, const void *bytes, size_t count), void *opaque)
{
    *s = (struct gdb_session){.machine = machine,
                              .monitor = {.machine = machine, .tools = tools, .in_gdb = true},
                              .send = send,
                              .opaque = opaque};
    machine_stop(machine);
}

void gdb_session_input(struct gdb_session *s, const void *bytes, size_t count)
{
    const uint8_t *b = bytes;

    for (size_t n = 0; n < count && !s->detached; n++) {
        switch (gdb_parse(&s->parser, b[n])) {
        case GDB_PACKET:
            packet(s);
            break;
        case GDB_BAD:
            if (!s->no_ack)
                s->send(s->opaque, "-", 1);
            break;
        case GDB_NACK:
            s->send(s->opaque, s->last.text, s->last.length);
            break;
        case GDB_INTERRUPT:
            machine_stop(s->machine);
            break;
        case GDB_NOTHING:
        case GDB_ACK:
            break;
        }
    }
}

void gdb_session_end(struct gdb_session *s)
{
    gdb_reply_free(&s->description);
    gdb_reply_free(&s->last);
}
