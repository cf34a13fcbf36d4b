/* The encodings that are compared. */
#include "decode_diff.h"

#include <string.h>

const char *const space_map_names[MAP_COUNT] = {
    [MAP_1B] = "1b",           [MAP_0F] = "0f",       [MAP_0F38] = "0f38",
    [MAP_0F3A] = "0f3a",       [MAP_VEX_0F] = "v0f",  [MAP_VEX_0F38] = "v0f38",
    [MAP_VEX_0F3A] = "v0f3a",  [MAP_EVEX_0F] = "e0f", [MAP_EVEX_0F38] = "e0f38",
    [MAP_EVEX_0F3A] = "e0f3a",
};

const char *const space_prefix_names[SPACE_PREFIX_COUNT] = {
    "66",   "f2", "f3",    "w",  "rxb", "lock", "67", "fs",  "l",
    "vvvv", "c5", "stale", "cs", "l2",  "z",    "b",  "aaa", "v2",
};

/* Prefixes of legacy encodings; those with REX in 64-bit mode only. */
static const uint32_t legacy_sets[] = {
    0,
    WITH_66,
    WITH_F2,
    WITH_F3,
    WITH_66 | WITH_F2,
    WITH_66 | WITH_F3,
    WITH_LOCK,
    WITH_67,
    WITH_FS,
    WITH_CS,
    WITH_CS | WITH_66,
    WITH_STALE | WITH_66,
    WITH_STALE | WITH_F3,
    WITH_W,
    WITH_W | WITH_66,
    WITH_W | WITH_F2,
    WITH_W | WITH_F3,
    WITH_RXB,
    WITH_RXB | WITH_66,
    WITH_RXB | WITH_F2,
    WITH_RXB | WITH_F3,
    WITH_RXB | WITH_67,
};

struct walk {
    bool full;
    uint32_t round; /* what varies the bytes behind ModRM */
    space_visit_fn *visit;
    void *opaque;
    struct encoding e;
};

static uint32_t mix(uint32_t h, uint32_t v)
{
    h = (h ^ v) * 0x9e3779b1u;
    return h ^ h >> 15;
}

/* A number that depends on the encoding only, so that every run sees the same bytes. */
static uint32_t hash_of(const struct encoding *e)
{
    return mix(mix(mix(mix(mix(0, e->mode), e->map), e->opcode), e->modrm), e->prefixes);
}

static unsigned put_legacy(struct encoding *e, uint32_t h)
{
    static const struct {
        uint32_t prefix;
        uint8_t byte;
    } order[] = {{WITH_LOCK, 0xf0}, {WITH_67, 0x67}, {WITH_FS, 0x64}, {WITH_CS, 0x2e},
                 {WITH_66, 0x66},   {WITH_F2, 0xf2}, {WITH_F3, 0xf3}};
    unsigned n = 0;

    if (e->prefixes & WITH_STALE)
        e->bytes[n++] = 0x4f;
    for (unsigned k = 0; k < ARRAY_SIZE(order); k++)
        if (e->prefixes & order[k].prefix)
            e->bytes[n++] = order[k].byte;
    if (e->prefixes & WITH_RXB)
        e->bytes[n++] = (uint8_t)(0x40 | (h >> 8 & 7));
    else if (e->prefixes & WITH_W)
        e->bytes[n++] = 0x48;
    if (e->map != MAP_1B)
        e->bytes[n++] = 0x0f;
    if (e->map == MAP_0F38)
        e->bytes[n++] = 0x38;
    else if (e->map == MAP_0F3A)
        e->bytes[n++] = 0x3a;
    return n;
}

static unsigned pp_field(const struct encoding *e)
{
    return e->prefixes & WITH_66 ? 1 : e->prefixes & WITH_F3 ? 2 : e->prefixes & WITH_F2 ? 3 : 0;
}

/* Outside 64-bit mode there are eight registers, and R and X tell LES, LDS and BOUND apart. */
static unsigned rxb_field(const struct encoding *e, uint32_t h)
{
    return e->mode == 64 ? h >> 8 & 7 : 7;
}

static unsigned vvvv_field(const struct encoding *e, uint32_t h)
{
    if (!(e->prefixes & WITH_VVVV))
        return 15;
    return e->mode == 64 ? (h >> 11) % 15 : (h >> 11) % 7 + 8;
}

static unsigned put_vex(struct encoding *e, uint32_t h)
{
    unsigned pp = pp_field(e), rxb = rxb_field(e, h), vvvv = vvvv_field(e, h), n = 0;

    pp |= e->prefixes & WITH_L ? 4 : 0;
    if (e->prefixes & WITH_67)
        e->bytes[n++] = 0x67;
    if (e->prefixes & WITH_C5) {
        e->bytes[n++] = 0xc5;
        e->bytes[n++] = (uint8_t)((rxb & 4) << 5 | vvvv << 3 | pp);
        return n;
    }
    e->bytes[n++] = 0xc4;
    e->bytes[n++] = (uint8_t)(rxb << 5 | (e->map - MAP_VEX_0F + 1));
    e->bytes[n++] = (uint8_t)((e->prefixes & WITH_W ? 0x80 : 0) | vvvv << 3 | pp);
    return n;
}

static unsigned put_evex(struct encoding *e, uint32_t h)
{
    uint32_t with = e->prefixes;
    unsigned r2 = e->mode == 64 ? h >> 21 & 1 : 1, n = 0;

    if (with & WITH_67)
        e->bytes[n++] = 0x67;
    e->bytes[n++] = 0x62;
    e->bytes[n++] = (uint8_t)(rxb_field(e, h) << 5 | r2 << 4 | (e->map - MAP_EVEX_0F + 1));
    e->bytes[n++] = (uint8_t)((with & WITH_W ? 0x80 : 0) | vvvv_field(e, h) << 3 | 4 | pp_field(e));
    e->bytes[n++] = (uint8_t)((with & WITH_Z ? 0x80 : 0) | (with & WITH_L2 ? 0x40 : 0) |
                              (with & WITH_L ? 0x20 : 0) | (with & WITH_B ? 0x10 : 0) |
                              (with & WITH_V2 ? 0 : 8) | (with & WITH_AAA ? (h >> 24) % 7 + 1 : 0));
    return n;
}

/* SIB bytes of every kind: no index, no base, both, scaled. */
static uint8_t sib_byte(uint32_t h)
{
    static const uint8_t kinds[] = {0x24, 0x25, 0x65, 0xa3, 0xec, 0x0d, 0x04, 0xe5};

    return h & 8 ? (uint8_t)(h >> 4) : kinds[h & 7];
}

static void visit(struct walk *w, uint8_t modrm)
{
    struct encoding *e = &w->e;
    uint32_t h;
    unsigned n;

    /* LES, LDS and BOUND have no register forms: those start VEX and EVEX, maps of their own. */
    if (e->map == MAP_1B && modrm >= 0xc0 &&
        (e->opcode == 0x62 || e->opcode == 0xc4 || e->opcode == 0xc5))
        return;
    e->modrm = modrm;
    h = mix(hash_of(e), w->round);
    n = e->map >= MAP_EVEX_0F  ? put_evex(e, h)
        : e->map >= MAP_VEX_0F ? put_vex(e, h)
                               : put_legacy(e, h);
    e->bytes[n++] = e->opcode;
    e->bytes[n++] = modrm;
    h = mix(h, 1);
    if (modrm < 0xc0 && (modrm & 7) == 4 &&
        (e->mode == 64 || (e->mode == 32) == !(e->prefixes & WITH_67)))
        e->bytes[n++] = sib_byte(h);
    /* Immediates from 20h on: below, names of their own stand for some comparisons. */
    for (; n < sizeof(e->bytes); n++) {
        h = mix(h, n);
        e->bytes[n] = (uint8_t)(h | 32);
    }
    w->visit(w->opaque, e);
}

/* Opcodes whose register forms are instructions of their own, byte by byte. */
static bool wants_every_register(const struct encoding *e)
{
    if (e->map == MAP_1B)
        return e->opcode >= 0xd8 && e->opcode <= 0xdf;
    return e->map == MAP_0F && (e->opcode == 0x01 || e->opcode == 0xae || e->opcode == 0xc7 ||
                                e->opcode == 0x1e || e->opcode == 0x0f);
}

static void walk_modrm(struct walk *w)
{
    uint32_t h = mix(hash_of(&w->e), w->round);

    if (w->full) {
        for (unsigned modrm = 0; modrm < 256; modrm++)
            visit(w, (uint8_t)modrm);
        return;
    }
    for (unsigned reg = 0; reg < 8; reg++) {
        h = mix(h, reg);
        visit(w, (uint8_t)((h >> 8) % 3 << 6 | reg << 3 | (h & 7)));
        if (!wants_every_register(&w->e))
            visit(w, (uint8_t)(0xc0 | reg << 3 | (h >> 3 & 7)));
    }
    for (unsigned modrm = 0xc0; wants_every_register(&w->e) && modrm < 256; modrm++)
        visit(w, (uint8_t)modrm);
}

/* Bytes that are prefixes, or start another map. */
static bool is_opcode(const struct encoding *e)
{
    static const uint8_t prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65,
                                       0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x0f};

    if (e->map == MAP_0F)
        return e->opcode != 0x38 && e->opcode != 0x3a;
    if (e->map != MAP_1B)
        return true;
    if (e->mode == 64 &&
        ((e->opcode & 0xf0) == 0x40 || e->opcode == 0x62 || e->opcode == 0xc4 || e->opcode == 0xc5))
        return false;
    return memchr(prefixes, e->opcode, sizeof(prefixes)) == NULL;
}

static void walk_legacy(struct walk *w)
{
    for (unsigned n = 0; n < sizeof(legacy_sets) / sizeof(legacy_sets[0]); n++) {
        w->e.prefixes = legacy_sets[n];
        if (w->e.mode == 64 || !(w->e.prefixes & (WITH_W | WITH_RXB | WITH_STALE)))
            walk_modrm(w);
    }
}

static const uint32_t pps[] = {0, WITH_66, WITH_F3, WITH_F2};

static void walk_vex(struct walk *w)
{
    for (unsigned pp = 0; pp < 4; pp++) {
        for (unsigned n = 0; n < 8; n++) {
            w->e.prefixes =
                pps[pp] | (n & 1 ? WITH_L : 0) | (n & 2 ? WITH_W : 0) | (n & 4 ? WITH_VVVV : 0);
            walk_modrm(w);
        }
        w->e.prefixes = pps[pp] | WITH_67;
        walk_modrm(w);
        w->e.prefixes = pps[pp] | WITH_C5;
        if (w->e.map == MAP_VEX_0F)
            walk_modrm(w);
    }
}

/* Of ModRM each mod, full: with each reg. Displacements of 64-bit code are those of all modes. */
static void walk_evex_modrm(struct walk *w)
{
    uint32_t h = mix(hash_of(&w->e), w->round);

    for (unsigned mod = 0; mod < 4; mod++) {
        if (!w->full && w->e.mode != 64 && mod != 3 && mod != h % 3)
            continue;
        for (unsigned n = 0; n < (w->full ? 8 : 1); n++) {
            visit(w, (uint8_t)(mod << 6 | (w->full ? n << 3 : h >> 5 & 0x38) | (h & 7)));
            h = mix(h, n);
        }
    }
}

static void walk_evex(struct walk *w)
{
    static const uint32_t fields[] = {WITH_W, WITH_VVVV, WITH_L, WITH_L2, WITH_Z, WITH_B, WITH_AAA};

    for (unsigned pp = 0; pp < 4; pp++) {
        for (unsigned n = 0; n < 1u << ARRAY_SIZE(fields); n++) {
            w->e.prefixes = pps[pp];
            for (unsigned k = 0; k < ARRAY_SIZE(fields); k++)
                w->e.prefixes |= n >> k & 1 ? fields[k] : 0;
            if (w->e.prefixes & WITH_VVVV || n % 5 == 0)
                w->e.prefixes |= mix(hash_of(&w->e), w->round) & 0x80 ? WITH_V2 : 0;
            walk_evex_modrm(w);
        }
        w->e.prefixes = pps[pp] | WITH_67;
        walk_evex_modrm(w);
    }
}

void space_walk(bool full, unsigned round, space_visit_fn *visit_fn, void *opaque)
{
    struct walk w = {.full = full, .round = round, .visit = visit_fn, .opaque = opaque};

    for (unsigned mode = 16; mode <= 64; mode *= 2) {
        for (unsigned map = 0; map < MAP_COUNT; map++) {
            for (unsigned opcode = 0; opcode < 256; opcode++) {
                w.e = (struct encoding){
                    .mode = (uint8_t)mode, .map = (uint8_t)map, .opcode = (uint8_t)opcode};
                if (!is_opcode(&w.e))
                    continue;
                if (map >= MAP_EVEX_0F)
                    walk_evex(&w);
                else if (map >= MAP_VEX_0F)
                    walk_vex(&w);
                else
                    walk_legacy(&w);
            }
        }
    }
}
