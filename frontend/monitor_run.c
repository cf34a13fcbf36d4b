/* Commands that let the machine run, stop it, or change what it does. */
#include "base/clock.h"
#include "frontend/monitor_commands.h"
#include "frontend/values.h"
#include "machine/debug.h"
#include "machine/events.h"

#include <inttypes.h>
#include <string.h>

/* GDB has to know when the machine runs. */
static bool refuse_in_gdb(struct call *c, const char *instead)
{
    if (c->monitor->in_gdb)
        fprintf(c->out, "in GDB this is '%s'\n", instead);
    return c->monitor->in_gdb;
}

static bool parked(struct monitor *monitor)
{
    struct machine_stop_reason why;

    return machine_debug_parked(monitor->machine, &why);
}

/* Some commands go on from a stop only; one that was just asked for will do. */
static bool refuse_running(struct call *c)
{
    bool runs = !machine_stopped(c->monitor->machine);

    if (runs)
        fputs("the machine runs: 'stop' it first\n", c->out);
    return runs;
}

/* --- Stops --- */

static void forget_until(struct monitor *monitor)
{
    struct machine_point p = {.kind = MACHINE_POINT_EXECUTE,
                              .tool = MACHINE_TOOL_MONITOR,
                              .any_root = true,
                              .address = monitor->until,
                              .length = 1};

    if (monitor->until_set)
        machine_debug_remove(monitor->machine, &p);
    monitor->until_set = false;
    if (monitor->once != 0)
        machine_event_break_remove(monitor->machine, monitor->once);
    monitor->once = 0;
}

/* The event of an MMU breakpoint. */
static void tell_event(struct monitor *monitor, FILE *out)
{
    const struct mmu_event *e = machine_event_hit(monitor->machine);
    struct machine_stop_reason why;

    if (!machine_debug_parked(monitor->machine, &why) || why.kind != MACHINE_STOP_EVENT ||
        e == NULL)
        return;
    fprintf(out, "MMU breakpoint %" PRIu64 ": ", why.address);
    mmu_event_print(out, e, MMU_SINK_TEXT);
    fputc('\n', out);
}

bool monitor_stopped(struct monitor *monitor, FILE *out)
{
    if (monitor->wait == MONITOR_FOLLOW || !parked(monitor))
        return false;
    forget_until(monitor);
    if (monitor->wait == MONITOR_WAIT_STOP) {
        machine_print_status(monitor->machine, out);
        monitor_select(monitor);
        tell_event(monitor, out);
        machine_print_next(monitor->machine, out, monitor->tools);
    }
    monitor->wait = MONITOR_READY;
    return true;
}

void monitor_cancel(struct monitor *monitor)
{
    if (monitor->until_set || monitor->once != 0) {
        machine_hold(monitor->machine);
        forget_until(monitor);
        machine_release(monitor->machine);
    }
    monitor->wait = MONITOR_READY;
}

void monitor_run_stop(struct call *c)
{
    machine_stop(c->monitor->machine);
    c->monitor->wait = MONITOR_WAIT_QUIET;
}

void monitor_run_cont(struct call *c)
{
    if (!refuse_in_gdb(c, "continue"))
        machine_continue(c->monitor->machine);
}

void monitor_run_wait(struct call *c)
{
    if (!refuse_in_gdb(c, "continue"))
        c->monitor->wait = MONITOR_WAIT_STOP;
}

void monitor_run_step(struct call *c)
{
    uint64_t count = 1;

    if (monitor_word_is(c, 1, "mmu")) {
        if (c->monitor->in_gdb || !refuse_running(c))
            monitor_step_mmu(c);
        return;
    }
    if (refuse_in_gdb(c, "stepi N") || refuse_running(c) ||
        (c->count > 1 && !monitor_number(c, c->words[1], &count)))
        return;
    if (count == 0)
        return;
    machine_debug_step(c->monitor->machine, count, c->monitor->step_interrupts);
    c->monitor->wait = MONITOR_WAIT_STOP;
}

/* --- run-until --- */

static bool until_address(struct call *c)
{
    struct machine_point p = {
        .kind = MACHINE_POINT_EXECUTE, .tool = MACHINE_TOOL_MONITOR, .any_root = true, .length = 1};

    if (!monitor_number(c, c->words[1], &p.address) || !machine_debug_add(c->monitor->machine, &p))
        return false;
    c->monitor->until = p.address;
    c->monitor->until_set = true;
    return true;
}

static bool until_count(struct call *c)
{
    const char *word = c->words[2] + (c->words[2][0] == '+');
    uint64_t count;

    if (!monitor_number(c, word, &count))
        return false;
    if (word != c->words[2])
        count += machine_instructions(c->monitor->machine);
    machine_debug_until(c->monitor->machine, count, UINT64_MAX);
    return true;
}

static bool until_time(struct call *c)
{
    const char *word = c->words[2] + (c->words[2][0] == '+');
    struct error err = {0};
    uint64_t ns;

    if (!value_time("run-until time", word, &ns, &err)) {
        fprintf(c->out, "%s\n", err.text);
        return false;
    }
    if (word != c->words[2])
        ns += machine_time(c->monitor->machine);
    machine_debug_until(c->monitor->machine, UINT64_MAX, ns);
    return true;
}

void monitor_run_run_until(struct call *c)
{
    bool ok = false;

    if (refuse_running(c) || (c->count == 2 && refuse_in_gdb(c, "tbreak and continue")))
        return;
    if (c->count == 2)
        ok = until_address(c);
    else if (monitor_word_is(c, 1, "instructions"))
        ok = until_count(c);
    else if (monitor_word_is(c, 1, "time"))
        ok = until_time(c);
    else
        monitor_usage(c);
    if (!ok)
        return;
    if (c->monitor->in_gdb) {
        fputs("it stops there after 'continue'\n", c->out);
        return;
    }
    c->monitor->wait = MONITOR_WAIT_STOP;
    machine_continue(c->monitor->machine);
}

/* --- Breakpoints --- */

static enum machine_tool tool(const struct call *c)
{
    return c->monitor->in_gdb ? MACHINE_TOOL_GDB : MACHINE_TOOL_MONITOR;
}

static void list_points(struct call *c)
{
    static const char *const kinds[] = {"break", "write watch", "read watch", "access watch"};
    struct machine_point p;
    unsigned count = 0;

    for (unsigned t = 0; t < MACHINE_TOOL_COUNT; t++) {
        for (unsigned n = 0; machine_debug_point(c->monitor->machine, (enum machine_tool)t, n, &p);
             n++, count++) {
            fprintf(c->out, "%s%s at %#" PRIx64, p.physical ? "physical " : "", kinds[p.kind],
                    p.address);
            if (!p.any_root)
                fprintf(c->out, " cr3 %#" PRIx64, p.root);
            fputs(t == MACHINE_TOOL_GDB ? " (GDB's)\n" : "\n", c->out);
        }
    }
    if (count + monitor_list_mmu(c) == 0)
        fputs("no breakpoints\n", c->out);
}

/* break ADDRESS [cr3 ROOT], break-physical ADDRESS, and delete of the same. */
static void point(struct call *c, bool add, bool physical)
{
    struct machine_point p = {.kind = MACHINE_POINT_EXECUTE,
                              .tool = tool(c),
                              .physical = physical,
                              .any_root = true,
                              .length = 1};
    bool known;

    if (!monitor_number(c, c->words[1], &p.address))
        return;
    if (c->count == 4 && monitor_word_is(c, 2, "cr3")) {
        if (!monitor_number(c, c->words[3], &p.root))
            return;
        p.any_root = false;
    } else if (c->count != 2) {
        fprintf(c->out, "what follows the address is: cr3 ROOT\n");
        return;
    }
    known = add ? machine_debug_add(c->monitor->machine, &p)
                : machine_debug_remove(c->monitor->machine, &p);
    fprintf(c->out,
            known ? "%s breakpoint at %#" PRIx64 "\n" : "no %s breakpoint at %#" PRIx64 "\n",
            physical ? "physical" : "linear", p.address);
}

void monitor_run_break(struct call *c)
{
    if (c->count == 1)
        list_points(c);
    else if (monitor_word_is(c, 1, "mmu"))
        monitor_break_mmu(c);
    else
        point(c, true, false);
}

void monitor_run_break_physical(struct call *c)
{
    point(c, true, true);
}

void monitor_run_delete(struct call *c)
{
    if (monitor_word_is(c, 1, "mmu"))
        monitor_delete_mmu(c);
    else
        point(c, false, false);
}

void monitor_run_delete_physical(struct call *c)
{
    point(c, false, true);
}

/* --- Settings, buttons --- */

static void on_off(struct call *c, const char *what, bool *setting)
{
    if (c->count > 1 && !monitor_word_is(c, 1, "on") && !monitor_word_is(c, 1, "off")) {
        fprintf(c->out, "on or off, not '%s'\n", c->words[1]);
        return;
    }
    if (c->count > 1)
        *setting = monitor_word_is(c, 1, "on");
    fprintf(c->out, "%s: %s\n", what, *setting ? "on" : "off");
}

void monitor_run_physical(struct call *c)
{
    on_off(c, "physical memory accesses", &c->monitor->physical);
}

void monitor_run_step_interrupts(struct call *c)
{
    on_off(c, "interrupts in single steps", &c->monitor->step_interrupts);
}

void monitor_run_system_reset(struct call *c)
{
    machine_reset(c->monitor->machine);
}

void monitor_run_system_powerdown(struct call *c)
{
    machine_power_button(c->monitor->machine);
}

/* By default the program can go on. */
void monitor_run_mce(struct call *c)
{
    static const char *const outcomes[] = {
        [MACHINE_ERROR_NO_BANK] = "there is no such bank",
        [MACHINE_ERROR_LOGGED] = "logged; not reported",
        [MACHINE_ERROR_RAISED] = "logged; #MC comes next",
        [MACHINE_ERROR_SHUTDOWN] = "logged; the guest cannot take #MC: shutdown comes next",
    };
    uint64_t values[5] = {[4] = 1}; /* RIPV */
    struct machine_error e;

    for (unsigned n = 1; n < c->count; n++) {
        if (!monitor_number(c, c->words[n], &values[n - 1]))
            return;
    }
    e = (struct machine_error){
        .bank = values[0] < UINT32_MAX ? (unsigned)values[0] : UINT32_MAX,
        .status = values[1],
        .addr = values[2],
        .misc = values[3],
        .mcg_status = values[4],
    };
    fprintf(c->out, "%s\n", outcomes[machine_inject_error(c->monitor->machine, &e)]);
}

void monitor_run_nmi(struct call *c)
{
    machine_inject_nmi(c->monitor->machine);
}

void monitor_run_cpu(struct call *c)
{
    struct machine *m = c->monitor->machine;
    uint64_t n;

    if (c->count == 1) {
        fprintf(c->out, "cpu%u\n", machine_debug_selected(m));
        return;
    }
    if (refuse_in_gdb(c, "thread") || !monitor_number(c, c->words[1], &n))
        return;
    if (n >= UINT32_MAX || !monitor_choose(c->monitor, (unsigned)n))
        fprintf(c->out, "there is no processor %s: they are 0 to %u\n", c->words[1],
                machine_processor_count(m) - 1);
}

void monitor_run_quit(struct call *c)
{
    machine_quit(c->monitor->machine, MACHINE_END_QUIT, 0);
}
