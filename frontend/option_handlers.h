/* The functions that options.def names: each takes the option's value (NULL if it has none). */
#ifndef FRONTEND_OPTION_HANDLERS_H
#define FRONTEND_OPTION_HANDLERS_H

#include "frontend/options.h"

typedef bool option_fn(struct options *o, const char *value, struct error *err);

#define GROUP(title)
#define OPTION(name, syntax, handler, help) option_fn handler;
#define ALIAS(name, option)
#define ACCEPT(name, syntax, why)
#define LATER(name, syntax, what)
#include "frontend/options.def"
#undef GROUP
#undef OPTION
#undef ALIAS
#undef ACCEPT
#undef LATER

#endif
