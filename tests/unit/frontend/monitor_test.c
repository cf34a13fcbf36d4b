/*
 * The monitor's commands against a machine with a small guest whose page tables, registers and
 * memory are known; and a client's bytes, as they come from a socket.
 */
#include "frontend/disassemble.h"
#include "frontend/monitor_client.h"
#include "machine/debug.h"
#include "tests/unit/machine/machine_rig.h"
#include "tests/unit/machine/guests.h"
#include "tests/unit/run_suite.h"

/*
 * Long mode with tables of its own. PML4 at 200000h: [0] -> 201000h, [511] the PML4 itself. PDPT:
 * [0], [1] and [2] -> 202000h. PD: [0] a 2 MiB page, [1] -> 203000h. PT: 200000h is 5000h, for
 * users and read only; 201000h and 202000h are 6000h and 7000h, writable, not executable. Then a
 * loop: counts at 201000h, loads CR3.
 */
GUEST64(mapped, "mov $0xc0000080, %ecx\n rdmsr\n or $0x800, %eax\n wrmsr\n" /* EFER.NXE */
                "movq $0x201007, 0x200000\n movq $0x200003, 0x200ff8\n"
                "movq $0x202007, 0x201000\n movq $0x202007, 0x201008\n movq $0x202007, 0x201010\n"
                "movq $0x83, 0x202000\n movq $0x203007, 0x202008\n"
                "movq $0x5005, 0x203000\n"
                "mov $0x8000000000006003, %rax\n mov %rax, 0x203008\n add $0x1000, %rax\n"
                "mov %rax, 0x203010\n movl $0x64636261, 0x7000\n"
                "mov $0x200000, %eax\n mov %rax, %cr3\n"
                "1: incq 0x201000\n mov %rax, %cr3\n jmp 1b");

#define SETTLED 1000 /* instructions: the tables are there, the loop runs */

static const struct report_tools tools = {.disassemble = disassemble};
static struct rig rig;
static struct monitor monitor;
static char answer[256 << 10];

static void start(void)
{
    RIG64(&rig, mapped);
    rig.config.mmu = mmu_default_options;
    rig.config.mmu.policy = MMU_POLICY_COHERENT;
    rig_create(&rig);
    monitor = (struct monitor){.machine = rig.machine, .tools = &tools};
    rig_run(&rig, SETTLED);
}

static void stop(void)
{
    rig_destroy(&rig);
}

/* What a line is answered. */
static const char *ask(const char *line)
{
    FILE *out = fmemopen(answer, sizeof(answer), "w");

    ck_assert_ptr_nonnull(out);
    answer[0] = '\0';
    monitor_command(&monitor, line, out);
    fclose(out);
    return answer;
}

#define ANSWERS(line, text) ck_assert_str_eq(ask(line), text)
#define HOLDS(line, part)                                                                          \
    ck_assert_msg(strstr(ask(line), part) != NULL, "%s: no '%s' in: %s", line, part, answer)

/* --- Looking --- */

START_TEST(a_walk_shows_every_level)
{
    ANSWERS("walk 0x201008",
            "read of 0x201008, supervisor, paging 4-level: translated\n"
            "  level 4, PML4[0] at 0x200000: 0000000000201027 P RW US A; so far uwx\n"
            "  level 3, PDPT[0] at 0x201000: 0000000000202027 P RW US A; so far uwx\n"
            "  level 2, PD[1] at 0x202008: 0000000000203027 P RW US A; so far uwx\n"
            "  level 1, PT[1] at 0x203008: 8000000000006063 P RW A D XD; so far -w-\n"
            "  physical 0x6008, page of 4 KiB, -w- dirty, key 0\n");
    HOLDS("walk 0x200000 write user", "write of 0x200000, user, paging 4-level: access denied");
    HOLDS("walk 0x201000 user", "access denied, error code 0x5\n");
    HOLDS("walk 0x203000", "not present, error code 0\n");
    HOLDS("walk 0x203000", "PT[3] at 0x203018: 0000000000000000 not present\n");
    HOLDS("walk 0x800000000000", "not canonical\n");
    HOLDS("walk $rip fetch", "fetch of 0x1000");
}
END_TEST

/* A root that is not loaded: the PDPT taken for a PML4. */
START_TEST(a_walk_of_another_root)
{
    HOLDS("walk 0 cr3 0x201000", "PML4[0] at 0x201000: 0000000000202027");
    HOLDS("walk 0 cr3 0x50000000", "(device or hole)");
    HOLDS("maps cr3 0x5000", "nothing like that is mapped\n");
}
END_TEST

START_TEST(neighbours_with_the_same_rights_are_one_range)
{
    ANSWERS("maps in 0-0x7fffffffffff",
            "0000000000000000-00000000001fffff -wx  2 MiB in pages of 2 MiB at 0x0\n"
            "0000000000200000-0000000000200fff u-x  4 KiB in pages of 4 KiB at 0x5000\n"
            "0000000000201000-0000000000202fff -w-  8 KiB in pages of 4 KiB at 0x6000\n"
            "0000000040000000-00000000bfffffff the same tables as in the 1 GiB before, "
            "2 more times\n");
    ANSWERS("maps in 0x201800-0x2019ff",
            "0000000000201000-00000000002019ff -w-  2 KiB in pages of 4 KiB at 0x6000\n");
}
END_TEST

START_TEST(mappings_are_chosen_by_rights)
{
    ANSWERS("maps rights u in 0-0x3fffffff",
            "0000000000200000-0000000000200fff u-x  4 KiB in pages of 4 KiB at 0x5000\n");
    ANSWERS("maps rights w!x in 0-0x3fffffff",
            "0000000000201000-0000000000202fff -w-  8 KiB in pages of 4 KiB at 0x6000\n");
    ANSWERS("maps rights g", "nothing like that is mapped\n");
    HOLDS("maps rights q", "letters of u, w, x, g");
    HOLDS("maps nonsense", "what is 'nonsense'? maps [cr3 ROOT]");
    HOLDS("maps in 5", "'5' is no range");
}
END_TEST

/* The PML4 that is its own entry shows tables as pages, as the processor sees them. */
START_TEST(tables_that_hold_themselves_end)
{
    HOLDS("maps from 0xffff800000000000", "ffffff8000000000-ffffff8000001fff -wx  8 KiB in ");
    HOLDS("maps from 0xffff800000000000",
          "fffffffffffff000-ffffffffffffffff -wx  4 KiB in pages of 4 KiB at 0x200000\n");
    HOLDS("maps | tail 1", "fffffffffffff000-ffffffffffffffff -w");
}
END_TEST

START_TEST(listings_are_cut_where_asked)
{
    ANSWERS("maps head 1", "0000000000000000-00000000001fffff -wx  2 MiB in pages of 2 MiB at 0x0\n"
                           "more follow, from 0x200000 on\n");
    ANSWERS("maps | head 1",
            "0000000000000000-00000000001fffff -wx  2 MiB in pages of 2 MiB at 0x0\n");
    ANSWERS("maps in 0-0x3fffffff | tail 1",
            "0000000000201000-0000000000202fff -w-  8 KiB in pages of 4 KiB at 0x6000\n");
    ANSWERS("maps in 0-0x3fffffff | grep u-x",
            "0000000000200000-0000000000200fff u-x  4 KiB in pages of 4 KiB at 0x5000\n");
    ANSWERS("maps | head x", "head: 'x' is no number of lines\n");
    ANSWERS("maps | grep", "grep: the text to look for is missing\n");
}
END_TEST

START_TEST(what_is_derived_is_shown)
{
    HOLDS("spaces", "*  ");
    HOLDS("spaces", "shadow pages\n");
    HOLDS("shadow 0x100000", "derived: table ");
    HOLDS("shadow 0x100000", "derived: page ");
    HOLDS("shadow 0x800000000000", "not canonical");
    HOLDS("shadow nowhere", "neither");
    HOLDS("frames $cr3", "RAM; watches: page table");
    HOLDS("frames $cr3", "shadow page ");
    HOLDS("frames 0x100000", "watches: code");
    HOLDS("frames 0x100000", "TLB of space ");
    HOLDS("frames 0xf0000000", "no memory");
    HOLDS("info mmu", "mmu: fills from shadow pages");
}
END_TEST

START_TEST(the_tlb_is_listed)
{
    rig_run(&rig, SETTLED + 1); /* behind the increment */
    HOLDS("tlb",
          "supervisor    0000000000201000 -> 0x0000006000 -w-  ram, hits rw-, page of 4 KiB\n");
    HOLDS("tlb", "live: supervisor ");
    HOLDS("tlb user", "live: supervisor ");
    ck_assert_ptr_null(strstr(ask("tlb user"), "->"));
    ck_assert_ptr_null(strstr(ask("tlb in 0x300000-0x400000"), "->"));
    HOLDS("tlb cr3", "what is 'cr3'?");
}
END_TEST

START_TEST(the_tlb_of_other_spaces_is_listed)
{
    char words[64];
    unsigned number = 0;

    rig_run(&rig, SETTLED + 1);
    HOLDS("tlb all", "space 0, common to all:\n");
    HOLDS("tlb all", ", root 0x200000, paging 4-level, current:\n");
    HOLDS("tlb all", "-> 0x0000006000 -w-  ram, hits rw-, page of 4 KiB\n");
    HOLDS("tlb all head 0", " more of these\nlive: supervisor ");
    HOLDS("tlb cr3 0x200018", ", root 0x200000, paging 4-level, current:\n");
    ck_assert_ptr_null(strstr(ask("tlb cr3 0x200000"), "common"));
    ck_assert_int_eq(sscanf(ask("tlb cr3 0x200000"), "space %u,", &number), 1);
    snprintf(words, sizeof(words), "tlb space %u user", number);
    HOLDS(words, ", root 0x200000, paging 4-level, current:\nlive: ");
    HOLDS("tlb cr3 0x7000", "no such space is kept: see spaces\n");
    HOLDS("tlb space 63", "no such space is kept: see spaces\n");
    HOLDS("tlb space many", "neither");
    HOLDS("tlb space", "what is 'space'?");
    HOLDS("maps space 1", "what is 'space'?");
    HOLDS("info tlb all", "common to all");
}
END_TEST

START_TEST(memory_is_shown_as_in_qemu)
{
    ANSWERS("x /2xw 0x202000", "0000000000202000: 0x64636261 0x00000000\n");
    ANSWERS("x/4cb 0x202000", "0000000000202000: 'a' 'b' 'c' 'd'\n");
    ANSWERS("xp /1dw 0x7000", "0000000000007000: 1684234849\n");
    ANSWERS("xp /1uh 0x7000", "0000000000007000: 25185\n");
    ANSWERS("xp /ob 0x7000", "0000000000007000: 0141\n");
    ANSWERS("xp 2xg 0x203008", "0000000000203008: 0x8000000000006063 0x8000000000007003\n");
    ANSWERS("xp /9xb 0x7000", "0000000000007000: 0x61 0x62 0x63 0x64 0x00 0x00 0x00 0x00\n"
                              "0000000000007008: 0x00\n");
    HOLDS("x /1i 0x100000", "mov ecx, 0xc0000080");
    HOLDS("xp/2i 0x100005", "0x0000000000100005: 0f 32  rdmsr");
    HOLDS("x /99999999xb 0", "a count up to");
    HOLDS("x /xx 0", "a format of");
    HOLDS("x 0x203000", "Cannot access memory at 0x203000: not mapped");
}
END_TEST

START_TEST(devices_are_not_read)
{
    HOLDS("xp 0xfee00020", "registers of a device (lapic)");
    HOLDS("xp /2i 0xfee00020", "registers of a device (lapic)");
    HOLDS("xp 0x50000000", "there is no memory at physical 0x50000000");
    HOLDS("xp /2xg 0x1fffff8", "0000000001fffff8: 0x0000000000000000\nCannot access memory at "
                               "0x2000000");
    HOLDS("xp 0xffffffffffffffff", "Cannot access memory");
}
END_TEST

START_TEST(addresses_are_expressions)
{
    ANSWERS("print 0x10+1-2", "0xf\n");
    ANSWERS("p $cr3", "0x200000\n");
    ANSWERS("p cr3+8", "0x200008\n");
    ANSWERS("p -1", "0xffffffffffffffff\n");
    ANSWERS("gva2gpa 0x202010", "gpa: 0x7010\n");
    ANSWERS("gva2gpa 0x203000", "Unmapped\n");
    HOLDS("p 1+", "neither a number");
    HOLDS("p +", "neither a number");
    HOLDS("p 99999999999999999999999", "neither a number");
    HOLDS("p $st0", "neither a number");
    HOLDS("p nothing_like_it", "neither a number nor a register nor a symbol");
}
END_TEST

START_TEST(info_tells)
{
    HOLDS("info registers", "RIP=");
    HOLDS("info cpus", "* cpu0: at 0x1000");
    HOLDS("info cpus", "paging 4-level, cr3 0x200000");
    HOLDS("info status", "running; 1000 instructions, virtual time 0.000064000 s\n");
    HOLDS("info version", "Gnomon ");
    HOLDS("info mtree", "00000000fee00000-00000000fee00fff lapic\n");
    HOLDS("info mtree", "0020-0021 pic");
    HOLDS("info irq", "local APIC:");
    HOLDS("info tlb user", "live:");
    HOLDS("info mem head 1", "more follow");
    HOLDS("info stats", "stats: ");
    HOLDS("info report", "GDT");
    HOLDS("info", "info status");
    HOLDS("info nonsense", "there is no 'info nonsense'");
    HOLDS("info status 1", "nothing follows");
}
END_TEST

START_TEST(mistakes_are_told)
{
    char line[2000];

    HOLDS("nonsense", "there is no command 'nonsense'");
    HOLDS("wlak 1", "did you mean 'walk'?");
    HOLDS("walk", "walk ADDRESS");
    HOLDS("walk 1 cr3", "walk ADDRESS");
    HOLDS("step 1", "the machine runs: 'stop' it first");
    HOLDS("help walk", "walk ADDRESS");
    HOLDS("help nonsense", "there is no command");
    ANSWERS("", "");
    ANSWERS(" \t\r\n", "");
    memset(line, 'a', sizeof(line));
    line[sizeof(line) - 1] = '\0';
    HOLDS(line, "too long");
    for (size_t n = 0; n < 1000; n += 2)
        line[n] = ' ';
    line[1000] = '\0';
    HOLDS(line, "too many words");
}
END_TEST

START_TEST(every_command_has_its_help)
{
    char word[64], line[96];
    size_t typed;

    for (unsigned n = 0; monitor_complete("", 0, n, word, sizeof(word), &typed); n++) {
        snprintf(line, sizeof(line), "help %s", word);
        ck_assert_int_eq(strncmp(ask(line), word, strlen(word)), 0);
    }
    ck_assert(monitor_complete("gva", 3, 0, word, sizeof(word), &typed));
    ck_assert_str_eq(word, "gva2gpa");
    ck_assert_uint_eq(typed, 3);
    ck_assert(!monitor_complete("gva", 3, 1, word, sizeof(word), &typed));
    ck_assert(monitor_complete("info reg", 8, 0, word, sizeof(word), &typed));
    ck_assert_str_eq(word, "registers");
    ck_assert(!monitor_complete("walk x", 6, 0, word, sizeof(word), &typed));
}
END_TEST

/* docs/monitor.md has the text of help between its first lines "```" after "What `help`";
 * GNOMON_UPDATE_DOCS puts it there. */
START_TEST(the_documentation_has_every_command)
{
    const char *root = getenv("GNOMON_SOURCE");
    static char page[64 << 10];
    char path[512], *begin, *end;
    size_t size;
    FILE *file;

    if (root == NULL)
        return;
    snprintf(path, sizeof(path), "%s/docs/monitor.md", root);
    file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    size = fread(page, 1, sizeof(page) - 1, file);
    fclose(file);
    page[size] = '\0';
    begin = strstr(page, "What `help` says:\n\n```\n");
    ck_assert_ptr_nonnull(begin);
    begin = strstr(begin, "```\n") + 4;
    end = strstr(begin, "```\n");
    ck_assert_ptr_nonnull(end);
    ask("help");
    if (getenv("GNOMON_UPDATE_DOCS") != NULL) {
        file = fopen(path, "w");
        ck_assert_ptr_nonnull(file);
        fprintf(file, "%.*s%s%s", (int)(begin - page), page, answer, end);
        fclose(file);
        return;
    }
    ck_assert_msg((size_t)(end - begin) == strlen(answer) &&
                      memcmp(begin, answer, strlen(answer)) == 0,
                  "docs/monitor.md: run this test with GNOMON_UPDATE_DOCS=1");
}
END_TEST

/* Reading at any place leaves the run as it would have been. */
START_TEST(the_guest_does_not_notice)
{
    static const char *const lines[] = {
        "walk 0x200000 write user",
        "maps",
        "tlb",
        "x /64xg 0x201000",
        "xp /32i 0x100000",
        "xp 0xfee00020",
        "info report",
        "info registers",
        "gva2gpa 0x5000",
        "info mtree",
        "info irq",
        "maps cr3 0x201000",
        "x /8xb 0",
        "info stats",
        "walk 0x3fffff fetch",
    };
    uint64_t memory, state;

    rig_run(&rig, 3000);
    rig_run(&rig, 5000);
    memory = machine_memory_state_hash(rig.machine);
    state = machine_state_hash(rig.machine);
    machine_destroy(rig.machine);
    rig_create(&rig);
    monitor.machine = rig.machine;
    for (uint64_t n = 0; n <= 5000; n += n < 100 ? 1 : 100) {
        rig_run(&rig, n);
        for (size_t k = 0; k < sizeof(lines) / sizeof(lines[0]); k++)
            ask(lines[k]);
    }
    ck_assert_uint_eq(rig.result.end, MACHINE_END_TARGET);
    ck_assert_uint_eq(machine_memory_state_hash(rig.machine), memory);
    ck_assert_uint_eq(machine_state_hash(rig.machine), state);
}
END_TEST

/* --- A client --- */

static struct monitor_client client;
static const char *const *next_input; /* what is typed, stop by stop; NULL ends it */
static char heard[64 << 10];
static size_t heard_count;

static void hear(void *opaque, const void *bytes, size_t count)
{
    (void)opaque;
    ck_assert_uint_lt(heard_count + count, sizeof(heard));
    memcpy(heard + heard_count, bytes, count);
    heard_count += count;
    heard[heard_count] = '\0';
}

/* The machine is parked. */
static void wait(void *opaque, uint64_t ns)
{
    (void)opaque, (void)ns;
    monitor_client_parked(&client);
    if (client.monitor.wait != MONITOR_READY)
        return; /* a command that came before lets it go on */
    if (*next_input == NULL) {
        machine_quit(rig.machine, MACHINE_END_QUIT, 0);
        return;
    }
    monitor_client_input(&client, *next_input, strlen(*next_input));
    next_input++;
}

/* A stopped machine, and a client that types; all that it heard. */
static const char *converse(const char *const *input)
{
    RIG64(&rig, mapped);
    rig.config.host = (struct machine_host){.wait = wait};
    rig.config.mmu = mmu_default_options; /* where every CR3 load has consequences to look at */
    rig.config.mmu.policy = MMU_POLICY_FLUSH;
    rig_create(&rig);
    next_input = input;
    heard_count = 0;
    monitor_client_begin(&client, rig.machine, &tools, -1, hear, NULL);
    machine_stop(rig.machine);
    rig_run(&rig, 100000);
    monitor_client_ended(&client, "over");
    monitor_client_end(&client);
    rig_destroy(&rig);
    return heard;
}

#define CONVERSE(...) converse((const char *const[]){__VA_ARGS__, NULL})
#define HEARD(part)   ck_assert_msg(strstr(heard, part) != NULL, "no '%s' in: %s", part, heard)

START_TEST(lines_come_in_any_pieces)
{
    ck_assert_str_eq(CONVERSE("pri", "nt 1\nprint 2\r\nprint 3\rprint", " 4\n"),
                     "Gnomon's monitor; 'help' lists the commands\n"
                     "(gnomon) 0x1\n(gnomon) 0x2\n(gnomon) 0x3\n(gnomon) 0x4\n(gnomon) ");
}
END_TEST

START_TEST(long_lines_are_refused_and_forgotten)
{
    char line[3000];

    memset(line, 'x', sizeof(line));
    memcpy(line + sizeof(line) - 10, "\nprint 7\n", 10);
    CONVERSE(line);
    HEARD("(gnomon) that line is too long\n(gnomon) 0x7\n(gnomon) ");
}
END_TEST

/* The second instruction of the guest is RDMSR. */
START_TEST(steps_tell_where_they_end)
{
    CONVERSE("step\n", "step 2\nprint $rip\n");
    HEARD("stopped (steps done); 1 instructions, virtual time 0.000000064 s\n"
          "=> 0x0000000000100005: 0f 32  rdmsr \n(gnomon) ");
    HEARD("stopped (steps done); 3 instructions");
    HEARD("0x10000c\n(gnomon) ");
}
END_TEST

START_TEST(run_until_stops_there)
{
    CONVERSE("run-until instructions 1000\nrun-until time 100us\nrun-until time +1ms\n",
             "run-until instructions +10\n", "break\n", "run-until 0x100005\n");
    HEARD("stopped (run-until); 1000 instructions");
    HEARD("virtual time 0.000100032 s\n");
    HEARD("virtual time 0.001100032 s\n");
    HEARD("17198 instructions");
    HEARD("no breakpoints\n");
    HEARD("the machine has ended: over\n"); /* it never comes there again */
}
END_TEST

START_TEST(breakpoints_stop_and_stay)
{
    CONVERSE("break 0x100005\nbreak-physical 0x100007 \nbreak 0x10000c cr3 0x1000\nbreak\ncont\n"
             "wait\n",
             "cont\nwait\n", "delete 0x100005\ndelete 0x100005\nbreak 1 2\n");
    HEARD("break at 0x100005\n");
    HEARD("break at 0x10000c cr3 0x1000\n");
    HEARD("physical break at 0x100007\n");
    HEARD("stopped (breakpoint); 1 instructions");
    HEARD("stopped (breakpoint); 2 instructions");
    HEARD("no linear breakpoint at 0x100005\n");
    HEARD("cr3 ROOT\n");
}
END_TEST

/* What is typed meanwhile is kept; Ctrl-C ends the waiting, and forgets it. */
START_TEST(waiting_ends_with_control_c)
{
    CONVERSE("run-until 0x100007\nprint 1\n\x03print 2\nstop\nbreak\n");
    HEARD("(gnomon) \n(gnomon) 0x2\n(gnomon) (gnomon) no breakpoints\n");
    ck_assert_ptr_null(strstr(heard, "0x1\n"));
}
END_TEST

/* --- Events --- */

/* The loop: increment, MOV CR3, jump. Its first MOV CR3 ends the set-up. */
START_TEST(mmu_breakpoints_stop_behind_the_event)
{
    CONVERSE("break mmu cr3_load if new==0x200000\nbreak\ncont\nwait\nx /1i $rip\n",
             "cont\nwait\nx /1i $rip\nbreak\ndelete mmu 1\ndelete mmu 1\nbreak\n");
    HEARD("mmu 1: kind==cr3_load && (new==0x200000), 0 hits\n");
    HEARD("MMU breakpoint 1: ");
    HEARD("cr3_load 0x8000 -> 0x200000\n");
    HEARD("cpu0 0x1000a9 cr3_load 0x200000 -> 0x200000\n"); /* where MOV CR3 is */
    HEARD("stopped (MMU event)");
    HEARD("inc qword ptr [0x201000]\n(gnomon) ");
    HEARD("2 hits\n");
    HEARD("there is no MMU breakpoint 1\n");
    HEARD("no breakpoints\n");
}
END_TEST

START_TEST(steps_to_the_next_event)
{
    CONVERSE("wait-for load if new==0x200000\nstep mmu\nprint $rip\n",
             "wait-for tlb_fill exact if va==0x201000\nx /1i $rip\nbreak\n");
    HEARD("MMU breakpoint 1: ");
    HEARD("MMU breakpoint 2: ");
    HEARD(" walk_start ");
    HEARD("tlb_fill 0x201000 -> 0x6000, -w-, page 12, view supervisor\n");
    HEARD("mov cr3, rax\n(gnomon) no breakpoints\n"); /* behind the increment, at once */
}
END_TEST

START_TEST(events_are_kept_counted_and_chosen)
{
    CONVERSE("events\nevents on kind==load\nrun-until instructions 1000\n",
             "events 2\nevents 1 if new==1\nevents count\nevents off\n"
             "run-until instructions +100\n",
             "events 1\nevents on (\nevents x\nevents 1 if\n");
    HEARD("nothing is recorded now");
    HEARD("events are recorded\n");
    HEARD("cr3_load 0x200000 -> 0x200000\n99");
    HEARD("efer_load");
    HEARD("events are no longer recorded\n");
    HEARD("filter: a field expected");
    HEARD("'x' is neither");
    HEARD("events [N] [if FILTER]");
}
END_TEST

START_TEST(events_are_followed_until_control_c)
{
    static const char *const input[] = {"events follow kind==cr3_load\n", NULL};

    RIG64(&rig, mapped);
    rig_create(&rig);
    heard_count = 0;
    monitor_client_begin(&client, rig.machine, &tools, -1, hear, NULL);
    monitor_client_input(&client, input[0], strlen(input[0]));
    rig_run(&rig, 100);
    monitor_client_tick(&client);
    HEARD("cr3_load 0x8000 -> 0x200000\n");
    rig_run(&rig, 90000);
    monitor_client_tick(&client);
    HEARD("not shown\n");
    monitor_client_input(&client, "\x03print 5\n", 9);
    HEARD("(gnomon) 0x5\n(gnomon) ");
    heard_count = 0;
    rig_run(&rig, 91000);
    monitor_client_tick(&client);
    ck_assert_uint_eq(heard_count, 0);
    monitor_client_end(&client);
    rig_destroy(&rig);
}
END_TEST

START_TEST(events_go_to_a_file)
{
    char path[64] = "/tmp/gnomon-test-trace-XXXXXX", line[256];
    static char text[64 << 10];
    size_t size;
    FILE *file;

    close(mkstemp(path));
    snprintf(line, sizeof(line),
             "trace %s json kind==cr3_load && old==0x200000\n"
             "run-until instructions 200\ntrace off\ntrace off\ntrace /nowhere/x\ntrace -\n"
             "trace %s text (\n",
             path, "/nowhere/y");
    CONVERSE(line);
    file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    size = fread(text, 1, sizeof(text) - 1, file);
    text[size] = '\0';
    fclose(file);
    unlink(path);
    ck_assert_int_eq(strncmp(text, "{\"sequence\":0,\"kind\":\"cr3_load\"", 31), 0);
    ck_assert_ptr_null(strstr(text, "0x8000\""));
    HEARD("events go to /tmp/");
    HEARD("no trace is written\n");
    HEARD("cannot open '/nowhere/x'");
    HEARD("a trace cannot go there\n");
}
END_TEST

START_TEST(events_outlive_a_reset)
{
    start();
    ask("events on kind==cr3_load");
    ask("system_reset");
    rig_run(&rig, SETTLED + 500);
    HOLDS("events 1 if old==0x8000", "cr3_load 0x8000 -> 0x200000\n");
    ck_assert_uint_gt(strtoull(answer, NULL, 10), SETTLED);
    stop();
}
END_TEST

START_TEST(wrong_breakpoints_are_told)
{
    CONVERSE("break mmu\nbreak mmu walk_stpe\nbreak mmu fault if (\nbreak mmu fault when va==1\n"
             "wait-for\nwait-for nothing\ndelete mmu 7\ndelete mmu x\n");
    HEARD("break mmu KIND [exact] [if EXPRESSION]");
    HEARD("did you mean 'walk_step'");
    HEARD("filter: a field expected at the end");
    HEARD("what follows the kind is");
    HEARD("wait-for KIND");
    HEARD("unknown 'nothing'");
    HEARD("there is no MMU breakpoint 7\n");
}
END_TEST

START_TEST(breakpoints_have_an_end)
{
    start();
    for (unsigned n = 0; n < 32; n++)
        HOLDS("break mmu any if va==1", "MMU breakpoint");
    HOLDS("break mmu any", "there can be 32 breakpoints");
    ask("delete mmu all");
    ANSWERS("break", "no breakpoints\n");
    stop();
}
END_TEST

/* Recording, and breakpoints that are not reached, change nothing. */
START_TEST(the_guest_does_not_notice_who_listens)
{
    uint64_t state;

    start();
    rig_run(&rig, 50000);
    state = machine_state_hash(rig.machine);
    stop();
    start();
    ask("events on");
    ask("break mmu any if va==1");
    rig_run(&rig, 50000);
    ck_assert_uint_eq(machine_state_hash(rig.machine), state);
    HOLDS("events 1", "cpu0");
    stop();
}
END_TEST

START_TEST(stop_is_done_when_the_machine_stands)
{
    CONVERSE("cont\nstop\ninfo status\n");
    HEARD("stopped (asked to stop); 0 instructions");
}
END_TEST

START_TEST(quit_ends_the_machine)
{
    CONVERSE("quit\n", "print 1\n");
    ck_assert_int_eq(rig.result.end, MACHINE_END_QUIT);
    ck_assert_ptr_null(strstr(heard, "0x1"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("monitor");
    TCase *tc = tcase_create("machine"), *talk = tcase_create("client");

    tcase_add_checked_fixture(tc, start, stop);
    tcase_add_test(tc, a_walk_shows_every_level);
    tcase_add_test(tc, a_walk_of_another_root);
    tcase_add_test(tc, neighbours_with_the_same_rights_are_one_range);
    tcase_add_test(tc, mappings_are_chosen_by_rights);
    tcase_add_test(tc, tables_that_hold_themselves_end);
    tcase_add_test(tc, listings_are_cut_where_asked);
    tcase_add_test(tc, what_is_derived_is_shown);
    tcase_add_test(tc, the_tlb_is_listed);
    tcase_add_test(tc, the_tlb_of_other_spaces_is_listed);
    tcase_add_test(tc, memory_is_shown_as_in_qemu);
    tcase_add_test(tc, devices_are_not_read);
    tcase_add_test(tc, addresses_are_expressions);
    tcase_add_test(tc, info_tells);
    tcase_add_test(tc, mistakes_are_told);
    tcase_add_test(tc, every_command_has_its_help);
    tcase_add_test(tc, the_documentation_has_every_command);
    tcase_add_test(tc, the_guest_does_not_notice);
    suite_add_tcase(suite, tc);
    tcase_add_test(talk, lines_come_in_any_pieces);
    tcase_add_test(talk, long_lines_are_refused_and_forgotten);
    tcase_add_test(talk, steps_tell_where_they_end);
    tcase_add_test(talk, run_until_stops_there);
    tcase_add_test(talk, breakpoints_stop_and_stay);
    tcase_add_test(talk, waiting_ends_with_control_c);
    tcase_add_test(talk, mmu_breakpoints_stop_behind_the_event);
    tcase_add_test(talk, steps_to_the_next_event);
    tcase_add_test(talk, events_are_kept_counted_and_chosen);
    tcase_add_test(talk, events_are_followed_until_control_c);
    tcase_add_test(talk, events_go_to_a_file);
    tcase_add_test(talk, events_outlive_a_reset);
    tcase_add_test(talk, wrong_breakpoints_are_told);
    tcase_add_test(talk, breakpoints_have_an_end);
    tcase_add_test(talk, the_guest_does_not_notice_who_listens);
    tcase_add_test(talk, stop_is_done_when_the_machine_stands);
    tcase_add_test(talk, quit_ends_the_machine);
    suite_add_tcase(suite, talk);
    return run_all(suite);
}
