/* The functions that options.def names: each takes the option's value (NULL if it has none). */
#ifndef FRONTEND_OPTION_HANDLERS_H
#define FRONTEND_OPTION_HANDLERS_H

#include "frontend/options.h"

typedef bool option_fn(struct options *o, const char *value, struct error *err);

/* What can only be checked when all options are known. */
bool options_check_accel(const struct options *o, struct error *err);
bool options_check_mon(const struct options *o, struct error *err);
bool options_check_smp(struct options *o, struct error *err); /* fills o->machine.smp */

/* -serial's and the others' BACKEND. The spec's path points into the value. */
bool options_parse_backend(const char *what, const char *value, struct backend_spec *spec,
                           struct error *err);

#define GROUP(title)
#define OPTION(name, syntax, handler, help) option_fn handler;
#define ALIAS(name, option)
#define ACCEPT(name, syntax, why)
#define LATER(name, syntax, what)
#define NEVER(name, syntax, why)
#include "frontend/options.def"
#undef GROUP
#undef OPTION
#undef ALIAS
#undef ACCEPT
#undef LATER
#undef NEVER

#endif
