#!/usr/bin/env python3
"""terminal_test.py <gnomon> <folder of guests>: the program on a terminal of its own.

Each test starts it on a new pseudo-terminal, types, and looks at what appears. Prints TAP lines.
"""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time

PATIENCE = 30


class Terminal:
    """The program with a pseudo-terminal as its controlling terminal."""

    def __init__(self, gnomon, guests, guest, *options):
        self.output = b""
        arguments = [gnomon, "-machine", "kernel-entry=flat16", "-kernel",
                     os.path.join(guests, guest + ".bin"), *options]
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(gnomon, arguments)
        self.status = None

    def ready(self):
        """Waits until the terminal is raw: what is typed before is for the terminal's line editor."""
        end = time.monotonic() + PATIENCE
        while self.local_modes() & termios.ICANON:
            if time.monotonic() > end:
                raise AssertionError("the terminal does not become raw")
            time.sleep(0.02)
        return self

    def read(self):
        """What has come, b"" if nothing, None at the end."""
        if not select.select([self.fd], [], [], 0.05)[0]:
            return b""
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return None
        self.output += data
        return data if data else None

    def expect(self, text):
        """Waits until the text has appeared; forgets everything up to its end."""
        text = text.encode()
        end = time.monotonic() + PATIENCE
        while text not in self.output:
            if self.read() is None or time.monotonic() > end:
                raise AssertionError(f"{text} did not appear in {self.output[-2000:]}")
        self.output = self.output.split(text, 1)[1]

    def type(self, text):
        os.write(self.fd, text.encode())

    def signal(self, number):
        os.kill(self.pid, number)

    def local_modes(self):
        return termios.tcgetattr(self.fd)[3]

    def end(self):
        """Waits for the end; the exit status."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self.read()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
                while self.read():
                    pass
                return self.status
        raise AssertionError("it did not end")

    def close(self):
        if self.status is None:
            try:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
            except OSError:
                pass
        os.close(self.fd)


def equal(found, wanted):
    if found != wanted:
        raise AssertionError(f"{found}, wanted {wanted}")


def test_ctrl_a_x_quits(start):
    t = start("spin", "-nographic").ready()
    t.type("\x01x")
    equal(t.end(), 0)


def test_ctrl_a_x_quits_a_sleeping_guest(start):
    t = start("ticks", "-nographic").ready()
    t.type("\x01x")
    equal(t.end(), 0)


def test_ctrl_a_x_quits_in_deterministic_mode(start):
    t = start("ticks", "-nographic", "-icount", "auto").ready()
    t.type("\x01x")
    equal(t.end(), 0)


def test_ctrl_a_h_helps(start):
    t = start("spin", "-nographic").ready()
    t.type("\x01h")
    t.expect("Ctrl-A x")
    t.expect("quit")
    t.type("\x01x")
    equal(t.end(), 0)


def test_another_escape_key(start):
    t = start("echo", "-nographic", "-echr", "20").ready()
    t.type("\x01")
    t.expect("\x01")
    t.type("\x14x")
    equal(t.end(), 0)


def test_keys_go_to_the_guest_and_come_back(start):
    t = start("echo", "-nographic").ready()
    t.type("hello")
    t.expect("hello")
    t.type("q")
    equal(t.end(), 0)


def test_ctrl_c_goes_to_the_guest_with_quit_keys(start):
    t = start("echo", "-nographic").ready()
    t.type("a")
    t.expect("a")
    t.type("\x03")
    t.expect("\x03")
    t.type("q")
    equal(t.end(), 0)


def test_ctrl_c_ends_gnomon_without_quit_keys(start):
    t = start("echo", "-serial", "stdio", "-display", "none").ready()
    t.type("a")
    t.expect("a")
    t.type("\x03")
    equal(t.end(), 130)


def test_the_terminal_is_raw_meanwhile_and_as_before_afterwards(start):
    t = start("echo", "-nographic").ready()
    t.type("a")
    t.expect("a")
    equal(t.local_modes() & (termios.ICANON | termios.ECHO | termios.ISIG), 0)
    t.signal(signal.SIGTERM)
    equal(t.end(), 143)
    wanted = termios.ICANON | termios.ECHO | termios.ISIG
    equal(t.local_modes() & wanted, wanted)


def test_ctrl_a_p_stops_and_continues(start):
    t = start("echo", "-nographic").ready()
    t.type("a")
    t.expect("a")
    t.type("\x01p")
    t.expect("stopped")
    t.type("b")
    time.sleep(0.3)
    t.read()
    assert b"b" not in t.output
    t.type("\x01p")
    t.expect("continued")
    t.expect("b")
    t.type("q")
    equal(t.end(), 0)


def test_ctrl_a_r_reports(start):
    t = start("spin", "-nographic").ready()
    t.type("\x01r")
    t.expect("RIP=")
    t.expect("the guest is at 0x7c0")
    t.type("\x01x")
    equal(t.end(), 0)


def test_ctrl_a_c_switches_to_the_monitor_and_back(start):
    t = start("echo", "-nographic").ready()
    t.type("a")
    t.expect("a")
    t.type("\x01c")
    t.expect("(gnomon) ")
    t.type("print 0x10+0x23\r")
    t.expect("0x33\r\n(gnomon) ")
    t.type("\x01c")
    t.type("b")
    t.expect("b")
    t.type("\x01c")
    t.expect("(gnomon) ")
    t.type("\x01x")
    equal(t.end(), 0)


def test_the_monitor_edits_completes_and_remembers_lines(start):
    t = start("spin", "-monitor", "stdio", "-display", "none", "-icount", "auto").ready()
    t.expect("(gnomon) ")
    t.type("pri\t0x4x\x7f0+7\r")          # Tab, backspace
    t.expect("0x47\r\n(gnomon) ")
    t.type("print 1\r")
    t.expect("0x1\r\n(gnomon) ")
    t.type("\x1b[A\x1b[")                 # cursor up twice, in two pieces
    time.sleep(0.2)
    t.type("A\r")
    t.expect("0x47\r\n(gnomon) ")
    t.type("info sta\t\t")                # status, stats
    t.expect("status  stats")
    t.type("tus\r")
    t.expect("running")
    t.type("quit\r")
    equal(t.end(), 0)


def test_ctrl_c_ends_what_the_monitor_waits_for(start):
    t = start("spin", "-nographic").ready()
    t.type("\x01c")
    t.expect("(gnomon) ")
    t.type("stop\rrun-until 0x1\r")
    time.sleep(0.3)
    t.type("\x03")
    t.type("print 0x20+5\r")
    t.expect("0x25\r\n(gnomon) ")
    t.type("quit\r")
    equal(t.end(), 0)


def test_sigusr2_reports_in_deterministic_mode(start):
    t = start("spin", "-nographic", "-icount", "0").ready()
    time.sleep(0.3)
    t.signal(signal.SIGUSR2)
    t.expect("the guest is at 0x7c0")
    t.type("\x01x")
    equal(t.end(), 0)


def test_a_machine_that_starts_stopped_goes_on_by_key(start):
    t = start("hello", "-nographic", "-S").ready()
    t.expect("stopped (-S)")
    time.sleep(0.2)
    t.read()
    assert b"hello" not in t.output
    t.type("\x01p")
    t.expect("hello")
    equal(t.end(), 0)


def test_a_machine_that_starts_stopped_goes_on_by_signal(start):
    for mode in ([], ["-icount", "auto"]):
        t = start("hello", "-nographic", "-S", *mode).ready()
        t.expect("stopped (-S)")
        t.signal(signal.SIGUSR1)
        t.expect("hello")
        equal(t.end(), 0)


def test_a_stopped_job_comes_back_with_a_raw_terminal(start):
    t = start("echo", "-nographic").ready()
    t.type("a")
    t.expect("a")
    t.signal(signal.SIGSTOP)
    attributes = termios.tcgetattr(t.fd)
    attributes[3] |= termios.ICANON | termios.ECHO
    termios.tcsetattr(t.fd, termios.TCSANOW, attributes)
    t.signal(signal.SIGCONT)
    time.sleep(0.3)
    equal(t.local_modes() & termios.ICANON, 0)
    t.type("q")
    equal(t.end(), 0)


def test_a_silent_terminal_is_left_alone(start):
    t = start("spin", "-nographic", "--silence", "0.2", "--timeout", "1").ready()
    equal(t.end(), 4)
    assert b"no output" not in t.output


def test_a_hang_up_ends(start):
    t = start("spin", "-nographic").ready()
    time.sleep(0.3)
    t.signal(signal.SIGHUP)
    equal(t.end(), 129)


def serial_on_pty(start, *mode):
    """COM1 on a second pseudo-terminal, which somebody opens."""
    t = start("echo", "-serial", "pty", "-display", "none", *mode)
    t.expect("serial port 1 is ")
    while b"\n" not in t.output:
        t.read()
    name = re.match(rb"\S+", t.output).group(0).decode()
    fd = os.open(name, os.O_RDWR | os.O_NOCTTY)
    os.write(fd, b"xyz\x01\x03")
    got, end = b"", time.monotonic() + PATIENCE
    while got != b"xyz\x01\x03" and time.monotonic() < end:
        if select.select([fd], [], [], 0.1)[0]:
            got += os.read(fd, 100)
    equal(got, b"xyz\x01\x03")
    os.write(fd, b"q")
    equal(t.end(), 0)
    os.close(fd)


def test_a_serial_port_on_a_pty(start):
    serial_on_pty(start)


def test_a_serial_port_on_a_pty_in_deterministic_mode(start):
    serial_on_pty(start, "-icount", "auto")


def test_a_background_job_is_not_stopped(start):
    """A job that the shell does not have in the foreground must not read or set the terminal."""
    gnomon, guests = sys.argv[1], sys.argv[2]
    script = (f"set -m; {gnomon} -nographic -machine kernel-entry=flat16 "
              f"-kernel {guests}/hello.bin & wait $!; echo status $?")
    pid, fd = pty.fork()
    if pid == 0:
        os.execvp("bash", ["bash", "-c", script])
    output, end = b"", time.monotonic() + PATIENCE
    while b"status" not in output and time.monotonic() < end:
        if select.select([fd], [], [], 0.1)[0]:
            try:
                output += os.read(fd, 4096)
            except OSError:
                break
    subprocess.run(["kill", "-KILL", str(pid)], check=False, stderr=subprocess.DEVNULL)
    os.waitpid(pid, 0)
    os.close(fd)
    assert b"hello" in output and b"status 0" in output, output


def main():
    gnomon, guests = sys.argv[1:3]
    tests = [(name, f) for name, f in globals().items() if name.startswith("test_")]
    failed = 0
    for name, function in tests:
        started = []

        def start(*arguments):
            started.append(Terminal(gnomon, guests, *arguments))
            return started[-1]

        try:
            function(start)
            print("ok -", name[5:].replace("_", " "))
        except (AssertionError, OSError) as error:
            failed += 1
            print("not ok -", name[5:].replace("_", " "))
            print("#", str(error)[:3000])
        for t in started:
            t.close()
    sys.exit(failed > 0)


main()
