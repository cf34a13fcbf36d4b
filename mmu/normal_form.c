/* Guest table entries in normal form, and the shapes that say how entries are to be read. */
#include "mmu/shadow.h"

uint64_t shadow_normal(struct walk_role role, unsigned level, uint64_t raw)
{
    struct walk_entry e = walk_decode(role, level, raw);
    uint64_t word;

    if (e.kind == WALK_ENTRY_ABSENT)
        return SHADOW_ABSENT;
    if (e.kind == WALK_ENTRY_RESERVED)
        return SHADOW_UNKNOWN;
    word = (uint64_t)e.rights << SHADOW_RIGHTS_SHIFT | (raw & PTE_A ? SHADOW_A : 0) | e.base;
    if (e.kind == WALK_ENTRY_TABLE)
        return word | SHADOW_TABLE;
    word |= (raw & PTE_G ? SHADOW_G : 0) | (raw & PTE_D ? SHADOW_D : 0);
    if (role.mode >= WALK_4LEVEL)
        word |= bits_get(raw, 59, 4) << SHADOW_PKEY_SHIFT;
    return word | SHADOW_LEAF;
}

unsigned shadow_shape(struct walk_role role, unsigned level)
{
    return level | (unsigned)role.mode << 3 | (unsigned)role.nxe << 6 | (unsigned)role.pse << 7 |
           (unsigned)role.gib_pages << 8;
}

struct walk_role shadow_shape_role(unsigned shape, uint8_t physical_bits)
{
    return (struct walk_role){
        .mode = (enum walk_mode)(shape >> 3 & 7),
        .nxe = shape >> 6 & 1,
        .pse = shape >> 7 & 1,
        .gib_pages = shape >> 8 & 1,
        .physical_bits = physical_bits,
    };
}

bool shadow_same(uint64_t old, uint64_t new)
{
    const uint64_t marks = SHADOW_A | SHADOW_D, meaning = BIT64(SHADOW_CHILD_SHIFT) - 1;

    return ((old ^ new) & ~marks & meaning) == 0 && (old & ~new &marks) == 0;
}
