"""The machines that are measured: how each is started, and what is watched while it runs."""

import os
import re
import select
import shutil
import signal
import subprocess
import time

import images
from images import Failure

MEMORY_MIB = 512


class Peer:
    """One way to run the guest program. native: no guest, no boot."""

    native = False
    boots = ("user",)  # user: as a user boots; pvh: vmlinux at its PVH entry
    mode = []          # further options of the emulator
    processors = 1
    asked = False      # does the runner write to the guest's console?

    def __init__(self, options):
        self.options = options
        self.work = options.work
        self.files = []

    def version(self):
        raise NotImplementedError

    def command(self, kernel, append):
        """Arguments of the emulator for a kernel file and its command line."""
        raise NotImplementedError

    def smp(self):
        return ["-smp", str(self.processors)] if self.processors > 1 else []

    def input(self):
        return subprocess.PIPE if self.asked else subprocess.DEVNULL

    def start(self, boot, environment):
        """Starts it; returns the process and the descriptor of its console."""
        append = " ".join(["console=ttyS0", "quiet", "panic=-1"] +
                          [f"{name}={value}" for name, value in environment.items()] +
                          self.options.append)
        kernel = images.vmlinux(self.work) if boot == "pvh" else images.bzimage()
        process = subprocess.Popen(self.command(kernel, append), stdin=self.input(),
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return process, process.stdout.fileno()

    def clean(self):
        for path in self.files:
            if os.path.exists(path):
                os.remove(path)
        self.files = []


class Gnomon(Peer):
    boots = ("user", "pvh")

    def version(self):
        text = images.command([self.options.gnomon, "-version"]).splitlines()[0]
        try:
            commit = images.command(["git", "-C", images.ROOT, "describe", "--always", "--dirty"])
        except Failure:
            return text
        return f"{text} ({commit.strip()})"

    def command(self, kernel, append):
        return [self.options.gnomon, "-display", "none", "-serial", "stdio", "-no-reboot",
                "-m", str(MEMORY_MIB), "-kernel", kernel, "-initrd",
                images.initramfs(self.work), "-append", append] + self.smp() + \
            self.mode + self.options.gnomon_option


class GnomonDeterministic(Gnomon):
    boots = ("user",)
    mode = ["-icount", "shift=auto"]


class Qemu(Peer):
    boots = ("user", "pvh")

    def version(self):
        return images.command(["qemu-system-x86_64", "--version"]).splitlines()[0]

    def command(self, kernel, append):
        return ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-m", str(MEMORY_MIB),
                "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", kernel,
                "-initrd", images.initramfs(self.work), "-append", append] + self.smp() + \
            self.mode


BOCHSRC = """megs: {memory}
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0-master: type=cdrom, path={cd}, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev={console}
display_library: rfb, options="timeout=0"
cpu: model=corei7_sandy_bridge_2600k, count=1, ips=100000000
clock: sync=none
sound: waveoutdrv=dummy
log: /dev/null
"""


class Bochs(Peer):
    def version(self):
        shown = images.command(["dpkg-query", "-W", "-f", "${Version}", "bochs"])
        return f"Debian's bochs {shown}"

    def start(self, boot, environment):
        append = " ".join(["console=ttyS0", "quiet", "panic=-1"] +
                          [f"{name}={value}" for name, value in environment.items()] +
                          self.options.append)
        cd = images.boot_cd(self.work, append)
        console = os.path.join(self.work, f"console.{os.getpid()}")
        rc = os.path.join(self.work, f"bochsrc.{os.getpid()}")
        self.files = [cd, console, rc]
        os.mkfifo(console)
        with open(rc, "w", encoding="ascii") as file:
            file.write(BOCHSRC.format(memory=MEMORY_MIB, cd=cd, console=console))
        reader = os.open(console, os.O_RDWR | os.O_NONBLOCK)
        try:
            process = subprocess.Popen(["bochs", "-q", "-f", rc], stdin=subprocess.PIPE,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except FileNotFoundError:
            raise Failure("bochs is not installed (deps/install.sh bench)") from None
        process.stdin.write(b"c\n" * 16)  # Debian's has its debugger: continue
        process.stdin.flush()
        return process, reader


class Native(Peer):
    native = True
    boots = ()

    def version(self):
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
        return names[0] if names else os.uname().machine

    def start(self, boot, environment):
        cores = sorted(os.sched_getaffinity(0))[-self.processors:]
        program = images.guest_program(self.work)
        process = subprocess.Popen([program], stdin=self.input(), stdout=subprocess.PIPE,
                                   env={**os.environ, **environment},
                                   preexec_fn=lambda: os.sched_setaffinity(0, cores))
        return process, process.stdout.fileno()


PEERS = {"native": Native, "gnomon": Gnomon, "gnomon-icount": GnomonDeterministic, "qemu": Qemu,
         "bochs": Bochs}


def cpu_time(process):
    """Processor time of all threads of a process, in s: the clock that clock_getcpuclockid(3)
    would give."""
    return time.clock_gettime(~process.pid << 3 | 2)


def memory_use(process):
    """Resident KiB of a stopped process: (all, of guest RAM). Guest RAM is what lies in mappings
    large enough to be it."""
    total = guest = size = 0
    with open(f"/proc/{process.pid}/smaps", encoding="ascii", errors="replace") as file:
        for line in file:
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
            if match:
                size = int(match[2], 16) - int(match[1], 16)
            elif line.startswith("Rss:"):
                kib = int(line.split()[1])
                total += kib
                if size >= MEMORY_MIB << 19:
                    guest += kib
    return total, guest


class Run:
    """One guest from start to its last line. Times are seconds of the host's clock."""

    def __init__(self, peer, boot, environment, timeout):
        self.started = time.monotonic()
        self.process, self.console = peer.start(boot, environment)
        self.deadline = self.started + timeout
        self.pending = b""
        self.text = b""

    def lines(self):
        """Yields (line, wall time, processor time of the emulator)."""
        while True:
            left = self.deadline - time.monotonic()
            if left <= 0:
                raise Failure("no end in sight: timeout")
            ready, _, _ = select.select([self.console], [], [], min(left, 0.5))
            if not ready:
                if self.process.poll() is not None:
                    return
                continue
            data = os.read(self.console, 65536)
            if not data:
                return
            wall, cpu = time.monotonic(), self.cpu()
            self.text += data
            *complete, self.pending = (self.pending + data).split(b"\n")
            for line in complete:
                yield line.strip().decode("ascii", "replace"), wall, cpu

    def cpu(self):
        try:
            return cpu_time(self.process)
        except OSError:
            return 0.0

    def memory(self):
        """Stops the process for good and looks at its memory."""
        try:
            os.kill(self.process.pid, signal.SIGSTOP)
            return memory_use(self.process)
        except OSError:
            return None

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        if self.process.stdout is None:
            os.close(self.console)


def available(name, options):
    """Why a peer cannot run here, or None."""
    needed = {"qemu": ["qemu-system-x86_64"], "bochs": ["bochs", "grub-mkrescue", "xorriso"]}
    if name.startswith("gnomon") and not os.access(options.gnomon, os.X_OK):
        return f"{options.gnomon} is not there: cmake --build build/release --target gnomon"
    for program in needed.get(name, []):
        if shutil.which(program) is None:
            return f"{program} is not installed (deps/install.sh bench)"
    return None
