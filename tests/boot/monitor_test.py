#!/usr/bin/env python3
"""monitor_test.py: a guest driven through -monitor, on sockets.

Walks, mappings, breakpoints at MMU events, steps, memory; several clients, input that is no command;
and that a run which is looked at all the time is the same run.
"""

import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

PATIENCE = 60
PROMPT = "(gnomon) "

# Long mode at 1 MiB with the low 4 GiB mapped: counts at 300000h and reloads CR3, as often as the
# first number says; then the machine is powered off.
GUEST = "b9{}48ff0425000030000f20d80f22d8e2f066ba040666b8002066efebfe"
ENDLESS, ENDING = "ffffff7f", "400d0300"  # 2^31 - 1, 200000
LOOP, AFTER_CR3 = 0x100005, 0x100013

# The same with two processors, without an end. The first one starts the other at 20000h, in real
# mode, which counts at 600h, its NMI handler at 608h, and reloads CR3, too.
PAIR = (
    "66c7042508000000120066c704250a0000000020bb0000e0fec783f0000000ff010000488d3530000000"
    "bf00000200b918000000f3a40f20d8c7830003000000450c00c7830003000020460c0048ff0425000030"
    "000f22d8ebf3bb34126631c08ed866ff0600060f22d8ebf666ff060806cf")
OTHER_LOOP = 0x20008

failures = []


def check(condition, text):
    if not condition:
        failures.append(text)
        print(f"FAILED: {text}")


class Client:
    def __init__(self, address):
        end = time.monotonic() + PATIENCE
        while True:
            family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
            self.socket = socket.socket(family, socket.SOCK_STREAM)
            try:
                self.socket.connect(address)
                break
            except OSError:
                self.socket.close()
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        self.socket.settimeout(PATIENCE)
        self.text = ""
        self.count = 0xabc000

    def send(self, text):
        self.socket.sendall(text.encode("latin-1"))

    def hear(self):
        data = self.socket.recv(65536)
        if not data:
            raise EOFError(self.text)
        self.text += data.decode(errors="replace")

    def ask(self, lines):
        """What these lines are answered: all that comes before an answer that follows them."""
        self.count += 1
        mark = f"{PROMPT}{self.count:#x}\n"
        self.send(f"{lines}\nprint {self.count:#x}\n")
        while mark not in self.text:
            self.hear()
        found, self.text = self.text.split(mark, 1)
        return found.replace(PROMPT, "")

    def close(self):
        self.socket.close()


def start(*options, guest="endless.bin"):
    command = [os.environ["GNOMON_BINARY"], "-display", "none", "-serial", "null", "-machine",
               "pc,kernel-entry=flat64", "-kernel", guest, "-m", "16", "-mmu", "flush",
               *options]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)


def end(process, status=0):
    try:
        output = process.communicate(timeout=PATIENCE)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        output = process.communicate()[0] + " (killed)"
    check(process.returncode == status, f"status {process.returncode}\n{output}")
    return output


def rip(client):
    return int(client.ask("print $rip"), 16)


def session(mode):
    """Everything once; mode: the options that make it deterministic, or none."""
    machine = start("-S", "-monitor", "unix:mon,server=on,wait=off", *mode)
    c = Client("mon")
    check("stopped" in c.ask("stop\ninfo status"), "-S stops")
    check(c.ask("x /1i $rip").endswith("mov ecx, 0x7fffffff\n"), "the first instruction")
    check("level 4, PML4[0]" in c.ask(f"walk {LOOP:#x}"), "walk")
    check(re.search(r"-wx  4 GiB in pages of 2 MiB at 0x0\n", c.ask("maps")), "maps")
    check(c.ask("gva2gpa 0x300008") == "gpa: 0x300008\n", "gva2gpa")
    check("=> 0x0000000000100005: 48 ff 04 25" in c.ask("step"), "step")
    c.ask(f"run-until {AFTER_CR3:#x}")
    check(rip(c) == AFTER_CR3, "run-until an address")
    check(c.ask("x /1xg 0x300000") == "0000000000300000: 0x0000000000000001\n", "x")
    check(c.ask("xp/1dw 0x300000") == "0000000000300000: 1\n", "xp")
    check("MMU breakpoint 1" in c.ask("break mmu cr3_load if new != 0"), "break mmu")
    c.ask("cont")
    found = c.ask("wait")
    check("MMU event" in found and "cr3_load 0x" in found, f"stop at an event: {found}")
    check(rip(c) == AFTER_CR3, f"behind MOV CR3: {rip(c):#x}")
    check("kind==cr3_load && (new != 0), 1 hits" in c.ask("break"), "breakpoints are listed")
    c.ask("delete mmu 1")
    check(c.ask("break") == "no breakpoints\n", "delete mmu")
    found = c.ask("step mmu")
    check("walk_start write of 0x300000" in found or "walk_start fetch of" in found,
          f"step mmu: {found}")
    found = c.ask("wait-for tlb_fill if va in 0x300000-0x300fff")
    check("tlb_fill 0x300000 -> 0x300000" in found, f"wait-for: {found}")
    found = c.ask("tlb all")
    check(re.search(r"^space \d+, root 0x[0-9a-f]+, paging 4-level, current:$", found, re.M) and
          "live: supervisor " in found, f"tlb all: {found}")
    check(c.ask("tlb space 40") == "no such space is kept: see spaces\n", "tlb space")
    c.ask("events on kind==cr3_load")
    before = int(c.ask("print $rcx"), 16)
    c.ask("run-until instructions +4000")
    rounds = before - int(c.ask("print $rcx"), 16)
    count = int(c.ask("events count | grep cr3_load").split()[1])
    check(rounds - 1 <= count <= rounds + 1 and rounds > 500, f"{count} events, {rounds} rounds")
    check(c.ask("events 3").count("cr3_load") == 3, "the last events")
    c.ask("trace events.txt text kind==tlb_flush")
    c.ask("run-until instructions +4000")
    c.ask("trace off")
    with open("events.txt", encoding="utf-8") as file:
        lines = file.readlines()
    check(len(lines) >= 900 and all("tlb_flush cr3:" in line for line in lines), "trace")
    clients(c)
    garbage(c)
    c.ask("events off")
    c.ask("cont")
    c.send("wait\n")
    Client("mon").send("quit\n")
    machine_ended(c)
    end(machine)


def clients(c):
    """They come and go while another waits."""
    others = [Client("mon") for _ in range(5)]
    c.send("run-until time 1h\n")
    while "running" not in others[0].ask("info status"):
        time.sleep(0.01)
    for other in others:
        check("running" in other.ask("info status\nmaps\ntlb"), "others ask meanwhile")
        other.send("wait-for cr3_load if new==1\n")
        other.close()
    last = Client("mon")
    check("once" not in last.ask("break"), "what a client waited for goes with it")
    last.ask("stop")
    last.close()
    check("asked to stop" in c.ask("info status"), "another client's stop ends the waiting")


def garbage(c):
    for line in ("\0\xff\x7f", "%s%n%x", "walk " + "9" * 500, "x" * 5000, "maps in --", "| head",
                 "x /999999999999999999999xg 0", "break mmu", "events if ((((", "trace", ";",
                 "break mmu any if " + "(" * 400, "run-until time -1s", "step 0", "delete mmu x"):
        c.ask(line)
    check(c.ask("print 7") == "0x7\n", "alive after nonsense")


def machine_ended(c):
    """Reads to the end of the connection."""
    try:
        while True:
            c.hear()
    except (OSError, EOFError):
        pass
    check("the machine has ended: asked to end" in c.text, f"the end is told: {c.text}")


def watched_run(look, policy):
    """-d stats of a whole run, with clients that look all the time or without."""
    machine = start("-mmu", policy, "-icount", "shift=0", "-monitor", "unix:mon,server=on,wait=off", "-S", "-d",
                    "stats,cpu_reset", "-D", "stats.txt", guest="ending.bin")
    c = Client("mon")
    stop = threading.Event()

    def hammer():
        lines = ("maps", "tlb", "walk 0x300000 write user", "info report", "x /64xg 0x300000",
                 "info registers", "xp 0xfee00000", "info mtree", "info irq", "events 5")
        try:
            other = Client("mon")
            while not stop.is_set():
                for line in lines:
                    other.ask(line)
        except (OSError, EOFError):
            pass

    threads = [threading.Thread(target=hammer) for _ in range(3 if look else 0)]
    for thread in threads:
        thread.start()
    if look:
        c.ask("events on")
    c.ask("run-until instructions 500000")
    text = c.ask("info registers\nxp /8xg 0x300000")
    c.send("cont\nwait\n")
    try:
        while True:
            c.hear()
    except (OSError, EOFError):
        pass
    end(machine)
    stop.set()
    for thread in threads:
        thread.join()
    with open("stats.txt", encoding="utf-8") as file:
        return text, file.read()


def test_determinism(policy):
    alone, looked_at = watched_run(False, policy), watched_run(True, policy)
    check("RIP=" in alone[0] and alone[0] == looked_at[0], f"the same state: {alone[0]} {looked_at[0]}")
    check("stats:" in alone[1] and alone[1] == looked_at[1], f"the same run: {alone[1]} {looked_at[1]}")


def test_processors():
    machine = start("-S", "-smp", "2", "-icount", "shift=0", "-monitor",
                    "unix:mon,server=on,wait=off", guest="pair.bin")
    c = Client("mon")
    found = c.ask("stop\ninfo cpus")
    check(re.search(r"^\* cpu0: at 0x100000, .* running, APIC id 0\n"
                    r"  cpu1: .* waiting for start-up, APIC id 1$", found, re.M), found)
    found = c.ask(f"run-until {OTHER_LOOP:#x}")
    check("on cpu1;" in found and "=> 0x0000000000020008" in found, f"run-until on cpu1: {found}")
    check(c.ask("cpu") == "cpu1\n" and c.ask("print $rbx") == "0x1234\n", "cpu1 stopped")
    c.ask("cpu 0")
    check(c.ask("cpu") == "cpu0\n" and c.ask("print $rbx") == "0xfee00000\n", "cpu 0")
    check("* cpu0" in c.ask("info cpus") and "64-bit" in c.ask("info cpus | grep cpu0"), "marked")
    check("there is no processor 2: they are 0 to 1" in c.ask("cpu 2"), "cpu 2")
    check("paging off" in c.ask("cpu 1\nwalk 0x1000"), "the walk of cpu 1")
    check("id 0x1," in c.ask("info lapic"), "info lapic")
    counts = c.ask("xp/1dw 0x300000\nxp/1dw 0x600")
    found = c.ask("step 3")
    check("on cpu1;" in found and rip(c) == OTHER_LOOP, f"a round of cpu1: {found}")
    check(c.ask("xp/1dw 0x300000") in counts, "while cpu0 stands")
    for n in ("0", "1"):
        found = c.ask(f"wait-for cr3_load if vcpu == {n}")
        check(f"on cpu{n};" in found and f" cpu{n} 0x" in found, f"an event of cpu{n}: {found}")
    for form in ("text", "json", "chrome"):
        c.ask(f"trace events.{form} {form} kind==cr3_load\nrun-until instructions +40000\ntrace off")
        with open(f"events.{form}", encoding="utf-8") as file:
            text = file.read()
        marks = {"text": " cpu%d 0x", "json": '"vcpu":%d', "chrome": '"tid":%d,'}[form]
        check(marks % 0 in text and marks % 1 in text, f"both processors in {form}: {text[:300]}")
    check(c.ask("xp/1dw 0x608") == "0000000000000608: 0\n", "no NMI yet")
    c.ask("cpu 1\nnmi\nrun-until instructions +40000")
    check(c.ask("xp/1dw 0x608") == "0000000000000608: 1\n", "nmi goes to the chosen one")
    check(re.search(r"^cpu0: local APIC.*\ncpu1: local APIC", c.ask("info irq"), re.M), "info irq")
    found = c.ask("cpu 1\ninfo report")
    check("--- processor 1, " in found and "--- processor 0, running ---" in found, found)
    c.send("quit\n")
    end(machine)


def test_tcp():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    machine = start("-S", "-monitor", f"tcp:127.0.0.1:{port},server=on,wait=off")
    c = Client(("127.0.0.1", port))
    check("stopped" in c.ask("stop\ninfo status"), "a monitor on TCP")
    c.send("quit\n")
    end(machine)


def test_chardev():
    """A socket that a dead process left behind is no obstacle; one in use is."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind("left")
    options = ("-chardev", "socket,id=m,path=left,server=on,wait=off", "-mon",
               "chardev=m,mode=readline", "-S")
    machine = start(*options)
    c = Client("left")
    check("stopped" in c.ask("stop\ninfo status"), "a monitor on a chardev")
    second = start(*options)
    check("in use" in end(second, 125), "a socket in use is refused")
    c.send("quit\n")
    end(machine)


def test_stdio():
    command = [os.environ["GNOMON_BINARY"], "-display", "none", "-monitor", "stdio", "-S", "-machine",
               "pc,kernel-entry=flat64", "-kernel", "endless.bin"]
    result = subprocess.run(command, input="print 1\nstep\nprint 2\nquit\n", capture_output=True,
                            text=True, timeout=PATIENCE, check=False)
    check(result.returncode == 0, f"stdio: status {result.returncode} {result.stderr}")
    check("0x1\n" in result.stdout and "steps done" in result.stdout and "0x2\n" in result.stdout,
          f"stdio: {result.stdout}")


def main():
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    for name, rounds in (("endless", ENDLESS), ("ending", ENDING)):
        with open(f"{name}.bin", "wb") as file:
            file.write(bytes.fromhex(GUEST.format(rounds)))
    with open("pair.bin", "wb") as file:
        file.write(bytes.fromhex(PAIR))
    session([])
    session(["-icount", "shift=0"])
    session(["-mmu", "flush,p2m=scatter"])
    test_processors()
    for policy in ("flush", "coherent", "paranoid=1000", "coherent,p2m=scatter"):
        test_determinism(policy)
    test_tcp()
    test_chardev()
    test_stdio()
    os.chdir("/")
    subprocess.run(["rm", "-rf", folder], check=False)
    sys.exit(1 if failures else 0)


main()
