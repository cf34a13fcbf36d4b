/* The commands of the remote protocol. Source: the GDB manual, "Remote Protocol", "Packets". */
#include "frontend/gdb_session.h"

#include "base/bits.h"
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

/* Types that the features' registers have and GDB does not know by itself. */
static const char core_types[] =
    "<flags id=\"i386_eflags\" size=\"4\">"
    "<field name=\"CF\" start=\"0\" end=\"0\"/><field name=\"\" start=\"1\" end=\"1\"/>"
    "<field name=\"PF\" start=\"2\" end=\"2\"/><field name=\"AF\" start=\"4\" end=\"4\"/>"
    "<field name=\"ZF\" start=\"6\" end=\"6\"/><field name=\"SF\" start=\"7\" end=\"7\"/>"
    "<field name=\"TF\" start=\"8\" end=\"8\"/><field name=\"IF\" start=\"9\" end=\"9\"/>"
    "<field name=\"DF\" start=\"10\" end=\"10\"/><field name=\"OF\" start=\"11\" end=\"11\"/>"
    "<field name=\"NT\" start=\"14\" end=\"14\"/><field name=\"RF\" start=\"16\" end=\"16\"/>"
    "<field name=\"VM\" start=\"17\" end=\"17\"/><field name=\"AC\" start=\"18\" end=\"18\"/>"
    "<field name=\"VIF\" start=\"19\" end=\"19\"/><field name=\"VIP\" start=\"20\" end=\"20\"/>"
    "<field name=\"ID\" start=\"21\" end=\"21\"/></flags>";

static const char vec128_type[] =
    "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
    "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
    "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>"
    "<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
    "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>"
    "<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
    "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/>"
    "<field name=\"v2_double\" type=\"v2d\"/><field name=\"v16_int8\" type=\"v16i8\"/>"
    "<field name=\"v8_int16\" type=\"v8i16\"/><field name=\"v4_int32\" type=\"v4i32\"/>"
    "<field name=\"v2_int64\" type=\"v2i64\"/><field name=\"uint128\" type=\"uint128\"/></union>";

static const char mxcsr_type[] =
    "<flags id=\"i386_mxcsr\" size=\"4\">"
    "<field name=\"IE\" start=\"0\" end=\"0\"/><field name=\"DE\" start=\"1\" end=\"1\"/>"
    "<field name=\"ZE\" start=\"2\" end=\"2\"/><field name=\"OE\" start=\"3\" end=\"3\"/>"
    "<field name=\"UE\" start=\"4\" end=\"4\"/><field name=\"PE\" start=\"5\" end=\"5\"/>"
    "<field name=\"DAZ\" start=\"6\" end=\"6\"/><field name=\"IM\" start=\"7\" end=\"7\"/>"
    "<field name=\"DM\" start=\"8\" end=\"8\"/><field name=\"ZM\" start=\"9\" end=\"9\"/>"
    "<field name=\"OM\" start=\"10\" end=\"10\"/><field name=\"UM\" start=\"11\" end=\"11\"/>"
    "<field name=\"PM\" start=\"12\" end=\"12\"/><field name=\"FZ\" start=\"15\" end=\"15\"/>"
    "</flags>";

static const char avx512_types[] = "<vector id=\"v2ui128\" type=\"uint128\" count=\"2\"/>";

/* A feature knows no types of another. */
static void describe_types(struct gdb_reply *xml, const char *feature)
{
    if (strcmp(feature, "org.gnu.gdb.i386.core") == 0) {
        gdb_reply_text(xml, core_types);
    } else if (strcmp(feature, "org.gnu.gdb.i386.sse") == 0) {
        gdb_reply_text(xml, vec128_type);
        gdb_reply_text(xml, mxcsr_type);
    } else if (strcmp(feature, "org.gnu.gdb.i386.avx512") == 0) {
        gdb_reply_text(xml, vec128_type);
        gdb_reply_text(xml, avx512_types);
    }
}

static void describe(struct gdb_reply *xml)
{
    const char *feature = NULL;

    gdb_reply_text(xml, "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">"
                        "<target><architecture>i386:x86-64</architecture>");
    for (unsigned n = 0; n < machine_register_count(); n++) {
        const struct machine_register *r = machine_register_info(n);

        if (feature == NULL || strcmp(feature, r->feature) != 0) {
            gdb_reply_format(xml, "%s<feature name=\"%s\">", feature != NULL ? "</feature>" : "",
                             r->feature);
            feature = r->feature;
            describe_types(xml, feature);
        }
        gdb_reply_format(xml, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\"", r->name, r->bits,
                         r->type);
        if (r->group != NULL)
            gdb_reply_format(xml, " group=\"%s\"", r->group);
        gdb_reply_text(xml, "/>");
    }
    gdb_reply_text(xml, "</feature></target>");
}

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
        describe(&s->description);
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

static void stop_reply(struct gdb_session *s, const struct machine_stop_reason *why,
                       struct gdb_reply *r)
{
    (void)s;
    switch (why->kind) {
    case MACHINE_STOP_REQUEST:
        gdb_reply_format(r, "T%02xthread:1;", SIGNAL_INT);
        break;
    case MACHINE_STOP_STEP:
    case MACHINE_STOP_BREAKPOINT:
    case MACHINE_STOP_IO:
    case MACHINE_STOP_UNTIL:
    case MACHINE_STOP_EVENT:
        gdb_reply_format(r, "T%02xthread:1;", SIGNAL_TRAP);
        break;
    case MACHINE_STOP_WRITE:
    case MACHINE_STOP_READ:
    case MACHINE_STOP_ACCESS:
        gdb_reply_format(r, "T%02xthread:1;%s:%" PRIx64 ";", SIGNAL_TRAP,
                         why->kind == MACHINE_STOP_WRITE  ? "watch"
                         : why->kind == MACHINE_STOP_READ ? "rwatch"
                                                          : "awatch",
                         why->address);
        break;
    case MACHINE_STOP_TRIPLE_FAULT:
        gdb_reply_format(r, "T%02xthread:1;", SIGNAL_SEGV);
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
    stop_reply(s, &why, &r);
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

static void resume(struct gdb_session *s, bool step)
{
    s->waiting = true;
    if (step)
        machine_debug_step(s->machine, 1, s->monitor.step_interrupts);
    else
        machine_continue(s->machine);
}

/* vCont;ACTION[:THREAD]...: there is one thread, the first action is for it. */
static bool resume_by_action(struct gdb_session *s, const char *action)
{
    switch (*action) {
    case 'c':
    case 'C':
        resume(s, false);
        return true;
    case 's':
    case 'S':
        resume(s, true);
        return true;
    default:
        return false;
    }
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
        gdb_reply_text(r, "m1");
    } else if (starts(&p, "qsThreadInfo")) {
        gdb_reply_text(r, "l");
    } else if (starts(&p, "qAttached")) {
        gdb_reply_text(r, "1");
    } else if (starts(&p, "qC")) {
        gdb_reply_text(r, "QC1");
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

static bool parked(struct gdb_session *s)
{
    struct machine_stop_reason why;

    return machine_debug_parked(s->machine, &why);
}

/* One packet. Returns false for an error reply; r stays empty if a stop is what answers. */
static bool execute(struct gdb_session *s, const char *p, struct gdb_reply *r, bool *later)
{
    if ((needs_parked_machine(*p) || strncmp(p, "qRcmd", 5) == 0) && !parked(s))
        return false;
    if (starts(&p, "vCont;")) {
        *later = parked(s) && resume_by_action(s, p);
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
        *later = true;
        return resume_by_action(s, p - 1);
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
