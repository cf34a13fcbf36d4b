/* CPUID against the table of features and the models (docs/cpu-features.md is made of the same). */
#include "tests/unit/cpu/cpuid_rig.h"
#include "tests/unit/run_suite.h"

static const struct {
    const char *word;
    uint32_t leaf, subleaf;
    unsigned reg, bit;
} features[FEATURE_COUNT] = {
#define X(name, word, leaf, subleaf, reg, bit) {word, leaf, subleaf, reg, bit},
    CPU_FEATURES(X)
#undef X
};

static bool shown(unsigned feature)
{
    uint32_t out[4];

    cpu_cpuid(cpu, features[feature].leaf, features[feature].subleaf, out);
    return (out[features[feature].reg] >> features[feature].bit) & 1;
}

START_TEST(each_model_shows_exactly_its_features)
{
    for (unsigned m = 0; m < cpu_model_count; m++) {
        select_model(cpu_models[m].name);
        for (unsigned f = 1; f < FEATURE_COUNT; f++)
            ck_assert_msg(shown(f) == cpu_has(cpu, f), "%s: %s", cpu_models[m].name,
                          features[f].word);
    }
}
END_TEST

START_TEST(a_feature_is_switched_by_its_word)
{
    char spec[64];

    for (unsigned f = 1; f < FEATURE_COUNT; f++) {
        snprintf(spec, sizeof(spec), "max,-%s", features[f].word);
        select_model(spec);
        ck_assert_msg(!shown(f), "%s", spec);
        snprintf(spec, sizeof(spec), "x86-64-v1,+%s", features[f].word);
        select_model(spec);
        ck_assert_msg(shown(f), "%s", spec);
    }
}
END_TEST

START_TEST(no_two_features_share_a_bit)
{
    for (unsigned f = 1; f < FEATURE_COUNT; f++)
        for (unsigned g = f + 1; g < FEATURE_COUNT; g++)
            ck_assert_msg(features[f].leaf != features[g].leaf ||
                              features[f].subleaf != features[g].subleaf ||
                              features[f].reg != features[g].reg ||
                              features[f].bit != features[g].bit,
                          "%s and %s", features[f].word, features[g].word);
}
END_TEST

START_TEST(the_highest_leaves_cover_every_feature)
{
    uint32_t basic[4], extended[4];

    select_model("max");
    cpu_cpuid(cpu, 0, 0, basic);
    cpu_cpuid(cpu, 0x80000000, 0, extended);
    for (unsigned f = 1; f < FEATURE_COUNT; f++)
        ck_assert_uint_le(features[f].leaf,
                          features[f].leaf < 0x80000000 ? basic[EAX] : extended[EAX]);
}
END_TEST

START_TEST(bad_specifications_are_refused_by_name)
{
    static const char *const bad[] = {"nonsuch", "max,+nonsuch", "max,sse", "max,+", "max,"};

    for (unsigned n = 0; n < ARRAY_SIZE(bad); n++) {
        struct error err = {0};

        ck_assert_msg(!cpu_model_parse(bad[n], &model, &err), "%s", bad[n]);
        ck_assert_ptr_nonnull(strstr(err.text, "-cpu"));
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("cpuid");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, each_model_shows_exactly_its_features);
    tcase_add_test(tc, a_feature_is_switched_by_its_word);
    tcase_add_test(tc, no_two_features_share_a_bit);
    tcase_add_test(tc, the_highest_leaves_cover_every_feature);
    tcase_add_test(tc, bad_specifications_are_refused_by_name);
    return run_suite("cpuid", tc);
}
