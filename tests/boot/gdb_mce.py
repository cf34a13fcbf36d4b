"""A client that breaks the hardware of a guest, by `monitor mce`.

gdb_mce.py SOCKET: the guest counts at 600h and has enabled banks 4 and 5; its handler of #MC counts at
604h and copies STATUS, ADDR and MISC of bank 4 and IA32_MCG_STATUS to 608h. Prints as gdb_raw.py
does."""

import sys

import gdb_raw
from gdb_raw import Client, check


def command(client, text):
    return bytes.fromhex(client.ask("qRcmd," + text.encode().hex())).decode()


def word(client, address, size=8):
    return int.from_bytes(bytes.fromhex(client.ask(f"m{address:x},{size}")), "little")


def go_on(client):
    """Until the guest has counted on."""
    before = client.count()
    while client.count() == before:
        client.send("c")
        client.socket.sendall(b"\x03")
        client.hear()


def main(path):
    client = Client(path)
    client.ask("?")
    go_on(client)
    answer = command(client, "mce 10 0x8000000000000000")
    check("no such bank" in answer, "banks end at nine", answer)
    answer = command(client, "mce 5 0x8400000000000151 0x5000")
    check("not reported" in answer, "a corrected error", answer)
    go_on(client)
    check(word(client, 0x604, 4) == 0, "raises nothing")
    answer = command(client, "mce 4 0xae00000000000135 0x1000 0x86")
    check("#MC comes next" in answer, "an uncorrected error", answer)
    go_on(client)
    check(word(client, 0x604, 4) == 1, "raises #MC once")
    check(word(client, 0x608) == 0xbe00000000000135, "STATUS", hex(word(client, 0x608)))
    check(word(client, 0x610) == 0x1000, "ADDR")
    check(word(client, 0x618) == 0x86, "MISC")
    check(word(client, 0x620) == 5, "IA32_MCG_STATUS has RIPV and MCIP")
    command(client, "mce 4 0xa000000000000135 0 0 2")
    go_on(client)
    check(word(client, 0x604, 4) == 2, "and again")
    check(word(client, 0x620) == 6, "with EIPV")
    check(word(client, 0x610) == 0, "without an address")
    client.send("k")
    print(f"1..{gdb_raw.number}")


if __name__ == "__main__":
    main(sys.argv[1])
