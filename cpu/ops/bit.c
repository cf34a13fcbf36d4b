/* BT, BTS, BTR, BTC, BSF, BSR, POPCNT, CRC32. */
#include "cpu/ops/alu.h"
#include "cpu/ops/operand.h"

/* New value of the operand whose bit n was looked at. */
#define BIT_VALUES(bits)                                                                           \
    static inline uint##bits##_t bts_value##bits(uint##bits##_t a, unsigned n)                     \
    {                                                                                              \
        return (uint##bits##_t)(a | (uint##bits##_t)1 << n);                                       \
    }                                                                                              \
    static inline uint##bits##_t btr_value##bits(uint##bits##_t a, unsigned n)                     \
    {                                                                                              \
        return (uint##bits##_t)(a & ~((uint##bits##_t)1 << n));                                    \
    }                                                                                              \
    static inline uint##bits##_t btc_value##bits(uint##bits##_t a, unsigned n)                     \
    {                                                                                              \
        return (uint##bits##_t)(a ^ (uint##bits##_t)1 << n);                                       \
    }                                                                                              \
    /* Linear address of the unit that holds bit `offset` (signed) of the bit string at the memory \
     * operand. */                                                                                 \
    static inline uint64_t bit_string_linear##bits(struct vcpu *cpu, const struct insn *i,         \
                                                   uint##bits##_t offset, enum mmu_access access)  \
    {                                                                                              \
        int64_t unit = (int64_t)(int##bits##_t)offset >> __builtin_ctz(bits);                      \
        return mem_linear_moved(cpu, i, unit * (bits / 8), bits / 8, access);                      \
    }

BIT_VALUES(16)
BIT_VALUES(32)
BIT_VALUES(64)

#define BT_FORMS(bits)                                                                             \
    OP(bt_EG_r##bits)                                                                              \
    {                                                                                              \
        unsigned n = reg_get##bits(cpu, i->reg) & (bits - 1);                                      \
        flags_set_cf(cpu, (reg_get##bits(cpu, i->rm) >> n) & 1);                                   \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(bt_EG_m##bits)                                                                              \
    {                                                                                              \
        uint##bits##_t n = reg_get##bits(cpu, i->reg);                                             \
        uint64_t linear = bit_string_linear##bits(cpu, i, n, MMU_READ);                            \
        flags_set_cf(cpu, (mem_load##bits(cpu, i, linear) >> (n & (bits - 1))) & 1);               \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(bt_EI_r##bits)                                                                              \
    {                                                                                              \
        flags_set_cf(cpu, (reg_get##bits(cpu, i->rm) >> (i->imm & (bits - 1))) & 1);               \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(bt_EI_m##bits)                                                                              \
    {                                                                                              \
        flags_set_cf(cpu, (mem_read##bits(cpu, i) >> (i->imm & (bits - 1))) & 1);                  \
        NEXT;                                                                                      \
    }

BT_FORMS(16)
BT_FORMS(32)
BT_FORMS(64)

#define BIT_CHANGE_FORMS(name, bits)                                                               \
    static inline void name##_reg##bits(struct vcpu *cpu, unsigned rm, unsigned n)                 \
    {                                                                                              \
        uint##bits##_t a = reg_get##bits(cpu, rm);                                                 \
        reg_set##bits(cpu, rm, name##_value##bits(a, n));                                          \
        flags_set_cf(cpu, (a >> n) & 1);                                                           \
    }                                                                                              \
    static inline void name##_mem##bits(struct vcpu *cpu, const struct insn *i, uint64_t linear,   \
                                        unsigned n)                                                \
    {                                                                                              \
        struct mem_rmw m;                                                                          \
        uint##bits##_t a = mem_rmw_begin_at##bits(cpu, i, &m, linear);                             \
        while (!mem_rmw_commit##bits(cpu, i, &m, &a, name##_value##bits(a, n)))                    \
            continue;                                                                              \
        flags_set_cf(cpu, (a >> n) & 1);                                                           \
    }                                                                                              \
    OP(name##_EG_r##bits)                                                                          \
    {                                                                                              \
        name##_reg##bits(cpu, i->rm, reg_get##bits(cpu, i->reg) & (bits - 1));                     \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_EG_m##bits)                                                                          \
    {                                                                                              \
        uint##bits##_t n = reg_get##bits(cpu, i->reg);                                             \
        name##_mem##bits(cpu, i, bit_string_linear##bits(cpu, i, n, MMU_WRITE), n &(bits - 1));    \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_EI_r##bits)                                                                          \
    {                                                                                              \
        name##_reg##bits(cpu, i->rm, i->imm &(bits - 1));                                          \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_EI_m##bits)                                                                          \
    {                                                                                              \
        name##_mem##bits(cpu, i, mem_linear(cpu, i, bits / 8, MMU_WRITE), i->imm &(bits - 1));     \
        NEXT;                                                                                      \
    }

BIT_CHANGE_FORMS(bts, 16)
BIT_CHANGE_FORMS(bts, 32)
BIT_CHANGE_FORMS(bts, 64)
BIT_CHANGE_FORMS(btr, 16)
BIT_CHANGE_FORMS(btr, 32)
BIT_CHANGE_FORMS(btr, 64)
BIT_CHANGE_FORMS(btc, 16)
BIT_CHANGE_FORMS(btc, 32)
BIT_CHANGE_FORMS(btc, 64)

/*
 * BSF and BSR leave the destination alone when the source is 0, as every processor does (AMD APM 3
 * says so; the SDM says undefined). Flags other than ZF are undefined there and unchanged here.
 */
#define SCAN_VALUES(bits)                                                                          \
    static inline void bsf##bits(struct vcpu *cpu, unsigned n, uint##bits##_t v)                   \
    {                                                                                              \
        if (v != 0)                                                                                \
            reg_set##bits(cpu, n, (uint##bits##_t)__builtin_ctzll(v));                             \
        flags_set_zf(cpu, v == 0);                                                                 \
    }                                                                                              \
    static inline void bsr##bits(struct vcpu *cpu, unsigned n, uint##bits##_t v)                   \
    {                                                                                              \
        if (v != 0)                                                                                \
            reg_set##bits(cpu, n, (uint##bits##_t)(63 - __builtin_clzll(v)));                      \
        flags_set_zf(cpu, v == 0);                                                                 \
    }                                                                                              \
    static inline void popcnt##bits(struct vcpu *cpu, unsigned n, uint##bits##_t v)                \
    {                                                                                              \
        reg_set##bits(cpu, n, (uint##bits##_t)__builtin_popcountll(v));                            \
        flags_set(cpu, v == 0 ? EFLAGS_ZF : 0);                                                    \
    }

SCAN_VALUES(16)
SCAN_VALUES(32)
SCAN_VALUES(64)

#define SCAN_FORMS(name, bits)                                                                     \
    OP(name##_r##bits)                                                                             \
    {                                                                                              \
        name##bits(cpu, i->reg, reg_get##bits(cpu, i->rm));                                        \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_m##bits)                                                                             \
    {                                                                                              \
        name##bits(cpu, i->reg, mem_read##bits(cpu, i));                                           \
        NEXT;                                                                                      \
    }

SCAN_FORMS(bsf, 16)
SCAN_FORMS(bsf, 32)
SCAN_FORMS(bsf, 64)
SCAN_FORMS(bsr, 16)
SCAN_FORMS(bsr, 32)
SCAN_FORMS(bsr, 64)
SCAN_FORMS(popcnt, 16)
SCAN_FORMS(popcnt, 32)
SCAN_FORMS(popcnt, 64)

/* CRC-32C, bit-reflected polynomial 0x82f63b78, a nibble at a time; no inversion (SDM 2A "CRC32").
 */
static uint32_t crc32c(uint32_t crc, uint64_t data, unsigned bytes)
{
    static const uint32_t table[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };

    for (unsigned n = 0; n < 2 * bytes; n++) {
        crc = crc >> 4 ^ table[(crc ^ data) & 15];
        data >>= 4;
    }
    return crc;
}

OP(crc32_GEb_r)
{
    reg_set32(cpu, i->reg, crc32c(reg_get32(cpu, i->reg), reg_get8(cpu, i->rm), 1));
    NEXT;
}

OP(crc32_GEb_m)
{
    reg_set32(cpu, i->reg, crc32c(reg_get32(cpu, i->reg), mem_read8(cpu, i), 1));
    NEXT;
}

#define CRC32_FORMS(bits)                                                                          \
    OP(crc32_GE_r##bits)                                                                           \
    {                                                                                              \
        uint32_t crc = reg_get32(cpu, i->reg);                                                     \
        reg_set32(cpu, i->reg, crc32c(crc, reg_get##bits(cpu, i->rm), bits / 8));                  \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(crc32_GE_m##bits)                                                                           \
    {                                                                                              \
        uint32_t crc = reg_get32(cpu, i->reg);                                                     \
        reg_set32(cpu, i->reg, crc32c(crc, mem_read##bits(cpu, i), bits / 8));                     \
        NEXT;                                                                                      \
    }

CRC32_FORMS(16)
CRC32_FORMS(32)
CRC32_FORMS(64)
