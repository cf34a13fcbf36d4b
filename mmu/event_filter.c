/* The filter language of mmu_events_set_filter: parsed into postfix, evaluated on a small stack. */
#include "base/host/host.h"
#include "mmu/event_fields.h"
#include "mmu/mmu.h"

#include <stdlib.h>
#include <string.h>

#define NODE_MAX  64
#define DEPTH_MAX 32

enum node_op {
    NODE_KIND, /* low: a mask of kinds */
    NODE_EQ,
    NODE_NE,
    NODE_LT,
    NODE_LE,
    NODE_GT,
    NODE_GE,
    NODE_BITS,
    NODE_IN,
    NODE_NOT,
    NODE_AND,
    NODE_OR,
};

struct node {
    enum node_op op;
    const struct event_field *field; /* comparisons */
    uint64_t low, high;              /* the value; IN: both ends */
};

struct mmu_filter {
    unsigned count;
    struct node nodes[NODE_MAX];
    uint64_t mask; /* kinds that may pass */
};

/* Three-valued: what is known when only the kind is known. */
enum truth { IS_FALSE, IS_TRUE, IS_UNKNOWN };

/* --- Evaluation --- */

static bool compare(const struct node *n, uint64_t v)
{
    switch (n->op) {
    case NODE_EQ:
        return v == n->low;
    case NODE_NE:
        return v != n->low;
    case NODE_LT:
        return v < n->low;
    case NODE_LE:
        return v <= n->low;
    case NODE_GT:
        return v > n->low;
    case NODE_GE:
        return v >= n->low;
    case NODE_BITS:
        return (v & n->low) != 0;
    default:
        return v >= n->low && v <= n->high;
    }
}

static enum truth both(enum truth a, enum truth b)
{
    if (a == IS_FALSE || b == IS_FALSE)
        return IS_FALSE;
    return a == IS_TRUE && b == IS_TRUE ? IS_TRUE : IS_UNKNOWN;
}

static enum truth negate(enum truth a)
{
    return a == IS_UNKNOWN ? IS_UNKNOWN : a == IS_TRUE ? IS_FALSE : IS_TRUE;
}

/* e is NULL: only the kind is known. A comparison with a field that the kind has not is false. */
static enum truth evaluate(const struct mmu_filter *f, enum mmu_event_kind kind,
                           const struct mmu_event *e)
{
    uint32_t has = mmu_event_info(kind)->fields;
    enum truth stack[NODE_MAX + 1];
    unsigned top = 0;

    for (unsigned i = 0; i < f->count; i++) {
        const struct node *n = &f->nodes[i];

        switch (n->op) {
        case NODE_KIND:
            stack[top++] = n->low >> kind & 1 ? IS_TRUE : IS_FALSE;
            break;
        case NODE_NOT:
            stack[top - 1] = negate(stack[top - 1]);
            break;
        case NODE_AND:
            top--;
            stack[top - 1] = both(stack[top - 1], stack[top]);
            break;
        case NODE_OR:
            top--;
            stack[top - 1] = negate(both(negate(stack[top - 1]), negate(stack[top])));
            break;
        default:
            if (n->field->bit != 0 && !(has & n->field->bit))
                stack[top++] = IS_FALSE;
            else if (e == NULL)
                stack[top++] = IS_UNKNOWN;
            else
                stack[top++] = compare(n, event_field_value(n->field, e)) ? IS_TRUE : IS_FALSE;
            break;
        }
    }
    return stack[0];
}

bool mmu_filter_passes(const struct mmu_filter *f, const struct mmu_event *e)
{
    return f == NULL || evaluate(f, (enum mmu_event_kind)e->kind, e) == IS_TRUE;
}

uint64_t mmu_filter_kinds(const struct mmu_filter *f)
{
    return f != NULL ? f->mask : MMU_EVENTS_ALL;
}

/* --- Parsing --- */

struct parser {
    const char *text;
    const char *at;
    struct mmu_filter *filter;
    struct error *err;
    unsigned depth;
};

static bool parse_or(struct parser *p);

static void skip_blanks(struct parser *p)
{
    while (*p->at == ' ' || *p->at == '\t')
        p->at++;
}

static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static size_t word_length(const struct parser *p)
{
    size_t n = 0;

    while (is_word_char(p->at[n]))
        n++;
    return n;
}

static bool fail(struct parser *p, const char *expected)
{
    size_t n = word_length(p);
    int column = (int)MIN(p->at - p->text, 100000) + 1;

    if (*p->at == '\0')
        return error_set(p->err, "filter: %s expected at the end", expected);
    return error_set(p->err, "filter, column %d: %s expected, not '%.*s'", column, expected,
                     (int)MIN(MAX(n, (size_t)1), (size_t)40), p->at);
}

static bool accept(struct parser *p, const char *token)
{
    size_t n = strlen(token);

    skip_blanks(p);
    if (strncmp(p->at, token, n) != 0)
        return false;
    p->at += n;
    return true;
}

static bool add(struct parser *p, struct node n)
{
    if (p->filter->count == NODE_MAX)
        return error_set(p->err, "filter: more than %d terms", NODE_MAX);
    p->filter->nodes[p->filter->count++] = n;
    return true;
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 16;
}

static bool parse_number(struct parser *p, uint64_t *value)
{
    size_t n = word_length(p), i = 0;
    unsigned base = 10;

    *value = 0;
    if (n > 2 && p->at[0] == '0' && (p->at[1] == 'x' || p->at[1] == 'X')) {
        base = 16;
        i = 2;
    }
    if (n == 0)
        return fail(p, "a number");
    for (; i < n; i++) {
        unsigned d = (unsigned)digit(p->at[i]);

        if (d >= base)
            return fail(p, "a number");
        if (*value > (UINT64_MAX - d) / base)
            return fail(p, "a number of at most 64 bits");
        *value = *value * base + d;
    }
    p->at += n;
    return true;
}

/* Adds what the words of the field that are meant by the next word; for a kind, as a mask. */
static bool parse_word(struct parser *p, const struct event_field *field, uint64_t *value)
{
    size_t n = word_length(p);
    bool found = false, is_kind = field->bit == 0;
    const char *word;

    *value = 0;
    for (unsigned i = 0; (word = field->word(i)) != NULL; i++) {
        const char *group = is_kind ? mmu_event_info((enum mmu_event_kind)i)->group : word;

        if ((strlen(word) != n || memcmp(word, p->at, n) != 0) &&
            (strlen(group) != n || memcmp(group, p->at, n) != 0))
            continue;
        found = true;
        *value = is_kind ? *value | BIT64(i) : i;
    }
    if (!found)
        return fail(p, is_kind ? "a kind of event" : "one of the field's words");
    p->at += n;
    return true;
}

static bool parse_rights(struct parser *p, uint64_t *value)
{
    static const char letters[] = "wux"; /* bit n of enum walk_rights */
    size_t n = word_length(p);

    if (n > 0 && digit(p->at[0]) < 10)
        return parse_number(p, value);
    *value = 0;
    if (n == 0)
        return fail(p, "a number, or letters of u, w, x");
    for (size_t i = 0; i < n; i++) {
        const char *letter = strchr(letters, p->at[i]);

        if (letter == NULL)
            return fail(p, "a number, or letters of u, w, x");
        *value |= BIT64(letter - letters);
    }
    p->at += n;
    return true;
}

static bool parse_value(struct parser *p, const struct event_field *field, uint64_t *value)
{
    skip_blanks(p);
    switch (field->style) {
    case EVENT_WORD:
        return parse_word(p, field, value);
    case EVENT_RIGHTS:
        return parse_rights(p, value);
    default:
        return parse_number(p, value);
    }
}

static bool parse_range(struct parser *p, struct node *n)
{
    n->op = NODE_IN;
    if (!parse_value(p, n->field, &n->low))
        return false;
    if (!accept(p, "-"))
        return fail(p, "'-' and the upper end");
    return parse_value(p, n->field, &n->high) && add(p, *n);
}

static bool parse_comparison(struct parser *p)
{
    static const struct {
        const char *token;
        enum node_op op;
    } operators[] = {
        {"==", NODE_EQ}, {"!=", NODE_NE}, /* the only ones for words */
        {"<=", NODE_LE}, {">=", NODE_GE}, {"<", NODE_LT}, {">", NODE_GT}, {"&", NODE_BITS},
    };
    struct node n = {.op = NODE_EQ};
    unsigned i, count = ARRAY_SIZE(operators);
    const char *expected = "a comparison";
    size_t length;

    skip_blanks(p);
    length = word_length(p);
    n.field = event_field_find(p->at, length);
    if (n.field == NULL)
        return fail(p, "a field");
    p->at += length;
    skip_blanks(p);
    if (n.field->style == EVENT_WORD) {
        count = 2;
        expected = "== or !=";
    } else if (word_length(p) == 2 && accept(p, "in")) {
        return parse_range(p, &n);
    }
    if (strncmp(p->at, "&&", 2) == 0)
        return fail(p, expected);
    for (i = 0; i < count; i++)
        if (accept(p, operators[i].token))
            break;
    if (i == count)
        return fail(p, expected);
    n.op = operators[i].op;
    if (!parse_value(p, n.field, &n.low))
        return false;
    if (n.field->style == EVENT_WORD && n.field->bit == 0) { /* kind: the value is a mask */
        n.low = n.op == NODE_EQ ? n.low : ~n.low;
        n.op = NODE_KIND;
    }
    return add(p, n);
}

static bool parse_unary(struct parser *p)
{
    bool ok;

    skip_blanks(p);
    if (p->depth == DEPTH_MAX)
        return error_set(p->err, "filter: nested deeper than %d", DEPTH_MAX);
    p->depth++;
    if (accept(p, "!"))
        ok = parse_unary(p) && add(p, (struct node){.op = NODE_NOT});
    else if (accept(p, "("))
        ok = parse_or(p) && (accept(p, ")") || fail(p, "')'"));
    else
        ok = parse_comparison(p);
    p->depth--;
    return ok;
}

static bool parse_and(struct parser *p)
{
    if (!parse_unary(p))
        return false;
    while (accept(p, "&&"))
        if (!parse_unary(p) || !add(p, (struct node){.op = NODE_AND}))
            return false;
    return true;
}

static bool parse_or(struct parser *p)
{
    if (!parse_and(p))
        return false;
    while (accept(p, "||"))
        if (!parse_and(p) || !add(p, (struct node){.op = NODE_OR}))
            return false;
    return true;
}

struct mmu_filter *mmu_filter_create(const char *text, struct error *err)
{
    struct mmu_filter *f = host_alloc(sizeof(*f));
    struct parser p = {.text = text, .at = text, .filter = f, .err = err};
    bool ok = parse_or(&p);

    skip_blanks(&p);
    if (ok && *p.at != '\0')
        ok = fail(&p, "&& or ||");
    if (!ok) {
        free(f);
        return NULL;
    }
    for (unsigned kind = 0; kind < MMU_EVENT_COUNT; kind++)
        if (evaluate(f, (enum mmu_event_kind)kind, NULL) != IS_FALSE)
            f->mask |= BIT64(kind);
    return f;
}

void mmu_filter_destroy(struct mmu_filter *f)
{
    free(f);
}
