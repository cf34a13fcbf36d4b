/* A machine that was saved, destroyed and restored goes on as if nothing had happened. */
#include "base/random.h"
#include "base/state.h"
#include "machine/machine.h"

#include <time.h>

#include "tests/unit/machine/guests.h"
#include "tests/unit/machine/machine_rig.h"
#include "tests/unit/run_suite.h"

static struct rig rig;

static void setup(void)
{
    RIG64(&rig, worker);
    rig.config.exit_port = true;
    rig.config.memory_size = 16 << 20;
}

static void teardown(void)
{
    rig_destroy(&rig);
}

/* What a run of the worker leaves behind. */
struct trail {
    uint64_t instructions, time, memory, state;
    char output[sizeof(rig.output)];
};

static void finish(struct trail *t)
{
    ck_assert_msg(rig_run(&rig, UINT64_MAX) == MACHINE_END_EXIT_PORT, "%s", rig.result.text);
    t->instructions = machine_instructions(rig.machine);
    t->time = machine_time(rig.machine);
    t->memory = machine_memory_state_hash(rig.machine);
    t->state = machine_state_hash(rig.machine);
    snprintf(t->output, sizeof(t->output), "%s", rig.output);
}

static void run_whole(struct trail *t)
{
    rig_create(&rig);
    finish(t);
    machine_destroy(rig.machine);
    rig.machine = NULL;
    rig.output_count = 0;
    memset(rig.output, 0, sizeof(rig.output));
}

static void assert_same(const struct trail *a, const struct trail *b)
{
    ck_assert_uint_eq(a->instructions, b->instructions);
    ck_assert_uint_eq(a->time, b->time);
    ck_assert_str_eq(a->output, b->output);
    ck_assert_uint_eq(a->memory, b->memory);
    ck_assert_uint_eq(a->state, b->state);
}

/* Runs to instruction `at` and saves; the machine is gone afterwards. */
static uint8_t *save_at(uint64_t at, size_t *length)
{
    struct state *s = state_create_saving();
    const void *bytes;
    uint8_t *copy;

    rig_create(&rig);
    ck_assert_int_eq(rig_run(&rig, at), MACHINE_END_TARGET);
    ck_assert_uint_eq(machine_instructions(rig.machine), at);
    machine_save(rig.machine, s);
    ck_assert(state_finish(s, NULL));
    machine_destroy(rig.machine);
    rig.machine = NULL;
    bytes = state_data(s, length);
    copy = malloc(*length);
    memcpy(copy, bytes, *length);
    state_destroy(s);
    return copy;
}

static bool load(const uint8_t *bytes, size_t length, struct error *err)
{
    struct state *s = state_create_loading(bytes, length);
    bool ok = machine_load(rig.machine, s, err);

    state_destroy(s);
    return ok;
}

static uint64_t next_random(uint64_t *state)
{
    return random_next(state) >> 20;
}

START_TEST(the_worker_does_its_work)
{
    struct trail t;

    run_whole(&t);
    ck_assert_uint_eq(strlen(t.output), 60);
    ck_assert_uint_gt(t.time, 55000000);
    ck_assert_uint_gt(t.instructions, 100000);
    ck_assert_uint_lt(t.instructions, t.time >> 6); /* it has slept */
}
END_TEST

START_TEST(a_restored_machine_ends_as_the_uninterrupted_one)
{
    struct trail whole, parts;
    uint64_t random = rig_seed();

    rig.config.p2m = (enum machine_p2m)_i;
    run_whole(&whole);
    for (unsigned n = 0; n < 6; n++) {
        uint64_t at = next_random(&random) % whole.instructions;
        struct error err = {0};
        size_t length;
        uint8_t *bytes = save_at(at, &length);

        printf("instruction %llu of %llu\n", (unsigned long long)at,
               (unsigned long long)whole.instructions);
        rig_create(&rig);
        ck_assert_msg(load(bytes, length, &err), "%s", err.text);
        free(bytes);
        ck_assert_uint_eq(machine_instructions(rig.machine), at);
        finish(&parts);
        assert_same(&whole, &parts);
        machine_destroy(rig.machine);
        rig.machine = NULL;
        rig.output_count = 0;
        memset(rig.output, 0, sizeof(rig.output));
    }
}
END_TEST

START_TEST(a_guest_is_the_same_wherever_its_memory_lies)
{
    struct trail bare, identity, scattered;

    run_whole(&bare);
    rig.config.p2m = MACHINE_P2M_IDENTITY;
    run_whole(&identity);
    rig.config.p2m = MACHINE_P2M_SCATTER;
    run_whole(&scattered);
    ck_assert_uint_eq(bare.memory, identity.memory);
    ck_assert_uint_ne(bare.memory, scattered.memory); /* by machine address */
    identity.state = scattered.state = bare.state;    /* the map is part of it */
    scattered.memory = bare.memory;
    assert_same(&bare, &identity);
    assert_same(&bare, &scattered);
}
END_TEST

START_TEST(saving_does_not_change_the_machine)
{
    struct trail whole, parts;

    run_whole(&whole);
    rig_create(&rig);
    for (uint64_t at = 1000; at < whole.instructions; at += whole.instructions / 7) {
        struct state *s = state_create_saving();

        ck_assert_int_eq(rig_run(&rig, at), MACHINE_END_TARGET);
        machine_save(rig.machine, s);
        state_destroy(s);
    }
    finish(&parts);
    assert_same(&whole, &parts);
}
END_TEST

START_TEST(what_is_loaded_is_what_a_machine_has_at_that_instruction)
{
    uint64_t hash;

    for (uint64_t at = 0; at < 16; at++) {
        struct error err = {0};
        size_t length;
        uint8_t *bytes = save_at(at * 3001, &length);

        rig_create(&rig);
        ck_assert_msg(load(bytes, length, &err), "%s", err.text);
        hash = machine_state_hash(rig.machine);
        machine_destroy(rig.machine);
        rig_create(&rig);
        ck_assert_int_eq(rig_run(&rig, at * 3001), MACHINE_END_TARGET);
        ck_assert_uint_eq(hash, machine_state_hash(rig.machine));
        machine_destroy(rig.machine);
        rig.machine = NULL;
        free(bytes);
    }
}
END_TEST

START_TEST(a_snapshot_cut_short_or_changed_is_refused)
{
    uint64_t random = rig_seed();
    size_t length;
    uint8_t *bytes = save_at(30000, &length);

    for (unsigned n = 0; n < 60; n++) {
        size_t where = next_random(&random) % length;
        bool cut = n % 2 == 0;
        struct error err = {0};
        uint8_t *copy = malloc(length);

        memcpy(copy, bytes, length);
        copy[where] ^= (uint8_t)(1 + next_random(&random) % 255);
        rig_create(&rig);
        ck_assert_msg(!load(copy, cut ? where : length, &err), "byte %zu of %zu", where, length);
        ck_assert_str_ne(err.text, "");
        machine_destroy(rig.machine);
        rig.machine = NULL;
        free(copy);
    }
    free(bytes);
}
END_TEST

/* With a checksum that fits, the sections have to defend themselves: an error or a machine that
 * runs, never a crash. RAM is left alone; its bytes are the guest's business. */
START_TEST(a_forged_snapshot_does_not_crash)
{
    uint64_t random = rig_seed();
    unsigned refused = 0;
    size_t length, devices;
    uint8_t *bytes = save_at(30000, &length);

    for (devices = length - 4; memcmp(bytes + devices, "has-", 4) != 0; devices--)
        ;
    for (unsigned n = 0; n < 100; n++) {
        struct error err = {0};
        uint8_t *copy = malloc(length);
        size_t size = length - 8;
        struct state *s;

        memcpy(copy, bytes, size);
        for (unsigned k = 0; k <= n % 3; k++) {
            uint64_t r = next_random(&random);
            /* The last 16 KiB are devices; the first 2 KiB machine, clock and processor. */
            size_t at = r & 1 ? size - 1 - (r >> 8) % 16384 : (r >> 8) % 2048;

            copy[at] = r & 2 ? copy[at] ^ (uint8_t)(1 << (r >> 4 & 7)) : (uint8_t)(r >> 40);
        }
        for (unsigned k = 0; k < 8; k++)
            copy[size + k] = (uint8_t)(state_checksum(copy, size) >> 8 * k);
        rig_create(&rig);
        s = state_create_loading(copy, length);
        if (machine_load(rig.machine, s, &err)) {
            rig.config.guest_timeout_ns = 0;
            rig_run(&rig, machine_instructions(rig.machine) + 20000);
        } else {
            ck_assert_str_ne(err.text, "");
            refused++;
        }
        state_destroy(s);
        machine_destroy(rig.machine);
        rig.machine = NULL;
        free(copy);
    }
    free(bytes);
    ck_assert_uint_gt(refused, 0);
}
END_TEST

START_TEST(a_machine_of_another_configuration_refuses_the_snapshot)
{
    struct error err = {0};
    size_t length;
    uint8_t *bytes = save_at(1000, &length);

    rig.config.memory_size = 17 << 20;
    rig_create(&rig);
    ck_assert(!load(bytes, length, &err));
    ck_assert_ptr_nonnull(strstr(err.text, "size of RAM"));
    machine_destroy(rig.machine);
    rig.config.memory_size = 16 << 20;

    err = (struct error){0};
    rig.config.cpu = "qemu64";
    rig_create(&rig);
    ck_assert(!load(bytes, length, &err));
    ck_assert_ptr_nonnull(strstr(err.text, "processor model"));
    machine_destroy(rig.machine);
    rig.config.cpu = NULL;

    err = (struct error){0};
    rig.config.smp = (struct machine_smp){{2, 1, 1}, 2};
    rig_create(&rig);
    ck_assert(!load(bytes, length, &err));
    ck_assert_ptr_nonnull(strstr(err.text, "arrangement"));
    machine_destroy(rig.machine);
    rig.config.smp = (struct machine_smp){0};

    err = (struct error){0};
    rig.config.hpet = false;
    rig_create(&rig);
    ck_assert(!load(bytes, length, &err));
    ck_assert_ptr_nonnull(strstr(err.text, "device"));
    machine_destroy(rig.machine);
    rig.config.hpet = true;

    err = (struct error){0};
    rig.config.p2m = MACHINE_P2M_SCATTER;
    rig_create(&rig);
    ck_assert(!load(bytes, length, &err));
    ck_assert_ptr_nonnull(strstr(err.text, "p2m"));
    machine_destroy(rig.machine);
    rig.machine = NULL;
    free(bytes);

    err = (struct error){0};
    bytes = save_at(1000, &length);
    rig.config.p2m = MACHINE_P2M_BARE;
    rig_create(&rig);
    ck_assert(!load(bytes, length, &err));
    ck_assert_ptr_nonnull(strstr(err.text, "p2m"));
    free(bytes);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("snapshot");

    tcase_set_timeout(tc, 600);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, the_worker_does_its_work);
    tcase_add_loop_test(tc, a_restored_machine_ends_as_the_uninterrupted_one, MACHINE_P2M_BARE,
                        MACHINE_P2M_SCATTER + 1);
    tcase_add_test(tc, a_guest_is_the_same_wherever_its_memory_lies);
    tcase_add_test(tc, saving_does_not_change_the_machine);
    tcase_add_test(tc, what_is_loaded_is_what_a_machine_has_at_that_instruction);
    tcase_add_test(tc, a_snapshot_cut_short_or_changed_is_refused);
    tcase_add_test(tc, a_forged_snapshot_does_not_crash);
    tcase_add_test(tc, a_machine_of_another_configuration_refuses_the_snapshot);
    return run_suite("snapshot", tc);
}
