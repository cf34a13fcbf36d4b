"""A client that is no GDB: interrupts a running guest, goes away, comes back, brings company.

gdb_raw.py SOCKET: the guest there counts at physical 600h for ever. Prints "ok" lines, and "1..N" at
the end if it got there."""

import socket
import sys

number = 0


def check(condition, name, seen=""):
    global number
    number += 1
    print(f"{'ok' if condition else 'not ok'} {number} - {name}" + (f" # {seen}" if seen else ""))


class Client:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(path)
        self.left = b""

    def send(self, text):
        data = text.encode()
        self.socket.sendall(b"$%s#%02x" % (data, sum(data) & 0xff))

    def hear(self):
        """The next packet's text; None when the connection has ended."""
        while self.left.count(b"#") == 0 or len(self.left.split(b"#", 1)[1]) < 2:
            more = self.socket.recv(65536)
            if not more:
                return None
            self.left += more
        text, rest = self.left.split(b"#", 1)
        self.left = rest[2:]
        return text[text.index(b"$") + 1:].decode()

    def ask(self, text):
        self.send(text)
        return self.hear()

    def count(self):
        return int.from_bytes(bytes.fromhex(self.ask("m600,4")), "little")


def main(path):
    client = Client(path)
    check(client.ask("?").startswith("T02"), "stopped from the start")
    before = client.count()
    for n in range(20):
        client.send("c")
        client.socket.sendall(b"\x03")
        answer = client.hear()
        if not answer.startswith("T02"):
            break
    check(answer.startswith("T02"), "interrupted twenty times", answer)
    client.send("c")
    check(client.ask("m600,4") == "E01", "no memory while it runs")
    second = Client(path)
    check(second.hear() is None, "a second client is sent away")
    client.socket.sendall(b"\x03")
    check(client.hear().startswith("T02"), "the first one is still there")
    middle = client.count()
    check(middle > before, "the guest went on meanwhile", f"{before} {middle}")
    check(client.ask("Z0,7c00,1") == "OK", "a breakpoint that stays behind")
    check(client.ask("D") == "OK" and client.hear() is None, "detached")
    client = Client(path)
    check(client.ask("?").startswith("T02"), "attached again, which stops the guest")
    while client.count() == middle:  # so fast that it had no time to run
        client.ask("D")
        client.hear()
        client = Client(path)
        client.ask("?")
    check(client.count() > middle, "it ran without a client, and without the breakpoint")
    check(client.ask("z0,7c00,1") == "E01", "which is gone")
    client.socket.close()
    client = Client(path)
    check(client.ask("?").startswith("T02"), "and again, after a client that just left")
    client.socket.sendall(b"$g#00")
    check(client.socket.recv(10) == b"-", "a wrong checksum is told")
    client.send("k")
    check(client.hear() is None, "killed")
    print(f"1..{number}")


if __name__ == "__main__":
    main(sys.argv[1])
