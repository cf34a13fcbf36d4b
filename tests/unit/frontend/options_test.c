/* The command line: what each option sets, what is refused and how. */
#include "frontend/options.h"

#include "base/host/host.h"
#include "base/log.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define ARGUMENT_MAX 64

static struct options o;
static struct error err;
static char *output;
static size_t output_size;
static FILE *out;
static char *arguments[ARGUMENT_MAX];
static unsigned argument_count;

static void setup(void)
{
    out = open_memstream(&output, &output_size);
    arguments[argument_count++] = strdup("gnomon");
}

static void teardown(void)
{
    options_destroy(&o);
    fclose(out);
    free(output);
    while (argument_count > 0)
        free(arguments[--argument_count]);
}

/* Splits at blanks; '~' stands for a blank inside an argument. */
static bool parse(const char *line)
{
    char *copy = strdup(line), *rest = copy, *word;

    options_destroy(&o);
    while (argument_count > 1)
        free(arguments[--argument_count]);
    err = (struct error){0};
    while ((word = strsep(&rest, " ")) != NULL) {
        if (*word == '\0')
            continue;
        arguments[argument_count++] = strdup(word);
        for (char *p = arguments[argument_count - 1]; (p = strchr(p, '~')) != NULL; p++)
            *p = ' ';
    }
    free(copy);
    return options_parse(&o, (int)argument_count, arguments, out, &err);
}

static void good(const char *line)
{
    ck_assert_msg(parse(line), "%s: %s", line, err.text);
    ck_assert(!err.set);
}

/* Refused, with a message that holds `part`. */
static void bad(const char *line, const char *part)
{
    ck_assert_msg(!parse(line), "%s", line);
    ck_assert_msg(strstr(err.text, part) != NULL, "'%s' is not in '%s'", part, err.text);
}

START_TEST(without_options_the_defaults_hold)
{
    good("");
    ck_assert_uint_eq(o.machine.memory_size, 128 << 20);
    ck_assert(o.machine.hpet);
    ck_assert(!o.machine.deterministic);
    ck_assert_uint_eq(o.silence_ns, 60000000000u);
}
END_TEST

START_TEST(one_and_two_dashes_and_an_equals_sign_are_alike)
{
    good("-kernel a --initrd b --append=c=d~e -m=1G --timeout 2m");
    ck_assert_str_eq(o.machine.kernel, "a");
    ck_assert_str_eq(o.machine.initrd, "b");
    ck_assert_str_eq(o.machine.append, "c=d e");
    ck_assert_uint_eq(o.machine.memory_size, 1 << 30);
    ck_assert_uint_eq(o.timeout_ns, 120000000000u);
}
END_TEST

/* What scripts written for QEMU pass, of what exists here. */
START_TEST(the_usual_command_lines_are_taken)
{
    static const char *const lines[] = {
        "-nographic -kernel k -initrd i -append console=ttyS0~quiet -m 1G -smp 1 -no-reboot",
        "-machine q35,accel=tcg -cpu qemu64 -m 512M -nodefaults -no-user-config -display none "
        "-serial stdio -monitor none -vga none -net none -kernel k",
        "-M pc -cpu max -smp cpus=1,cores=1,threads=1,sockets=1,maxcpus=1 -serial mon:stdio -nic "
        "none",
        "-machine pc-i440fx-7.2,accel=kvm:tcg,usb=off,vmport=off -accel tcg,thread=single -boot c",
        "-machine type=pc-q35-6.1,accel=tcg,smm=off,kernel_irqchip=on,graphics=off -parallel none "
        "-vnc none",
        "-accel kvm -accel tcg -cpu host,migratable=no -rtc base=utc,clock=vm -m size=256M",
        "-chardev stdio,id=c0,mux=on,signal=off,logfile=x.log -serial chardev:c0 -mon "
        "chardev=c0,mode=readline -device isa-debug-exit,iobase=0xf4,iosize=0x04",
        "-cpu qemu64,+ssse3,popcnt=on,-nx,enforce -icount shift=auto,sleep=off -device pvpanic",
        "-debugcon file:debug.log -d int,cpu_reset,guest_errors -D log -no-shutdown -name guest=x",
        "-device isa-debugcon,iobase=0x402,chardev=d -chardev file,id=d,path=f,append=on",
        "-serial file:a -serial null -serial pty -serial none -action reboot=shutdown -S",
        "-icount 7,align=off,sleep=on -rtc base=2024-01-01T00:00:00 -k en-us -L /x -pidfile p",
    };

    for (size_t n = 0; n < sizeof(lines) / sizeof(lines[0]); n++)
        good(lines[n]);
}
END_TEST

START_TEST(options_set_what_they_say)
{
    good("-nographic -no-reboot -no-shutdown -no-hpet -S -name x -symbols s -pidfile p -echr 0x14");
    ck_assert(o.nographic && o.machine.no_reboot && o.machine.no_shutdown && o.start_stopped);
    ck_assert(!o.machine.hpet);
    ck_assert_str_eq(o.name, "x");
    ck_assert_str_eq(o.symbols, "s");
    ck_assert_str_eq(o.pidfile, "p");
    ck_assert_uint_eq(o.escape, 0x14);
    good("-action reboot=shutdown,shutdown=pause -seed 7 -rtc base=2024-01-01 -silence 0");
    ck_assert(o.machine.no_reboot && o.machine.no_shutdown && o.seed_given && o.rtc_given);
    ck_assert_uint_eq(o.machine.seed, 7);
    ck_assert_int_eq(o.machine.rtc_start, 1704067200);
    ck_assert_uint_eq(o.silence_ns, 0);
    good("-icount shift=5,sleep=on --guest-timeout 20s");
    ck_assert(o.machine.deterministic && o.machine.idle_sleeps);
    ck_assert_uint_eq(o.machine.icount_shift, 5);
    ck_assert_uint_eq(o.machine.guest_timeout_ns, 20000000000u);
    good("-icount auto --guest-timeout 1e6");
    ck_assert_uint_eq(o.machine.icount_shift, 3);
    ck_assert_uint_eq(o.machine.guest_timeout_instructions, 1000000);
    good("-machine q35,kernel-entry=flat32,triple-fault=reset,hpet=off");
    ck_assert_int_eq(o.machine.kernel_entry, LOADER_ENTRY_FLAT32);
    ck_assert(o.machine.triple_fault_resets && !o.machine.hpet);
}
END_TEST

START_TEST(devices_take_their_properties)
{
    good("-device isa-debug-exit,iobase=0xf4,iosize=0x04 -device pvpanic,ioport=0x505 "
         "-device gnomon-exit");
    ck_assert(o.machine.debug_exit && o.machine.pvpanic && o.machine.exit_port);
    ck_assert_uint_eq(o.machine.debug_exit_port, 0xf4);
    ck_assert_uint_eq(o.machine.debug_exit_size, 4);
    good("-device isa-debug-exit");
    ck_assert_uint_eq(o.machine.debug_exit_port, 0x501);
    ck_assert_uint_eq(o.machine.debug_exit_size, 2);
    good("-chardev null,id=a -device isa-debugcon,chardev=a,iobase=0x402 -device "
         "isa-serial,chardev=a");
    ck_assert_uint_eq(o.machine.debugcon_port, 0x402);
    ck_assert_int_eq(o.debugcon.kind, BACKEND_NAMED);
    ck_assert_uint_eq(o.serial_count, 1);
    ck_assert_int_eq(o.serial[0].kind, BACKEND_NAMED);
}
END_TEST

START_TEST(back_ends_are_what_they_say)
{
    good("-serial mon:stdio -serial stdio -serial file:/tmp/x -serial pty -debugcon null");
    ck_assert(o.serial[0].mux && !o.serial[0].signal);
    ck_assert(!o.serial[1].mux && o.serial[1].signal);
    ck_assert_int_eq(o.serial[2].kind, BACKEND_FILE);
    ck_assert_str_eq(o.serial[2].path, "/tmp/x");
    ck_assert_int_eq(o.serial[3].kind, BACKEND_PTY);
    ck_assert_int_eq(o.debugcon.kind, BACKEND_NULL);
    good("-chardev stdio,id=a,mux=on,signal=off,logfile=l,logappend=on -serial chardev:a");
    ck_assert(o.chardevs[0].spec.mux && !o.chardevs[0].spec.signal);
    ck_assert_str_eq(o.chardevs[0].spec.log, "l");
    ck_assert(o.chardevs[0].spec.log_append);
    good("-chardev file,id=f,path=p,,q,append=on");
    ck_assert_str_eq(o.chardevs[0].spec.path, "p,q");
    ck_assert(o.chardevs[0].spec.append);
}
END_TEST

START_TEST(features_of_the_processor_are_normalised)
{
    good("-cpu host");
    ck_assert_str_eq(o.machine.cpu, "max");
    good("-cpu max,popcnt=off,+nx,check,kvm=off");
    ck_assert_str_eq(o.machine.cpu, "max,-popcnt,+nx");
    bad("-cpu Nehalem", "unknown 'Nehalem'");
    bad("-cpu qemu63", "did you mean 'qemu64'");
    bad("-cpu qemu64,+popct", "did you mean 'popcnt'");
}
END_TEST

START_TEST(log_items_add_up)
{
    good("-d int,exec -d cpu");
    ck_assert_uint_eq(o.log_mask, LOG_INT | LOG_EXEC | LOG_CPU);
    good("-d all -D f");
    ck_assert_uint_eq(o.log_mask, (1u << LOG_CATEGORY_COUNT) - 1);
    ck_assert_str_eq(o.log_file, "f");
    bad("-d in_asn", "did you mean 'in_asm'");
    bad("-d int,nonsense", "valid: int, in_asm, exec, cpu, ");
}
END_TEST

START_TEST(a_trace_needs_a_file)
{
    good("-trace mmu:kind==walk,file=t.json,format=json");
    ck_assert_str_eq(o.trace_filter, "kind==walk");
    ck_assert_str_eq(o.trace_file, "t.json");
    ck_assert_str_eq(o.trace_format, "json");
    bad("-trace mmu", "file=");
    bad("-trace events=x", "mmu");
    bad("-trace mmu,file=f,format=jsno", "did you mean 'json'");
}
END_TEST

START_TEST(what_is_unknown_is_named_with_the_nearest_spelling)
{
    bad("-kernle x", "unknown option '-kernle'; did you mean '-kernel'?");
    bad("--no-rebot", "did you mean '-no-reboot'");
    bad("-qqqqqqqqqqqq", "-help lists all");
    bad("-machine q53", "did you mean 'q35'");
    bad("-machine pc,kernel-entyr=flat16", "did you mean 'kernel-entry'");
    bad("-machine pc,kernel-entry=flat61", "did you mean 'flat16'");
    bad("-serial stido", "did you mean 'stdio'");
    bad("-device isa-debug-exti", "did you mean 'isa-debug-exit'");
    bad("-device isa-debug-exit,iobsae=1", "did you mean 'iobase'");
    bad("-accel interpp", "did you mean 'interp'");
    bad("-chardev fiel,id=a", "did you mean 'file'");
    bad("disk.img", "'disk.img' is no option");
}
END_TEST

static void arranged(const char *line, unsigned sockets, unsigned cores, unsigned threads)
{
    const struct machine_smp *smp = &o.machine.smp;

    good(line);
    ck_assert_msg(smp->topology.sockets == sockets && smp->topology.cores == cores &&
                      smp->topology.threads == threads,
                  "%s: %u x %u x %u", line, smp->topology.sockets, smp->topology.cores,
                  smp->topology.threads);
    ck_assert_uint_eq(smp->count, sockets * cores * threads);
}

/* The arrangements are those of QEMU's machine types since 6.2. */
START_TEST(processors_are_cores_unless_arranged_otherwise)
{
    arranged("", 1, 1, 1);
    arranged("-smp 1", 1, 1, 1);
    arranged("-smp 4", 1, 4, 1);
    arranged("-smp cpus=64", 1, 64, 1);
    arranged("-smp 8,sockets=2", 2, 4, 1);
    arranged("-smp 8,cores=2", 4, 2, 1);
    arranged("-smp 8,threads=2", 1, 4, 2);
    arranged("-smp 8,sockets=2,cores=2", 2, 2, 2);
    arranged("-smp 8,cores=2,threads=2", 2, 2, 2);
    arranged("-smp 8,sockets=2,threads=2", 2, 2, 2);
    arranged("-smp 6,sockets=1,cores=3,threads=2,maxcpus=6", 1, 3, 2);
    arranged("-smp maxcpus=4", 1, 4, 1);
    arranged("-smp sockets=3", 3, 1, 1);
    arranged("-smp cores=3,threads=2", 1, 3, 2);
    arranged("-smp 4,dies=1,clusters=1,modules=1,books=1,drawers=1", 1, 4, 1);
    arranged("-smp 2 -smp 4,sockets=2 -smp threads=2", 2, 1, 2);
}
END_TEST

START_TEST(turns_and_delays_are_for_tests)
{
    good("-smp 4");
    ck_assert_uint_eq(o.machine.turn_most, 0);
    ck_assert_uint_eq(o.machine.mmu_delay, 0);
    good("-smp 4,turn=1-100 -mmu flush,delay=30");
    ck_assert_uint_eq(o.machine.turn_least, 1);
    ck_assert_uint_eq(o.machine.turn_most, 100);
    ck_assert_uint_eq(o.machine.mmu_delay, 30);
    good("-smp 4,turn=50");
    ck_assert_uint_eq(o.machine.turn_least, 50);
    ck_assert_uint_eq(o.machine.turn_most, 50);
    bad("-smp 4,turn=0", "-smp: turn: '0' is not LEAST-MOST, from 1 to 1000000");
    bad("-smp 4,turn=9-8", "'9-8' is not LEAST-MOST");
    bad("-smp 4,turn=1-", "turn");
    bad("-smp 4,turn=-2", "turn");
    bad("-smp 4,turn=1-2-3", "turn");
    bad("-smp 4,turn=1-1000001", "1000001 is too large");
    bad("-mmu coherent,delay=1000001", "1000001 is too large");
    bad("-mmu coherent,delay=x", "delay");
}
END_TEST

START_TEST(arrangements_that_do_not_come_out_even_are_refused)
{
    bad("-smp 4,sockets=3", "-smp: 3 sockets x 1 cores x 1 threads are 3 processors, not 4");
    bad("-smp 2,cores=4", "-smp: 0 sockets x 4 cores");
    bad("-smp 4,sockets=1,cores=1,threads=2", "are 2 processors, not 4");
    bad("-smp 2,maxcpus=4", "cpus=2 is less than maxcpus=4: there is no firmware");
    bad("-smp 2,cores=1,maxcpus=1", "cpus=2 is more than maxcpus=1");
    bad("-smp 513", "-smp: 513 is too large, 512 at most");
    bad("-smp sockets=8,cores=8,threads=9", "-smp: 576 processors, 512 at most");
    bad("-smp cores=0", "-smp: cores: 0: there is at least one");
    bad("-smp 4,dies=2", "dies=2 is not there");
    bad("-smp 4,sokets=2", "sockets");
}
END_TEST

START_TEST(what_would_be_a_lie_is_refused)
{
    bad("-enable-kvm", "without hardware virtualization");
    bad("-accel kvm", "'kvm'");
    bad("-machine q35,accel=kvm", "'kvm'");
    bad("-machine microvm", "unknown 'microvm'");
    bad("-machine q35,smm=on", "smm=on");
    bad("-machine pc,acpi=off", "acpi=off");
    bad("-drive file=x,if=virtio", "-drive: not there yet: disks");
    bad("-hda x", "-hda: not there yet");
    bad("-cdrom x", "-cdrom: not there yet");
    bad("-netdev user,id=n", "-netdev: not there yet");
    bad("-device virtio-net-pci,netdev=n", "unknown 'virtio-net-pci'");
    bad("-vga std", "only 'none'");
    bad("-net user", "only 'none'");
    bad("-nic user", "only 'none'");
    bad("-display gtk", "'gtk' is not there yet");
    bad("-monitor vc", "-monitor: 'vc' is not there yet");
    bad("-monitor unix:", "a path of 1 to");
    bad("-monitor tcp:1.2.3.4:x", "a port from 1 to 65535");
    bad("-monitor unix:x,server=off", "server=off is not there");
    bad("-monitor unix:x,server=on,wait=on", "wait=on is not there");
    bad("-monitor pty -monitor pty -monitor pty -monitor pty -monitor pty", "4 monitors");
    bad("-mon chardev=a", "no -chardev with id=a");
    bad("-mon mode=readline", "chardev=... is missing");
    bad("-mon chardev=a -chardev pty,id=a -serial chardev:a", "needs mux=on");
    bad("-chardev socket,id=a,path=x", "only server=on");
    bad("-chardev socket,id=a,server=on", "path=... or port=...");
    bad("-mon a,mode=control -chardev null,id=a", "readline");
    bad("-qmp unix:x", "-qmp: not there yet");
    bad("-gdb 1234", "expected tcp:[HOST]:PORT or unix:PATH");
    bad("-gdb tcp::70000", "a port from 1 to 65535");
    bad("-gdb unix:", "a path of 1 to");
    bad("-serial tcp::4444", "not there yet");
    bad("-bios x", "-bios: not there yet");
    bad("-m 1G,slots=2,maxmem=4G", "cannot be added");
    bad("-icount shift=3,rr=record", "unknown 'rr'");
    bad("-sandbox on", "-sandbox: not there yet");
    bad("-action panic=none", "panic=none");
}
END_TEST

START_TEST(bad_values_are_named)
{
    bad("-kernel", "-kernel wants a value");
    bad("-nographic=on", "takes no value");
    bad("-m 0", "-m: 0");
    bad("-m 2000G", "RAM is between");
    bad("-m 1Q", "'1Q'");
    bad("-smp x", "'x' is not a number");
    bad("-smp 0", "0");
    bad("-icount shift=11", "10 at most");
    bad("-icount sleep=maybe", "'maybe'");
    bad("-rtc base=yesterday", "'yesterday'");
    bad("-seed -1", "'-1'");
    bad("-timeout soon", "'soon'");
    bad("-guest-timeout 60", "60s");
    bad("-serial file:", "nothing follows");
    bad("-chardev null", "id=");
    bad("-chardev file,id=a", "path=");
    bad("-chardev id=a", "does not begin with");
    bad("-mon nobody", "no -chardev with id=nobody");
    bad("-device isa-debug-exit,iobase=0x10000", "too large");
    bad("-device isa-debug-exit,iosize=0", "1 to 4");
    bad("-device isa-debug-exit,iosize=5", "4 at most");
    bad("-device pvpanic,ioport=0x506", "0x505");
    bad("-device isa-debugcon", "chardev=");
    bad("-device isa-serial", "chardev=");
    bad("-machine pc,triple-fault=hang", "'hang'");
    bad("-machine pc,hpet=perhaps", "'perhaps'");
    bad("-serial null -serial null -serial null -serial null -serial null", "4 serial ports");
}
END_TEST

START_TEST(monitors_have_back_ends)
{
    good("-monitor unix:/tmp/x,server=on,wait=off -monitor tcp::4444,server,nowait -monitor none "
         "-monitor stdio");
    ck_assert_uint_eq(o.monitor_count, 3);
    ck_assert_int_eq(o.monitors[0].kind, BACKEND_SOCKET);
    ck_assert_str_eq(o.monitors[0].path, "unix:/tmp/x");
    ck_assert_str_eq(o.monitors[1].path, "tcp::4444");
    ck_assert_int_eq(o.monitors[2].kind, BACKEND_STDIO);
    good("-chardev socket,id=m,path=/tmp/y,server=on,wait=off -mon chardev=m,mode=readline");
    ck_assert_str_eq(options_chardev(&o, "m", NULL)->path, "unix:/tmp/y");
    ck_assert(!options_monitor_shared(&o, &o.monitors[0]));
    good("-serial chardev:s -chardev stdio,id=s,mux=on -mon s");
    ck_assert(options_monitor_shared(&o, &o.monitors[0]));
}
END_TEST

START_TEST(empty_values_are_refused)
{
    static const char *const options[] = {"-m",      "-smp",    "-cpu",    "-accel",   "-machine",
                                          "-rtc=",   "-icount", "-device", "-chardev", "-trace",
                                          "-serial", "-d",      "-monitor"};

    for (size_t n = 0; n < sizeof(options) / sizeof(options[0]); n++) {
        char line[32];

        snprintf(line, sizeof(line), "%s=", options[n]);
        parse(line); /* whatever it says, no crash */
    }
    bad("-m=", "-m");
    bad("-cpu=", "-cpu");
    bad("-device=", "-device");
}
END_TEST

START_TEST(lists_are_printed_and_nothing_else_is_done)
{
    static const struct {
        const char *line, *part;
    } rows[] = {{"-help", "usage:"},         {"-h -nonsense", "-kernel FILE"},
                {"-version", "Gnomon"},      {"-cpu help", "qemu64"},
                {"-machine help", "q35"},    {"-accel help", "interp"},
                {"-device help", "pvpanic"}, {"-d help", "in_asm"}};

    for (size_t n = 0; n < sizeof(rows) / sizeof(rows[0]); n++) {
        good(rows[n].line);
        ck_assert(o.done);
        fflush(out);
        ck_assert_msg(strstr(output, rows[n].part) != NULL, "%s", rows[n].line);
    }
}
END_TEST

/* Puts the text of -help between the first lines "```" of the file. */
static void update(const char *path, const char *text)
{
    const char *begin = strstr(text, "\n```\n"), *end;
    FILE *file;

    ck_assert_ptr_nonnull(begin);
    begin += 5;
    end = strstr(begin, "```\n");
    ck_assert_ptr_nonnull(end);
    file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fprintf(file, "%.*s%s%s", (int)(begin - text), text, output, end);
    fclose(file);
}

/* docs/command-line.md holds the text of -help; GNOMON_UPDATE_DOCS=1 writes it. */
START_TEST(the_documentation_has_the_help)
{
    const char *root = getenv("GNOMON_SOURCE");
    char path[4096], *text;
    size_t length;

    snprintf(path, sizeof(path), "%s/docs/command-line.md", root != NULL ? root : ".");
    text = host_read_file(path, 1 << 20, &length, NULL);
    ck_assert_msg(text != NULL, "%s", path);
    text = realloc(text, length + 1);
    text[length] = '\0';
    options_print_help(out);
    fflush(out);
    if (getenv("GNOMON_UPDATE_DOCS") != NULL)
        update(path, text);
    else
        ck_assert_msg(strstr(text, output) != NULL, "%s does not hold what -help says now", path);
    free(text);
}
END_TEST

/* Arguments of random bytes and of the words that the parser looks for. */
START_TEST(no_command_line_crashes_the_parser)
{
    static const char *const words[] = {
        "-m",     "-cpu", "-device", "-chardev", "-serial", "-machine", "-d", "-icount",
        "-trace", "-rtc", "-smp",    "-mon",     "-accel",  "=",        ",",  ",,",
        "id=",    "max",  "file",    "stdio",    "0x",      "help"};
    const char *seed = getenv("GNOMON_SEED");

    srand(seed != NULL ? (unsigned)atoi(seed) : 1);
    for (unsigned n = 0; n < 3000; n++) {
        char line[256] = "";

        for (unsigned k = 0; k < 8; k++) {
            const char *w = words[(size_t)rand() % (sizeof(words) / sizeof(words[0]))];
            char noise[2] = {(char)(33 + rand() % 94), '\0'};

            strcat(line, rand() % 4 == 0 ? noise : w);
            if (rand() % 2 == 0)
                strcat(line, " ");
        }
        ck_assert(parse(line) != err.set);
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("options");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, without_options_the_defaults_hold);
    tcase_add_test(tc, one_and_two_dashes_and_an_equals_sign_are_alike);
    tcase_add_test(tc, the_usual_command_lines_are_taken);
    tcase_add_test(tc, options_set_what_they_say);
    tcase_add_test(tc, devices_take_their_properties);
    tcase_add_test(tc, back_ends_are_what_they_say);
    tcase_add_test(tc, features_of_the_processor_are_normalised);
    tcase_add_test(tc, log_items_add_up);
    tcase_add_test(tc, a_trace_needs_a_file);
    tcase_add_test(tc, what_is_unknown_is_named_with_the_nearest_spelling);
    tcase_add_test(tc, processors_are_cores_unless_arranged_otherwise);
    tcase_add_test(tc, turns_and_delays_are_for_tests);
    tcase_add_test(tc, arrangements_that_do_not_come_out_even_are_refused);
    tcase_add_test(tc, what_would_be_a_lie_is_refused);
    tcase_add_test(tc, bad_values_are_named);
    tcase_add_test(tc, monitors_have_back_ends);
    tcase_add_test(tc, empty_values_are_refused);
    tcase_add_test(tc, lists_are_printed_and_nothing_else_is_done);
    tcase_add_test(tc, the_documentation_has_the_help);
    tcase_add_test(tc, no_command_line_crashes_the_parser);
    return run_suite("options", tc);
}
