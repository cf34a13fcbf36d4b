/*
 * A library for LD_PRELOAD: joins the thread that the stressor pthread of stress-ng (before
 * 0.21.00) forgets.
 *
 * stress_pthread() makes threads in a loop. When its time is up (or its --pthread-ops are done), it
 * leaves the loop behind pthread_create() and before the index is counted up, and then joins the
 * threads below the index: all but the last one. It returns, and what is called next uses the stack
 * where the arguments of its threads were (its variable `pargs`). A last thread that begins only
 * now takes nonsense from there for its two pointers: stress_pthread_func() ends with #GP or a page
 * fault when it stores its time of start (`pthread_info->t_run`), unless the process ends before
 * that.
 *
 * pthread_cond_destroy() is what stress_pthread() calls between its joins and its end.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* What the calling thread has made last, and whether it still has to join that. */
static _Thread_local pthread_t last;
static _Thread_local bool unjoined;

/* The library's own function, of the type that `function` points to (C has no cast for this). */
static void next(const char *name, void *function)
{
    void *address = dlsym(RTLD_NEXT, name);

    memcpy(function, &address, sizeof(address));
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*begin)(void *),
                   void *argument)
{
    int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    int error;

    next("pthread_create", &create);
    error = create(thread, attributes, begin, argument);
    if (error == 0) {
        last = *thread;
        unjoined = true;
    }
    return error;
}

int pthread_join(pthread_t thread, void **result)
{
    int (*join)(pthread_t, void **);

    next("pthread_join", &join);
    if (unjoined && pthread_equal(thread, last))
        unjoined = false;
    return join(thread, result);
}

int pthread_cond_destroy(pthread_cond_t *condition)
{
    int (*destroy)(pthread_cond_t *);

    next("pthread_cond_destroy", &destroy);
    if (unjoined)
        pthread_join(last, NULL);
    return destroy(condition);
}
