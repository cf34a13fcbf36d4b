/* Numbers and filters in the monitor's lines. */
#include "base/bits.h"
#include "frontend/monitor_commands.h"
#include "machine/debug.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TERM_MAX 128

/* How far a listing goes if nothing else is said. */
#define LINES_DEFAULT 1000
#define MAPS_WALKS    4000000

bool monitor_word_is(const struct call *c, unsigned n, const char *word)
{
    return n < c->count && strcmp(c->words[n], word) == 0;
}

static bool register_value(struct call *c, const char *word, uint64_t *value)
{
    uint8_t bytes[MACHINE_REGISTER_BYTES_MAX] = {0};

    word += *word == '$';
    for (unsigned n = 0; n < machine_register_count(); n++) {
        const struct machine_register *r = machine_register_info(n);

        if (strcmp(r->name, word) != 0 || r->bits > 64)
            continue;
        machine_register_get(c->monitor->machine, n, bytes);
        *value = 0;
        for (unsigned k = 8; k-- > 0;)
            *value = *value << 8 | bytes[k];
        return true;
    }
    return false;
}

static bool term_value(struct call *c, const char *term, uint64_t *value)
{
    char *end;

    errno = 0;
    *value = strtoull(term, &end, 0);
    if (term[0] >= '0' && term[0] <= '9' && *end == '\0' && errno == 0)
        return true;
    return register_value(c, term, value) ||
           symbols_address(c->monitor->tools->symbols, term, value);
}

bool monitor_number(struct call *c, const char *word, uint64_t *value)
{
    const char *p = word;
    bool minus = false;

    *value = 0;
    do {
        char term[TERM_MAX];
        size_t length = strcspn(p, "+-");
        uint64_t v;

        if (length > 0 && length < sizeof(term)) {
            memcpy(term, p, length);
            term[length] = '\0';
        }
        if (length == 0 ? p != word || *p != '-'
                        : length >= sizeof(term) || !term_value(c, term, &v)) {
            fprintf(c->out, "'%s' is neither a number nor a register nor a symbol\n", word);
            return false;
        }
        if (length > 0)
            *value += minus ? -v : v;
        p += length;
        minus = *p == '-';
    } while (*p++ != '\0');
    return true;
}

/* "LOW-HIGH" */
static bool range(struct call *c, const char *word, struct machine_filter *f)
{
    char low[TERM_MAX];
    const char *dash = strchr(word, '-');
    size_t length = dash != NULL ? (size_t)(dash - word) : 0;

    if (length == 0 || length >= sizeof(low)) {
        fprintf(c->out, "'%s' is no range; as in 0x1000-0x1fff\n", word);
        return false;
    }
    memcpy(low, word, length);
    low[length] = '\0';
    return monitor_number(c, low, &f->first) && monitor_number(c, dash + 1, &f->last);
}

/* "uw!x" */
static bool rights(struct call *c, const char *word, struct machine_filter *f)
{
    static const char letters[] = "wuxg"; /* in the order of enum machine_right */

    for (const char *p = word; *p != '\0'; p++) {
        bool not = *p == '!';
        const char *letter;

        p += not ;
        letter = *p != '\0' ? strchr(letters, *p) : NULL;
        if (letter == NULL) {
            fprintf(c->out, "'%s': letters of u, w, x, g (global), '!' before one: without it\n",
                    word);
            return false;
        }
        *(not ? &f->must_not : &f->must) |= (uint8_t)BIT(letter - letters);
    }
    return true;
}

static bool view_word(const char *word, struct machine_filter *f)
{
    static const char *const views[] = {"supervisor", "supervisor_ac", "user"};

    for (unsigned n = 0; n < ARRAY_SIZE(views); n++) {
        if (strcmp(word, views[n]) != 0)
            continue;
        f->views = (uint8_t)((f->views == UINT8_MAX ? 0 : f->views) | BIT(n));
        return true;
    }
    return false;
}

static bool space(struct call *c, const char *value, struct machine_filter *f)
{
    uint64_t number;

    if (!monitor_number(c, value, &number))
        return false;
    f->space = (uint32_t)MIN(number, MACHINE_ANY_SPACE - 1);
    return true;
}

/* A word of tlb alone. */
static bool tlb_word(const char *word, struct machine_filter *f)
{
    if (strcmp(word, "all") != 0)
        return view_word(word, f);
    f->every_space = true;
    return true;
}

/* One of those with a value. */
static bool filter_pair(struct call *c, const char *word, const char *value,
                        struct machine_filter *f, bool *known)
{
    *known = true;
    if (strcmp(word, "in") == 0)
        return range(c, value, f);
    if (strcmp(word, "from") == 0)
        return monitor_number(c, value, &f->first);
    if (strcmp(word, "rights") == 0)
        return rights(c, value, f);
    if (strcmp(word, "head") == 0)
        return monitor_number(c, value, &f->most);
    if (strcmp(word, "cr3") == 0) {
        f->any_root = false;
        return monitor_number(c, value, &f->root);
    }
    if (strcmp(word, "space") == 0)
        return space(c, value, f);
    *known = false;
    return false;
}

bool monitor_filter(struct call *c, unsigned n, bool tlb, struct machine_filter *filter)
{
    bool known;

    *filter =
        (struct machine_filter){.last = UINT64_MAX,
                                .views = UINT8_MAX,
                                .any_root = true,
                                .space = MACHINE_ANY_SPACE,
                                .most = LINES_DEFAULT,
                                .budget = c->monitor->walks != 0 ? c->monitor->walks : MAPS_WALKS};
    while (n < c->count) {
        const char *word = c->words[n++];

        if (tlb ? tlb_word(word, filter) : strcmp(word, "physical") == 0) {
            filter->physical = !tlb;
            continue;
        }
        if (n < c->count && (tlb || strcmp(word, "space") != 0)) {
            if (filter_pair(c, word, c->words[n], filter, &known)) {
                n++;
                continue;
            }
            if (known)
                return false;
        }
        fprintf(c->out, "what is '%s'? ", word);
        monitor_usage(c);
        return false;
    }
    return true;
}
