# Small flat guests for tests of the program. To be sourced:
#
#   guest <name> 16|32|64 <<'end' ...   assembles to $guests/<name>.bin and .o (with its symbols)
#   small_guests                        makes all that are in here
#
# $guests must name a folder.
# shellcheck shell=bash

guest() {
    {
        echo ".code$2"
        cat
    } | as -o "$guests/$1.o" - &&
        ld -m elf_x86_64 --entry 0 -Ttext "$([ "$2" = 16 ] && echo 0x7c00 || echo 0x100000)" \
            -o "$guests/$1.elf" "$guests/$1.o" &&
        objcopy -O binary -j .text "$guests/$1.elf" "$guests/$1.bin"
}

# Ends by power-off.
power_off='mov $0x604, %dx; mov $0x2000, %ax; out %ax, %dx; 99: jmp 99b'

small_guests() {
    # Writes a line to COM1 and one to port E9h.
    guest hello 16 <<end
        mov \$text, %si
1:      lodsb
        test %al, %al
        jz 2f
        mov \$0x3f8, %dx
        out %al, %dx
        out %al, \$0xe9
        jmp 1b
2:      $power_off
text:   .asciz "hello\n"
end
    guest debug_exit 16 <<'end'
        mov $0x21, %al
        out %al, $0xf4
1:      jmp 1b
end
    guest exit_port 16 <<'end'
        mov $42, %eax
        mov $0x5f0, %dx
        out %eax, %dx
1:      jmp 1b
end
    guest panic 16 <<'end'
        mov $1, %al
        mov $0x505, %dx
        out %al, %dx
1:      jmp 1b
end
    # Double quotes: no IDT, so that the page fault becomes a triple fault.
    guest triple 64 <<'end'
        .globl bad_store
        lidt nothing(%rip)
        mov $0x8000001234, %rbx
bad_store:
        movb $1, (%rbx)
nothing: .word 0
        .quad 0
end
    guest triple32 32 <<'end'
        lidt 1f
        mov $0x12345678, %esi
        ud2
1:      .word 0
        .long 0
end
    guest triple16 16 <<'end'
        lidt 1f
        mov $0x4321, %di
        int $0x80
1:      .word 0
        .long 0
end
    # TDPBSSD: of an extension that Gnomon does not have.
    guest gap 64 <<'end'
        lidt 1f(%rip)
        .byte 0xc4, 0xe2, 0x73, 0x5e, 0xc2
1:      .word 0
        .quad 0
end
    guest halt 16 <<'end'
        cli
        hlt
end
    guest spin 16 <<'end'
        .globl busy_loop
busy_loop:
        inc %ax
        jmp busy_loop
end
    # Sleeps from tick to tick of the PIT.
    guest ticks 16 <<'end'
        movw $1f, 0x20
        movw $0, 0x22
        mov $0x11, %al; out %al, $0x20
        mov $0x08, %al; out %al, $0x21
        mov $0x04, %al; out %al, $0x21
        mov $0x01, %al; out %al, $0x21
        mov $0xfe, %al; out %al, $0x21
        mov $0x34, %al; out %al, $0x43
        mov $0x00, %al; out %al, $0x40; out %al, $0x40
        sti
2:      hlt
        jmp 2b
1:      mov $0x20, %al; out %al, $0x20
        iret
end
    # Sends back what comes in at COM1; q ends it.
    guest echo 16 <<end
1:      mov \$0x3fd, %dx
        in %dx, %al
        test \$1, %al
        jz 1b
        mov \$0x3f8, %dx
        in %dx, %al
        out %al, %dx
        cmp \$'q', %al
        jne 1b
        $power_off
end
    guest reset 16 <<'end'
        mov $0xfe, %al
        out %al, $0x64
1:      jmp 1b
end
    # Pages, port and MMIO accesses that nobody answers, a processor reset, #UD and its handler.
    guest busy 64 <<end
        mov \$0x200000, %edi
        lea 1f(%rip), %rax
        mov %ax, 0x60(%rdi); mov %cs, 0x62(%rdi); movw \$0x8e00, 0x64(%rdi)
        shr \$16, %rax; mov %ax, 0x66(%rdi); movl \$0, 0x68(%rdi)
        movw \$0xfff, 0x1ffff0; movq \$0x200000, 0x1ffff2; lidt 0x1ffff0
        mov \$0x999, %dx; in %dx, %al
        mov 0xd0000000, %eax
        mov %cr3, %rax; mov %rax, %cr3
        ud2
        mov \$0x604, %edx; mov \$0x400, %eax; out %ax, %dx
        mov \$0x2400, %eax; out %ax, %dx
        $power_off
1:      addq \$2, (%rsp)
        iretq
end
}
