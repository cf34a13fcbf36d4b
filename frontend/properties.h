/* Lists of properties in option values: NAME=VALUE,NAME=VALUE,... */
#ifndef FRONTEND_PROPERTIES_H
#define FRONTEND_PROPERTIES_H

#include "frontend/options.h"

#include <stdbool.h>
#include <stddef.h>

struct property {
    const char *name;
    /* `what` names option and property in messages. */
    bool (*set)(struct options *o, const char *what, const char *value, struct error *err);
    const char *only; /* with set NULL: "off|auto", the values that are true of this machine */
};

/* Sets every property of the list; a lone name means name=on. An unknown name is an error that
 * names the nearest. */
bool properties_set(struct options *o, const char *what, const char *text,
                    const struct property *rows, size_t count, struct error *err);

/* The same for "VALUE[,NAME=VALUE]...": what stands first without a name is given to `first`. */
bool properties_set_first(struct options *o, const char *what, const char *text,
                          bool (*first)(struct options *o, const char *what, const char *value,
                                        struct error *err),
                          const struct property *rows, size_t count, struct error *err);

/* A property without any effect here, whatever its value. */
bool property_ignore(struct options *o, const char *what, const char *value, struct error *err);

/* True if the word is one of "a|b|c". */
bool word_in(const char *word, const char *words);

#endif
