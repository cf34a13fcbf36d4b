#include "cpu/special.h"

#include "base/bits.h"
#include "base/check.h"
#include "base/host/host.h"

#include <stdlib.h>

#define MEMORY(op)  op_fn op_##op, op_##op##_b, op_##op##_x, op_##op##_s;
#define ADDRESS(op) op_fn op_##op, op_##op##_b, op_##op##_x;
#define PLAIN(op)   op_fn op_##op, op_##op##_fast;
#include "cpu/special.def"

/* What an op becomes. NULL: stays. */
struct forms {
    op_fn *general;
    op_fn *base;  /* no index, no segment base */
    op_fn *index; /* no segment base */
    op_fn *segment;
};

/* clang-format off */
static const struct forms all_forms[] = {
#define MEMORY(op)  {op_##op, op_##op##_b, op_##op##_x, op_##op##_s},
#define ADDRESS(op) {op_##op, op_##op##_b, op_##op##_x, NULL},
#define PLAIN(op)   {op_##op, op_##op##_fast, op_##op##_fast, op_##op##_fast},
#include "cpu/special.def"
};
/* clang-format on */

#define FUSED(condition, op, ...) op_fn op_##op, op_j_##condition##_64, op_##op##_j_##condition;
#include "cpu/fused.def"

/* Two ops, one after the other, and the one for both. */
struct pair {
    op_fn *first, *second, *both;
};

/* clang-format off */
static const struct pair all_pairs[] = {
#define FUSED(condition, op, ...) {op_##op, op_j_##condition##_64, op_##op##_j_##condition},
#include "cpu/fused.def"
};
/* clang-format on */

#define HASH_SIZE 1024u

/* Hash tables with open addressing. */
struct special {
    const struct forms *forms[HASH_SIZE]; /* by the general op */
    const struct pair *pairs[HASH_SIZE];  /* by both */
};

_Static_assert(ARRAY_SIZE(all_forms) < HASH_SIZE / 2, "room in the hash table");
_Static_assert(ARRAY_SIZE(all_pairs) < HASH_SIZE / 2, "room in the hash table");

static unsigned hash_of(uint64_t key)
{
    return (unsigned)(key * 0x9e3779b97f4a7c15u >> 40) & (HASH_SIZE - 1);
}

static const struct forms **forms_slot(const struct forms **table, op_fn *general)
{
    unsigned n = hash_of((uintptr_t)general);

    while (table[n] != NULL && table[n]->general != general)
        n = (n + 1) & (HASH_SIZE - 1);
    return &table[n];
}

static const struct pair **pair_slot(const struct pair **table, op_fn *first, op_fn *second)
{
    unsigned n = hash_of((uint64_t)(uintptr_t)first * 31 + (uintptr_t)second);

    while (table[n] != NULL && (table[n]->first != first || table[n]->second != second))
        n = (n + 1) & (HASH_SIZE - 1);
    return &table[n];
}

struct special *special_create(void)
{
    struct special *s = host_alloc(sizeof(*s));

    *s = (struct special){0};
    for (unsigned n = 0; n < ARRAY_SIZE(all_forms); n++)
        *forms_slot(s->forms, all_forms[n].general) = &all_forms[n];
    for (unsigned n = 0; n < ARRAY_SIZE(all_pairs); n++)
        *pair_slot(s->pairs, all_pairs[n].first, all_pairs[n].second) = &all_pairs[n];
    return s;
}

void special_destroy(struct special *s)
{
    free(s);
}

static op_fn *form_of(const struct forms *f, const struct insn *i)
{
    if (i->seg != SEG_NONE)
        return f->segment;
    return i->index != GPR_ZERO ? f->index : f->base;
}

static void shorten(const struct special *s, struct insn *i)
{
    const struct forms *f;
    op_fn *op;

    /* In 32-bit code INSN_A32 is set, too. */
    if ((i->flags & (INSN_FLAT | INSN_A32 | INSN_A16 | INSN_LOCK)) != INSN_FLAT)
        return;
    f = *forms_slot((const struct forms **)s->forms, i->op);
    op = f != NULL ? form_of(f, i) : NULL;
    if (op != NULL)
        i->op = op;
}

void special_apply(const struct special *s, struct insn *insns, unsigned count)
{
    for (unsigned n = 0; n < count; n++)
        shorten(s, &insns[n]);
#if defined(GNOMON_THREADED)
    /* Elsewhere a loop runs every instruction by itself. */
    if (count >= 2) {
        struct insn *last = &insns[count - 2];
        const struct pair *p =
            *pair_slot((const struct pair **)s->pairs, last->op, insns[count - 1].op);

        if (p != NULL)
            last->op = p->both;
    }
#endif
}
