"""What the guests boot: the guest program, its initramfs, Debian's kernel in its two forms, and a
CD for emulators that boot nothing else. Everything is made below one work folder and kept there."""

import gzip
import lzma
import os
import shutil
import struct
import subprocess
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


class Failure(Exception):
    """Something the user can mend; the text says what."""


def command(arguments, **options):
    """Runs a command and returns its output."""
    try:
        done = subprocess.run(arguments, check=True, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, **options)
    except FileNotFoundError:
        raise Failure(f"{arguments[0]} is not installed (deps/install.sh bench)") from None
    except subprocess.CalledProcessError as e:
        raise Failure(f"{' '.join(arguments)}: status {e.returncode}\n{e.output}") from None
    return done.stdout


def newer(path, sources):
    """Is the file there and newer than what it is made of?"""
    return os.path.exists(path) and all(os.path.getmtime(path) > os.path.getmtime(s)
                                        for s in sources)


def write(path, content):
    """Replaces a file as a whole: other runs may be reading it."""
    with open(f"{path}.{os.getpid()}", "wb") as file:
        file.write(content)
    os.replace(f"{path}.{os.getpid()}", path)


def guest_program(work):
    """The guest program, linked statically; it runs natively as well."""
    folder = os.path.join(HERE, "guest")
    files = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    sources = [f for f in files if f.endswith(".c")]
    program = os.path.join(work, "bench")
    if not newer(program, files):
        part = f"{program}.{os.getpid()}"
        command(["gcc", "-std=gnu17", "-O2", "-static", "-fno-math-errno", "-Wall", "-Werror",
                 "-o", part] + sources + ["-lm"])
        os.replace(part, program)
    return program


def cpio_entry(name, mode, content=b"", device=(0, 0)):
    """A member of a cpio archive in the form "newc", owned by root."""
    fields = [0, mode, 0, 0, 1, 0, len(content), 0, 0, device[0], device[1], len(name) + 1, 0]
    header = b"070701" + b"".join(b"%08x" % f for f in fields) + name.encode() + b"\0"
    return header + bytes(-len(header) % 4) + content + bytes(-len(content) % 4)


def initramfs(work):
    """An initramfs with the guest program as its only process."""
    program = guest_program(work)
    image = os.path.join(work, "initramfs.gz")
    if not newer(image, [program, __file__]):
        with open(program, "rb") as file:
            content = file.read()
        archive = (cpio_entry("dev", 0o40755) +
                   cpio_entry("dev/console", 0o20600, device=(5, 1)) +
                   cpio_entry("init", 0o100755, content) +
                   cpio_entry("TRAILER!!!", 0))
        write(image, gzip.compress(archive, mtime=0))
    return image


def bzimage():
    """Debian's kernel, as it is in its package."""
    script = os.path.join(ROOT, "tests", "boot", "images.sh")
    found = command(["bash", "-c", f". '{script}' 2>/dev/null && kernel_image 2>/dev/null"])
    return found.strip().splitlines()[-1]


def decompressed(payload):
    if payload.startswith(b"\xfd7zXZ"):
        return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(payload)
    if payload.startswith(b"\x1f\x8b"):
        return zlib.decompressobj(31).decompress(payload)
    if payload.startswith(b"\x28\xb5\x2f\xfd"):
        return subprocess.run(["zstd", "-dc"], input=payload, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, check=False).stdout
    raise Failure("the kernel is compressed in a way that is not known here")


def vmlinux(work):
    """The ELF file in the bzImage (Linux's Documentation/arch/x86/boot.rst, payload_offset)."""
    source = bzimage()
    image = os.path.join(work, "vmlinux")
    if not newer(image, [source]):
        with open(source, "rb") as file:
            content = file.read()
        start = (content[0x1f1] + 1) * 512
        offset, length = struct.unpack_from("<II", content, 0x248)
        elf = decompressed(content[start + offset:start + offset + length])
        if not elf.startswith(b"\x7fELF"):
            raise Failure(f"{source}: no ELF file in it")
        write(image, elf)
    return image


def boot_cd(work, append):
    """A CD that boots kernel and initramfs by GRUB, from the BIOS, without a menu."""
    folder = os.path.join(work, f"cd.{os.getpid()}")
    os.makedirs(os.path.join(folder, "boot", "grub"), exist_ok=True)
    shutil.copy(bzimage(), os.path.join(folder, "boot", "vmlinuz"))
    shutil.copy(initramfs(work), os.path.join(folder, "boot", "initrd.gz"))
    with open(os.path.join(folder, "boot", "grub", "grub.cfg"), "w", encoding="ascii") as file:
        file.write("set timeout=0\nmenuentry bench {\n"
                   f"  linux /boot/vmlinuz {append}\n  initrd /boot/initrd.gz\n}}\n")
    image = os.path.join(work, f"boot.{os.getpid()}.iso")
    command(["grub-mkrescue", "-o", image, folder])
    shutil.rmtree(folder)
    return image
