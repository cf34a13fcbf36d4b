/* Multiboot Specification 0.6.96. */
#include "machine/loader_internal.h"
bool loader_multiboot_is(const struct loader_file *file)
{
    (void)file;
    return false;
}
bool loader_multiboot_boot(struct loader *l)
{
    return error_set(l->err, "%s: multiboot kernels cannot be booted yet", l->kernel->name);
}
