/*
 * A vCPU with a model, for the tests of CPUID. setup and teardown are a checked fixture;
 * select_model takes what -cpu takes.
 */
#ifndef TESTS_UNIT_CPU_CPUID_RIG_H
#define TESTS_UNIT_CPU_CPUID_RIG_H

#include "cpu/cpuid.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

enum { EAX, EBX, ECX, EDX };

static struct vcpu *cpu;
static struct cpu_model model;

static void setup(void)
{
    cpu = calloc(1, sizeof(*cpu));
    cpu->model = &model;
    cpu->tsc_hz = 1000000000;
}

static void teardown(void)
{
    free(cpu);
}

static void select_model(const char *spec)
{
    struct error err = {0};

    ck_assert_msg(cpu_model_parse(spec, &model, &err), "%s", err.text);
    memcpy(cpu->features, model.features, sizeof(cpu->features));
}

#endif
