#include "frontend/values.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/host/host.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define WORD_MAX 63

struct unit {
    const char *name;
    double factor;
};

bool value_number(const char *what, const char *text, uint64_t most, uint64_t *out,
                  struct error *err)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 0);
    if (!isdigit((unsigned char)text[0]) || *end != '\0')
        return error_set(err, "%s: '%s' is not a number", what, text);
    if (errno != 0 || *out > most)
        return error_set(err, "%s: %s is too large, %llu at most", what, text,
                         (unsigned long long)most);
    return true;
}

/* A number and one of the units; unit 0 is the one that applies without a name. */
static bool number_with_unit(const char *what, const char *text, const struct unit *units,
                             size_t count, uint64_t *out, struct error *err)
{
    char *end;
    double number = strtod(text, &end);

    if (!isdigit((unsigned char)text[0]) || end == text)
        return error_set(err, "%s: '%s' does not begin with a number", what, text);
    for (size_t n = 0; n < count; n++) {
        if (strcasecmp(end, units[n].name) != 0)
            continue;
        number *= units[n].factor;
        if (!(number < 9.2e18))
            return error_set(err, "%s: %s is too large", what, text);
        *out = (uint64_t)llrint(number);
        return true;
    }
    return error_set(err, "%s: '%s' has the unknown unit '%s' (%s, %s, ... are known)", what, text,
                     end, units[1].name, units[2].name);
}

bool value_size(const char *what, const char *text, uint64_t unit, uint64_t *out, struct error *err)
{
    const struct unit units[] = {
        {"", (double)unit}, {"K", 0x1p10},   {"M", 0x1p20},   {"G", 0x1p30},
        {"T", 0x1p40},      {"B", 1},        {"KB", 0x1p10},  {"MB", 0x1p20},
        {"GB", 0x1p30},     {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30},
    };

    return number_with_unit(what, text, units, ARRAY_SIZE(units), out, err);
}

static const struct unit time_units[] = {
    {"", 1e9}, {"s", 1e9}, {"ms", 1e6}, {"us", 1e3}, {"ns", 1}, {"m", 60e9}, {"h", 3600e9},
};

bool value_time(const char *what, const char *text, uint64_t *ns, struct error *err)
{
    return number_with_unit(what, text, time_units, ARRAY_SIZE(time_units), ns, err);
}

bool value_guest_time(const char *what, const char *text, uint64_t *ns, uint64_t *instructions,
                      struct error *err)
{
    static const struct unit units[] = {
        {"", 1},     {"K", 1e3},  {"M", 1e6},  {"G", 1e9},   {"i", 1},
        {"Ki", 1e3}, {"Mi", 1e6}, {"Gi", 1e9}, {"insns", 1},
    };
    char *end;
    size_t length;

    *ns = *instructions = 0;
    strtod(text, &end);
    length = strlen(text);
    if (*end != '\0' && strchr("sh", text[length - 1]) != NULL && strcasecmp(end, "insns") != 0)
        return value_time(what, text, ns, err);
    if (!number_with_unit(what, text, units, ARRAY_SIZE(units), instructions, err))
        return false;
    if (*end == '\0' && *instructions < 100000)
        return error_set(err, "%s: is %s seconds (%ss) or instructions (%si)?", what, text, text,
                         text);
    return true;
}

bool value_switch(const char *what, const char *text, bool *out, struct error *err)
{
    static const char *const words[] = {"off", "on", "no", "yes", "false", "true", "0", "1"};

    for (size_t n = 0; n < ARRAY_SIZE(words); n++) {
        if (strcmp(text, words[n]) == 0) {
            *out = n % 2 == 1;
            return true;
        }
    }
    return error_set(err, "%s: '%s' is neither 'on' nor 'off'", what, text);
}

bool value_date(const char *what, const char *text, int64_t *seconds, struct error *err)
{
    struct tm tm = {.tm_mday = 1};
    time_t now = (time_t)host_wall_seconds();
    const char *end;

    *seconds = now;
    if (strcmp(text, "utc") == 0)
        return true;
    if (strcmp(text, "localtime") == 0) {
        localtime_r(&now, &tm);
        *seconds = now + tm.tm_gmtoff;
        return true;
    }
    end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (end == NULL) {
        tm = (struct tm){.tm_mday = 1};
        end = strptime(text, "%Y-%m-%d", &tm);
    }
    if (end == NULL || *end != '\0')
        return error_set(err, "%s: '%s' is not utc, localtime, or a date like 2024-02-29T12:00:00",
                         what, text);
    *seconds = timegm(&tm);
    return true;
}

unsigned value_distance(const char *a, const char *b)
{
    unsigned rows[3][WORD_MAX + 1];
    size_t la = strnlen(a, WORD_MAX), lb = strnlen(b, WORD_MAX);
    unsigned *before = rows[0], *last = rows[1], *row = rows[2];

    for (size_t j = 0; j <= lb; j++)
        last[j] = (unsigned)j;
    for (size_t i = 1; i <= la; i++) {
        unsigned *reuse = before;

        row[0] = (unsigned)i;
        for (size_t j = 1; j <= lb; j++) {
            unsigned change = last[j - 1] + (a[i - 1] != b[j - 1]);

            row[j] = MIN(change, MIN(last[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = MIN(row[j], before[j - 2] + 1);
        }
        before = last;
        last = row;
        row = reuse;
    }
    return last[lb];
}

const char *value_nearest(const char *text, const char *(*word)(const void *opaque, size_t n),
                          const void *opaque)
{
    unsigned least = 1 + (unsigned)strlen(text) / 3, distance;
    const char *nearest = NULL, *w;

    for (size_t n = 0; (w = word(opaque, n)) != NULL; n++) {
        distance = value_distance(text, w);
        if (distance < least || (distance == least && nearest == NULL)) {
            least = distance;
            nearest = w;
        }
    }
    return nearest;
}

bool value_unknown(struct error *err, const char *what, const char *text,
                   const char *(*word)(const void *opaque, size_t n), const void *opaque)
{
    const char *nearest = value_nearest(text, word, opaque), *w;
    char all[256] = "";
    size_t used = 0;

    if (nearest != NULL)
        return error_set(err, "%s: unknown '%s'; did you mean '%s'?", what, text, nearest);
    for (size_t n = 0; (w = word(opaque, n)) != NULL && used < sizeof(all); n++)
        used += (size_t)snprintf(all + used, sizeof(all) - used, "%s%s", n > 0 ? ", " : "", w);
    return error_set(err, "%s: unknown '%s'; valid: %s", what, text, all);
}

bool value_next(const char **text, char *out, size_t size, struct error *err)
{
    const char *p = *text;
    size_t used = 0;

    if (*p == '\0')
        return false;
    for (; *p != '\0'; p++) {
        if (*p == ',' && *++p != ',')
            break;
        if (used + 1 >= size)
            return error_set(err, "'%.40s...' is too long", *text);
        out[used++] = *p;
    }
    out[used] = '\0';
    *text = p;
    return true;
}
