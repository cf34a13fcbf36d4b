/* Segments, gates and user code of protected-mode programs (32 and 64 bits). Usable from .S. */
#ifndef GUEST_SEGMENTS_H
#define GUEST_SEGMENTS_H

/* The GDT's rows. The order suits SYSENTER with CS 08h and SYSRET with base 18h. */
#define SEL_CODE     0x08 /* CPL 0, as wide as the program */
#define SEL_DATA     0x10
#define SEL_USER32   0x18 /* CPL 3, 32 bits */
#define SEL_UDATA    0x20
#define SEL_USER64   0x28 /* CPL 3, as wide as the program */
#define SEL_UDATA2   0x30
#define SEL_CODE32   0x38 /* CPL 0, 32 bits */
#define SEL_CODE16   0x40 /* CPL 0, 16 bits, limit FFFFh, base 0 */
#define SEL_DATA16   0x48
#define SEL_TSS      0x50 /* 16 bytes in 64-bit programs */
#define SEL_FREE     0x60 /* from here on for the program */
#define GDT_COUNT    128
#define SEL(row)     (SEL_FREE + 8 * (row))

#ifndef __ASSEMBLER__
#include "guest.h"

extern volatile uint64_t gdt[GDT_COUNT];

struct table_pointer {
    uint16_t limit;
    unsigned long base;
} __attribute__((packed));

extern struct table_pointer gdt_pointer, idt_pointer;

/* Access byte of a descriptor. */
#define ACC_P       0x80
#define ACC_DPL(n)  ((n) << 5)
#define ACC_DATA    0x10 /* read-only */
#define ACC_CODE    0x18 /* execute-only */
#define ACC_W       0x02 /* data: writable */
#define ACC_R       0x02 /* code: readable */
#define ACC_DOWN    0x04 /* data: expand-down */
#define ACC_CONF    0x04 /* code: conforming */
#define ACC_A       0x01
#define ACC_TSS16   0x01
#define ACC_LDT     0x02
#define ACC_TSS16_BUSY 0x03
#define ACC_CALL16  0x04
#define ACC_TASK    0x05
#define ACC_INT16   0x06
#define ACC_TRAP16  0x07
#define ACC_TSS     0x09
#define ACC_BUSY    0x02 /* in the type of a TSS */
#define ACC_CALL    0x0c
#define ACC_INT     0x0e
#define ACC_TRAP    0x0f
/* Flags nibble. */
#define SEG_G 0x8
#define SEG_D 0x4
#define SEG_L 0x2

/* limit: in the descriptor's units. */
static inline uint64_t descriptor(uint32_t base, uint32_t limit, unsigned access, unsigned flags)
{
    return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40 |
           (uint64_t)(limit >> 16 & 0xf) << 48 | (uint64_t)flags << 52 |
           (uint64_t)(base >> 24) << 56;
}

/* A gate's low eight bytes. */
static inline uint64_t gate(unsigned selector, uint32_t offset, unsigned access, unsigned extra)
{
    return (offset & 0xffff) | (uint64_t)selector << 16 | (uint64_t)extra << 32 |
           (uint64_t)access << 40 | (uint64_t)(offset >> 16) << 48;
}

static inline void gdt_set(unsigned selector, uint64_t value)
{
    gdt[selector / 8] = value;
}

/* The flat descriptors by privilege. */
#define FLAT_CODE32(dpl)                                                                           \
    descriptor(0, 0xfffff, ACC_P | ACC_DPL(dpl) | ACC_CODE | ACC_R, SEG_G | SEG_D)
#define FLAT_CODE64(dpl)                                                                           \
    descriptor(0, 0xfffff, ACC_P | ACC_DPL(dpl) | ACC_CODE | ACC_R, SEG_G | SEG_L)
#define FLAT_DATA(dpl)                                                                             \
    descriptor(0, 0xfffff, ACC_P | ACC_DPL(dpl) | ACC_DATA | ACC_W, SEG_G | SEG_D)

#if defined(__x86_64__)
struct tss {
    uint32_t reserved0;
    uint64_t rsp[3], reserved1, ist[7], reserved2; /* ist[0] is IST1 */
    uint16_t reserved3, io_map;
    uint8_t io_bitmap[8192 + 1];
} __attribute__((packed));
struct gate64 {
    uint64_t low, high;
};
extern volatile struct gate64 idt[256];
#else
struct tss {
    uint32_t link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp,
        esi, edi, es, cs, ss, ds, fs, gs, ldt;
    uint16_t trap, io_map;
    uint8_t io_bitmap[8192 + 1];
} __attribute__((packed));
extern volatile uint64_t idt[256];
#endif
extern volatile struct tss tss;

extern char trap_stubs[]; /* 16 bytes for each vector */

/* A gate of the IDT: access with ACC_INT or ACC_TRAP, DPL and P; ist only in 64-bit programs. */
void idt_set(unsigned vector, unsigned selector, const void *handler, unsigned access,
             unsigned ist);
/* The same for the library's own handler. */
void idt_restore(unsigned vector);

/* Everything back to how the program found it. */
void segments_init(void);

/*
 * Runs code at CPL 3 with the given stack pointer and flags until an event ends it; `trap` says
 * which. The code returns with INT 80h. run_user: IF clear, the library's user stack.
 */
void run_user_with(const void *code, unsigned selector, unsigned long sp, unsigned long flags);
void run_user(const void *code);

/* General registers of run_user: taken before, left as they were at the event. */
extern volatile unsigned long user_regs[8]; /* ax cx dx bx - bp si di */
enum { UAX, UCX, UDX, UBX, USP, UBP, USI, UDI };

/* Code for CPL 3, and variables that it may reach. */
#define USER_CODE(name, code)                                                                      \
    extern const char name[], name##_end[];                                                        \
    asm(".pushsection .user.text, \"ax\"\n" #name ": " code "\n int $0x80\n ud2\n" #name           \
        "_end:\n.popsection")
#define USER_DATA __attribute__((section(".user.data")))

extern char user_start[], user_end[]; /* 2 MiB aligned */
extern char user_stack_top[];
extern char fault_stack_top[];        /* for IST1 and task gates */
#endif

#endif
