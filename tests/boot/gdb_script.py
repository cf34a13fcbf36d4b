"""Runs inside GDB: gdb -batch -x gdb_script.py, with the scenario in GDB_SCENARIO and what it needs
in GDB_* variables. Prints "ok" or "not ok" lines, and "1..N" at the end if it got there."""

import os
import re

import gdb

number = 0
exits = []
gdb.events.exited.connect(lambda event: exits.append(getattr(event, "exit_code", None)))


def check(condition, name, seen=""):
    global number
    number += 1
    print(f"{'ok' if condition else 'not ok'} {number} - {name}" + (f" # {seen}" if seen else ""))


def run(command):
    return gdb.execute(command, to_string=True)


def register(name):
    return int(gdb.parse_and_eval(f"${name}")) & (2**64 - 1)


def symbol(name):
    return int(gdb.parse_and_eval(f"(unsigned long)&{name}")) & (2**64 - 1)


def attempt(command):
    """The text of a command, or of its error."""
    try:
        return run(command)
    except gdb.error as error:
        return str(error)


def small():
    """The bare-metal guest of gdb_test.sh, from its first instruction in real mode."""
    check(register("rip") == 0x7c00, "stopped at the entry in real mode", hex(register("rip")))
    check(register("cr0") & 1 == 0, "paging and protection are off")
    run("stepi")
    check(register("rip") == 0x7c05, "a step in real mode", hex(register("rip")))
    run("stepi 3")
    run("stepi")
    check(register("rip") == symbol("protected32"), "a step into protected mode")
    run("stepi")
    check(register("rip") == symbol("protected32") + 4, "a step in it", hex(register("rip")))
    run("hbreak *loaded_segments")
    run("continue")
    check(register("rip") == symbol("loaded_segments"), "hardware breakpoint")
    check(register("cr0") & 1 == 1, "now in protected mode")
    run("break long_mode")
    run("continue")
    check(register("rip") == symbol("long_mode"), "software breakpoint behind a mode switch")
    check(register("efer") & 0x400 != 0, "EFER.LMA is seen")
    check("0x48" in run("x/1xb long_mode"), "no breakpoint byte in guest memory")
    before = register("rax")
    run("stepi")
    check(register("rax") == before + 1, "a step runs one instruction")
    run("set $rbx = 0x1122334455667788")
    run("set $xmm3.v2_int64[1] = 0x19aabbccddeeff00")
    check(register("rbx") == 0x1122334455667788, "a register can be set")
    run("set $k1 = 0x8877665544332211")
    run("set $zmm17.v8_int64[7] = 0x1234567890abcdef")
    run("set $ymm17.v4_int64[2] = 17")
    run("set $xmm17.v2_int64[1] = 0x29aabbccddeeff00")
    run("set *(int*)&word = 0x4242")
    check("0x00004242" in run("x/1xw &word"), "memory can be set")
    run("watch *(int*)&word")
    run("continue")
    check(int(gdb.parse_and_eval("*(int*)&word")) == 0x4343, "a watchpoint sees the new value")
    check(register("rip") == symbol("after_write"), "and stops behind the write")
    run("delete")
    run("rwatch *(int*)&other")
    run("continue")
    check(register("rip") == symbol("after_read"), "a read watchpoint")
    run("delete")
    check("level 4" in run("monitor walk $rip"), "monitor walk shows the levels")
    check("gpa: 0x7c00" in run("monitor gva2gpa 0x7c00"), "monitor gva2gpa")
    run("monitor physical on")
    check("0x00004343" in run("x/1xw &word"), "physical memory accesses")
    run("monitor physical off")
    check("there is no command 'nonsense'" in run("monitor nonsense"), "unknown monitor command")
    cr3 = register("cr3")
    run(f"monitor break {symbol('loop_body'):#x} cr3 {cr3 ^ 0x100000:#x}")
    run(f"monitor break {symbol('loop_end'):#x} cr3 {cr3:#x}")
    run("continue")
    check(register("rip") == symbol("loop_end"), "a breakpoint for one root only")
    run(f"monitor delete {symbol('loop_end'):#x} cr3 {cr3:#x}")
    run(f"monitor break-physical {symbol('loop_end'):#x}")
    run("stepi")
    run("continue")
    check(register("rip") == symbol("loop_end"), "a breakpoint by physical address")
    run(f"monitor delete-physical {symbol('loop_end'):#x}")
    for n in range(40):
        run(f"hbreak *{symbol('many') + n}")
    hits = 0
    for n in range(40):
        run("continue")
        hits += register("rip") == symbol("many") + n
    check(hits == 40, "forty hardware breakpoints", str(hits))
    run("delete")
    check(int(gdb.parse_and_eval("$xmm3.v2_int64[1]")) == 0x19aabbccddeeff00, "XMM registers last")
    run("stepi")  # what was set above is not what GDB remembers
    check(register("k1") == 0x8877665544332211, "opmask registers", hex(register("k1")))
    zmm17 = run("p/x $zmm17.v8_int64")
    parts = "{0x0, 0x29aabbccddeeff00, 0x11, 0x0, 0x0, 0x0, 0x0, 0x1234567890abcdef}"
    check(parts in zmm17, "ZMM registers", zmm17.strip())
    run("continue")
    check(exits == [0], "the end of the machine is told", str(exits))


def count(address):
    return int(gdb.parse_and_eval(f"*(unsigned int*){address:#x}"))


def current():
    return gdb.selected_thread().num


def of_thread(number, name):
    run(f"thread {number}")
    return register(name)


def smp():
    """Two processors, each in a loop of its own; the second one has to be started."""
    threads = run("info threads")
    check("CPU#0 [running]" in threads and "CPU#1 [waiting for start-up]" in threads,
          "two threads, one of them not started", re.sub(r"\s+", " ", threads))
    loop = 0x20000 + symbol("other_loop") - symbol("other")
    run(f"hbreak *{loop:#x}")
    run("continue")
    check(current() == 2 and register("rip") == loop, "the second processor hits a breakpoint",
          f"thread {current()} at {register('rip'):#x}")
    run("continue")
    check(current() == 2 and count(0x600) == 1, "and again, a round later", str(count(0x600)))
    run("delete")
    threads = run("info threads")
    check(threads.count("[running]") == 2, "both run", re.sub(r"\s+", " ", threads))
    check(of_thread(1, "rbx") == 0xfee00000 and of_thread(2, "rbx") == 0x1234,
          "each has registers of its own")
    check(of_thread(1, "cr0") & 1 == 1 and of_thread(2, "cr0") & 1 == 0, "and modes")
    check("* cpu1: at" in run("monitor info cpus"), "the monitor looks at the chosen one")
    check("in GDB this is 'thread'" in run("monitor cpu 0"), "and leaves the choice to GDB")
    run("thread 1")
    check("* cpu0: at" in run("monitor info cpus"), "as it changes")
    run(f"hbreak *{symbol('first'):#x}")
    run("continue")
    check(current() == 1 and register("rip") == symbol("first"), "the first one hits another")
    run("delete")

    run("set scheduler-locking on")
    before, first, second = count(0x300000), count(0x600), of_thread(2, "rip")
    run("thread 1")
    run("stepi 20")
    check(current() == 1 and count(0x300000) == before + 10, "twenty steps of the first one")
    check(of_thread(2, "rip") == second and count(0x600) == first, "while the other stands")
    before = count(0x300000)
    run("thread 2")
    run(f"tbreak *{loop:#x}")
    run("continue")
    run(f"tbreak *{loop:#x}")
    run("continue")
    check(current() == 2 and register("rip") == loop, "the second one runs alone")
    check(count(0x300000) == before and first < count(0x600) <= first + 2, "quite alone")
    run("set scheduler-locking off")
    run("thread 1")
    ours = register("rip")
    run("stepi 2")
    check(current() == 1 and register("rip") == ours, "two steps around the loop")
    run("stepi")
    check(count(0x600) > first + 100, "while the other runs", str(count(0x600)))
    run("watch *(int*)0x600")
    run("continue")
    check(current() == 2, "a watchpoint names who wrote", str(current()))
    run("delete")
    run("watch *(int*)0x300000")
    run("continue")
    check(current() == 1, "the other one, too", str(current()))
    run("delete")
    run("kill")


def linux():
    """Debian's kernel; addresses in the symbol file GDB_SYMBOLS, user program in GDB_PROGRAM."""
    run(f"hbreak *{symbol('start_kernel'):#x}")
    run("continue")
    check(register("rip") == symbol("start_kernel"), "start_kernel, before there is a console")
    run("delete")
    run(f"break *{symbol('dummy_setup'):#x}")  # a function of a module that is loaded later
    run("continue")
    check(register("rip") == symbol("dummy_setup"), "in a module")
    run("delete")
    run(f"break *{symbol('__x64_sys_getppid'):#x}")
    run("continue")
    check(register("rip") == symbol("__x64_sys_getppid"), "in a system call")
    kernel_root = register("cr3")
    run("delete")
    run(f"symbol-file {os.environ['GDB_PROGRAM']}")
    run("break *probe_function")
    run("continue")
    check(register("rip") == symbol("probe_function"), "in user space")
    check(register("cs") & 3 == 3, "at CPL 3", hex(register("cs")))
    check("probe_argument = 4711" in run("info args"), "the program's own arguments")
    check("main" in run("backtrace"), "a backtrace to main")
    run("watch probe_variable")
    run("continue")
    check(int(gdb.parse_and_eval("probe_variable")) == 4712, "a watchpoint in user space")
    run("delete")
    check(kernel_root != 0, "CR3 is seen")
    run("continue")
    check(exits == [0], "the guest powers off", str(exits))


gdb.execute("set pagination off")
gdb.execute("set confirm off")
gdb.execute("set width 0")
if "GDB_SYMBOLS" in os.environ:
    run("symbol-file " + os.environ["GDB_SYMBOLS"])
text = attempt("target remote " + os.environ["GDB_TARGET"])
check("rror" not in text and "refused" not in text, "connected", re.sub(r"\s+", " ", text)[:60])
try:
    {"small": small, "smp": smp, "linux": linux}[os.environ["GDB_SCENARIO"]]()
    print(f"1..{number}")
except gdb.error as error:
    print(f"not ok {number + 1} - {error}")
