#!/bin/bash
# gdb_test.sh small|smp|linux|raw|mce: a debugger on a guest.
#
#   small  the real GDB, by the script gdb_script.py, on a bare-metal program from real to long mode
#   smp    the same on two processors, each in a loop of its own: threads
#   linux  the same on Debian's kernel: early boot, a module, a system call, a user program
#   raw    a client that is no GDB, gdb_raw.py: interrupts, leaves, comes back
#   mce    the same client breaks the hardware, gdb_mce.py, of a guest that handles #MC
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

gnomon=${GNOMON_BINARY:-build/release/gnomon}
for tool in gdb as ld gcc; do
    command -v "$tool" >/dev/null || {
        echo "no $tool: skipped"
        exit 77
    }
done
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$work"' EXIT
export guests=$work
# shellcheck source=tests/boot/guests.sh
. tests/boot/guests.sh

# debug <scenario> <gnomon options...>
debug() {
    local scenario=$1
    shift
    timeout 600 "$gnomon" -display none -icount shift=0 -S -gdb "unix:$work/socket" "$@" \
        </dev/null >"$work/out" 2>&1 &
    local emulator=$!
    for _ in {1..100}; do
        [ ! -S "$work/socket" ] || break
        sleep 0.1
    done
    local client=(gdb -nx -q -batch -x tests/boot/gdb_script.py)
    [ "$scenario" != raw ] || client=(python3 tests/boot/gdb_raw.py "$work/socket")
    [ "$scenario" != mce ] || client=(python3 tests/boot/gdb_mce.py "$work/socket")
    GDB_SCENARIO=$scenario GDB_TARGET=$work/socket timeout 600 "${client[@]}" \
        >"$work/gdb.out" 2>"$work/gdb.err"
    wait "$emulator"
    local status=$?
    grep -E '^(not )?ok|^1\.\.' "$work/gdb.out"
    if grep -q '^not ok' "$work/gdb.out" || ! grep -q '^1\.\.' "$work/gdb.out" ||
        [ "$status" -ne 0 ]; then
        echo "FAILED: gnomon's status $status"
        sed 's/^/# /' "$work/gdb.out" "$work/gdb.err" "$work/out" | tail -n 40
        return 1
    fi
}

small() {
    guest program 16 <<end
        .globl protected32, loaded_segments, long_mode, word, other, after_write, after_read
        .globl loop_body, loop_end, many
        lgdt gdt_pointer
        mov %cr0, %eax
        or \$1, %al
        mov %eax, %cr0
        ljmp \$8, \$protected32
        .code32
protected32:
        mov \$16, %ax
        mov %ax, %ds
        mov %ax, %es
        mov %ax, %ss
loaded_segments:
        mov \$0x7000, %esp
        movl \$0x2003, 0x1000
        movl \$0x83, 0x2000
        mov \$0x1000, %eax
        mov %eax, %cr3
        mov \$0x220, %eax
        mov %eax, %cr4
        mov \$0xc0000080, %ecx
        rdmsr
        or \$0x100, %eax
        wrmsr
        mov %cr0, %eax
        or \$0x80000000, %eax
        mov %eax, %cr0
        ljmp \$24, \$long_mode
        .code64
long_mode:
        inc %rax
        movl \$0x4343, word
after_write:
        mov other, %ecx
after_read:
        mov \$3, %ecx
loop_body:
        nop
loop_end:
        loop loop_body
many:   .fill 40, 1, 0x90
        mov \$0x604, %dx
        mov \$0x2000, %ax
        out %ax, %dx
1:      jmp 1b
        .balign 8
word:   .long 0
other:  .long 0
gdt:    .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00af9b000000ffff
gdt_pointer:
        .word 31
        .long gdt
end
    GDB_SYMBOLS=$work/program.elf debug small -kernel "$work/program.bin" \
        -machine pc,kernel-entry=flat16 -cpu max -m 4
}

# The second processor is started at 20000h, in real mode; it counts at 600h, the first at 300000h.
smp() {
    guest program 64 <<'end'
        .globl first, other, other_loop
        mov $0xfee00000, %ebx
        movl $0x1ff, 0xf0(%rbx)
        lea other(%rip), %rsi
        mov $0x20000, %edi
        mov $(other_end - other), %ecx
        rep movsb
        movl $0xc4500, 0x300(%rbx)
        movl $0xc4620, 0x300(%rbx)
first:  incq 0x300000
        jmp first
        .code16
other:  mov $0x1234, %bx
        xor %eax, %eax
        mov %ax, %ds
other_loop:
        incl 0x600
        jmp other_loop
other_end:
end
    GDB_SYMBOLS=$work/program.elf debug smp -kernel "$work/program.bin" \
        -machine pc,kernel-entry=flat64 -smp 2 -m 4
}

raw() {
    guest program 16 <<end
1:      incl 0x600
        jmp 1b
end
    debug raw -kernel "$work/program.bin" -machine pc,kernel-entry=flat16 -m 1
}

# Counts at 600h; the handler counts at 604h and copies the bank's registers to 608h.
mce() {
    guest program 16 <<'end'
        .macro copy msr, to
        mov $\msr, %ecx
        rdmsr
        mov %eax, \to
        mov %edx, \to + 4
        .endm
        .macro write msr, value
        mov $\msr, %ecx
        mov $\value, %eax
        mov %eax, %edx
        wrmsr
        .endm
        movw $handler, 18 * 4
        movw $0, 18 * 4 + 2
        mov %cr4, %eax
        or $0x40, %al
        mov %eax, %cr4
        write 0x17b, -1
        write 0x410, -1
        write 0x414, -1
1:      incl 0x600
        jmp 1b
handler:
        pushal
        incl 0x604
        copy 0x411, 0x608
        copy 0x412, 0x610
        copy 0x413, 0x618
        copy 0x17a, 0x620
        write 0x411, 0
        write 0x17a, 0
        popal
        iret
end
    debug mce -kernel "$work/program.bin" -machine pc,kernel-entry=flat16 -m 1
}

linux() {
    . tests/boot/images.sh
    local kernel modules image
    kernel=$(kernel_image) && modules=$(kernel_modules) || exit 77
    cat >"$work/probe.c" <<'end'
#include <unistd.h>
int probe_variable;
__attribute__((noinline)) int probe_function(int probe_argument)
{
    probe_variable = probe_argument + 1;
    return probe_variable;
}
int main(void)
{
    return getppid() < 0 || probe_function(4711) != 4712;
}
end
    gcc -static -g -O1 -fno-pie -no-pie -o "$work/probe" "$work/probe.c" || exit 77
    cat >"$work/init" <<'end'
#!/bin/sh
/bin/busybox mount -t proc proc /proc
/bin/busybox insmod /dummy.ko
/bin/busybox grep -E ' (start_kernel|dummy_setup|__x64_sys_getppid)(\s|$)' /proc/kallsyms
/probe && echo PROBE_OK
/bin/busybox poweroff -f
end
    chmod +x "$work/init"
    # shellcheck disable=SC2154
    image=$(GNOMON_CACHE=$images_cache initramfs gdb "$work/init" "$work/probe=probe" \
        "$modules/kernel/drivers/net/dummy.ko=dummy.ko") || exit 77
    local boot=(-kernel "$kernel" -initrd "$image" -append "console=ttyS0" -m 256)
    timeout 600 "$gnomon" -display none -serial stdio -icount shift=0 --guest-timeout 8e9 \
        "${boot[@]}" </dev/null >"$work/first" 2>&1
    # Absolute symbols from what the guest said of itself; a kernel entered directly never moves.
    tr -d '\r' <"$work/first" | sed -nE 's/^([0-9a-f]{16}) [tT] (\w+).*/\2 = 0x\1/p' >"$work/symbols"
    [ "$(wc -l <"$work/symbols")" -ge 3 ] || {
        echo "FAILED: the guest did not list its symbols"
        tail -n 20 "$work/first"
        return 1
    }
    sed -E 's/^(\w+) =.*/.globl \1\n.type \1, @function\n&/' "$work/symbols" |
        as -o "$work/symbols.o" - && ld -r -o "$work/symbols.elf" "$work/symbols.o" || return 1
    GDB_SYMBOLS=$work/symbols.elf GDB_PROGRAM=$work/probe debug linux "${boot[@]}"
}

"$1"
