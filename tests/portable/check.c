#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIXTURE_MAX 8

struct run {
    const struct ck_test *test;
    int signal, status, i;
    struct run *next;
};

struct fixtures {
    void (*setup[FIXTURE_MAX])(void);
    void (*teardown[FIXTURE_MAX])(void);
    int count;
};

struct tcase {
    const char *name;
    unsigned timeout; /* seconds */
    struct fixtures checked, unchecked;
    struct run *runs, **last;
    struct tcase *next;
};

struct suite {
    const char *name;
    struct tcase *tcases, **last;
    struct suite *next;
};

struct srunner {
    struct suite *suites, **last;
    int run, failed;
};

/* Everything lives until the program ends. */
static void *make(size_t size)
{
    void *made = calloc(1, size);

    if (made == NULL)
        abort();
    return made;
}

Suite *suite_create(const char *name)
{
    Suite *suite = make(sizeof(*suite));

    suite->name = name;
    suite->last = &suite->tcases;
    return suite;
}

TCase *tcase_create(const char *name)
{
    TCase *tc = make(sizeof(*tc));

    tc->name = name;
    tc->timeout = 60;
    tc->last = &tc->runs;
    return tc;
}

void suite_add_tcase(Suite *suite, TCase *tc)
{
    *suite->last = tc;
    suite->last = &tc->next;
}

SRunner *srunner_create(Suite *suite)
{
    SRunner *runner = make(sizeof(*runner));

    runner->last = &runner->suites;
    if (suite != NULL)
        srunner_add_suite(runner, suite);
    return runner;
}

void srunner_add_suite(SRunner *runner, Suite *suite)
{
    *runner->last = suite;
    runner->last = &suite->next;
}

void srunner_set_fork_status(SRunner *runner, enum fork_status status)
{
    (void)runner;
    (void)status;
}

void tcase_set_timeout(TCase *tc, double seconds)
{
    tc->timeout = 10 * (unsigned)(seconds + 1); /* these hosts are emulated ones */
}

static void add_fixture(struct fixtures *f, void (*setup)(void), void (*teardown)(void))
{
    if (f->count == FIXTURE_MAX)
        abort();
    f->setup[f->count] = setup;
    f->teardown[f->count++] = teardown;
}

void tcase_add_checked_fixture(TCase *tc, void (*setup)(void), void (*teardown)(void))
{
    add_fixture(&tc->checked, setup, teardown);
}

void tcase_add_unchecked_fixture(TCase *tc, void (*setup)(void), void (*teardown)(void))
{
    add_fixture(&tc->unchecked, setup, teardown);
}

void ck_add(TCase *tc, const struct ck_test *test, int signal, int status, int start, int end)
{
    for (int i = start; i < end; i++) {
        struct run *run = make(sizeof(*run));
        run->test = test;
        run->signal = signal;
        run->status = status;
        run->i = i;
        *tc->last = run;
        tc->last = &run->next;
    }
}

_Noreturn void ck_failed(const char *file, int line, const char *expression, const char *format,
                         ...)
{
    va_list args;

    printf("%s:%d: failed: %s: ", file, line, expression);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    fflush(NULL);
    _exit(1);
}

static void set_up(const struct fixtures *f)
{
    for (int i = 0; i < f->count; i++) {
        if (f->setup[i] != NULL)
            f->setup[i]();
    }
}

static void tear_down(const struct fixtures *f)
{
    for (int i = f->count; i-- > 0;) {
        if (f->teardown[i] != NULL)
            f->teardown[i]();
    }
}

static int run_one(const struct tcase *tc, const struct run *run)
{
    int status, good;
    pid_t child;

    fflush(NULL);
    child = fork();
    if (child == 0) {
        alarm(tc->timeout);
        set_up(&tc->checked);
        run->test->run(run->i);
        tear_down(&tc->checked);
        fflush(NULL);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        abort();
    if (run->signal != 0)
        good = WIFSIGNALED(status) && WTERMSIG(status) == run->signal;
    else
        good = WIFEXITED(status) && WEXITSTATUS(status) == run->status;
    if (!good)
        printf("%s, run %d: failed with wait status 0x%x\n", run->test->name, run->i, status);
    return good;
}

void srunner_run_all(SRunner *runner, enum print_output mode)
{
    (void)mode;
    for (struct suite *suite = runner->suites; suite != NULL; suite = suite->next) {
        for (struct tcase *tc = suite->tcases; tc != NULL; tc = tc->next) {
            set_up(&tc->unchecked);
            for (struct run *run = tc->runs; run != NULL; run = run->next) {
                runner->run++;
                runner->failed += !run_one(tc, run);
            }
            tear_down(&tc->unchecked);
        }
        printf("%s: %d run, %d failed\n", suite->name, runner->run, runner->failed);
    }
}

int srunner_ntests_failed(SRunner *runner)
{
    return runner->failed;
}

int srunner_ntests_run(SRunner *runner)
{
    return runner->run;
}

void srunner_free(SRunner *runner)
{
    free(runner);
}
