#include "frontend/properties.h"

#include "frontend/values.h"

#include <stdio.h>
#include <string.h>

#define ELEMENT_SIZE 4096
#define WHAT_SIZE    128

struct property_list {
    const struct property *rows;
    size_t count;
};

static const char *property_word(const void *opaque, size_t n)
{
    const struct property_list *list = opaque;

    return n < list->count ? list->rows[n].name : NULL;
}

bool word_in(const char *word, const char *words)
{
    size_t length = strlen(word), part;

    for (;; words += part + 1) {
        part = strcspn(words, "|");
        if (part == length && memcmp(words, word, length) == 0)
            return true;
        if (words[part] == '\0')
            return false;
    }
}

bool property_ignore(struct options *o, const char *what, const char *value, struct error *err)
{
    (void)o, (void)what, (void)value, (void)err;
    return true;
}

/* Sets the property that the element "name=value" names. */
static bool property_set(struct options *o, const char *what, const struct property_list *list,
                         char *element, struct error *err)
{
    char *value = strchr(element, '=');
    char full[WHAT_SIZE];

    if (value != NULL)
        *value++ = '\0';
    else
        value = "on";
    for (size_t n = 0; n < list->count; n++) {
        const struct property *p = &list->rows[n];

        if (strcmp(p->name, element) != 0)
            continue;
        snprintf(full, sizeof(full), "%s: %s", what, p->name);
        if (p->set != NULL)
            return p->set(o, full, value, err);
        return word_in(value, p->only) ||
               error_set(err, "%s=%s is not there; valid: %s", full, value, p->only);
    }
    return value_unknown(err, what, element, property_word, list);
}

bool properties_set(struct options *o, const char *what, const char *text,
                    const struct property *rows, size_t count, struct error *err)
{
    const struct property_list list = {rows, count};
    char element[ELEMENT_SIZE];

    while (value_next(&text, element, sizeof(element), err)) {
        if (!property_set(o, what, &list, element, err))
            return false;
    }
    return !err->set;
}

bool properties_set_first(struct options *o, const char *what, const char *text,
                          bool (*first)(struct options *o, const char *what, const char *value,
                                        struct error *err),
                          const struct property *rows, size_t count, struct error *err)
{
    char element[ELEMENT_SIZE];
    const char *rest = text;

    if (!value_next(&rest, element, sizeof(element), err))
        return err->set ? false : error_set(err, "%s: the value is empty", what);
    if (strchr(element, '=') == NULL) {
        if (!first(o, what, element, err))
            return false;
        text = rest;
    }
    return properties_set(o, what, text, rows, count, err);
}
