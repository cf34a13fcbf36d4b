/*
 * The remote protocol of debuggers without a debugger: packets as the GDB manual ("Remote
 * Protocol") describes them, right and wrong ones, against a machine with a small guest.
 */
#include "frontend/gdb_session.h"
#include "machine/debug.h"
#include "tests/unit/machine/machine_rig.h"
#include "tests/unit/machine/guests.h"
#include "tests/unit/run_suite.h"

/* Real mode, at 0000:7c00: 40; 66 40; a store to 600h; a loop for ever. */
GUEST16(debugged, "inc %ax\n inc %eax\n mov %ax, 0x600\n 1: jmp 1b");
#define LOOP_AT "7c06"

static struct rig rig;
static const struct report_tools no_tools;
static struct gdb_session session;
static const char *const *next_input; /* what the client sends, stop by stop; NULL ends it */
static char sent[64 << 10];
static size_t sent_count;

#define FRAMES_MAX 8
static struct gdb_reply frames[FRAMES_MAX];
static unsigned frame_count;
static unsigned processors = 1; /* the others wait for start-up */

static void collect(void *opaque, const void *bytes, size_t count)
{
    (void)opaque;
    ck_assert_uint_lt(sent_count + count, sizeof(sent));
    memcpy(sent + sent_count, bytes, count);
    sent_count += count;
    sent[sent_count] = '\0';
}

/* The machine is parked. */
static void wait(void *opaque, uint64_t ns)
{
    (void)opaque;
    (void)ns;
    gdb_session_parked(&session);
    if (*next_input == NULL) {
        machine_quit(rig.machine, MACHINE_END_QUIT, 0);
        return;
    }
    gdb_session_input(&session, *next_input, strlen(*next_input));
    next_input++;
}

/* "$text#xx", until the conversation is over. */
static const char *frame(const char *text)
{
    struct gdb_reply in = {0}, *out = &frames[frame_count++];

    ck_assert_uint_le(frame_count, FRAMES_MAX);
    gdb_reply_text(&in, text);
    gdb_reply_frame(out, &in);
    gdb_reply_free(&in);
    return out->text;
}

/* Has the machine run with a client that sends these lines; what it heard is in `sent`. */
static void converse(const char *const *lines)
{
    RIG16(&rig, debugged);
    rig.config.host = (struct machine_host){.wait = wait};
    rig.config.smp = (struct machine_smp){{1, processors, 1}, processors};
    rig_create(&rig);
    next_input = lines;
    sent_count = 0;
    gdb_session_begin(&session, rig.machine, &no_tools, collect, NULL);
    rig_run(&rig, 100000);
    gdb_session_ended(&session, 5);
    gdb_session_end(&session);
    rig_destroy(&rig);
    while (frame_count > 0)
        gdb_reply_free(&frames[--frame_count]);
}

#define CONVERSE(...) converse((const char *const[]){__VA_ARGS__, NULL})

/* The reply to one packet, without its frame and the acknowledgment. */
static const char *ask(const char *packet)
{
    char *end;

    CONVERSE(frame(packet));
    ck_assert_msg(strncmp(sent, "+$", 2) == 0, "heard: %s", sent);
    end = strrchr(sent, '#');
    ck_assert_ptr_nonnull(end);
    *end = '\0';
    return sent + 2;
}

START_TEST(a_packet_with_a_wrong_checksum_is_asked_for_again)
{
    CONVERSE("$?#00");
    ck_assert_str_eq(sent, "-");
}
END_TEST

START_TEST(a_reply_is_sent_again_if_the_client_did_not_get_it)
{
    CONVERSE(frame("qC"), "-");
    ck_assert_str_eq(sent, "+$QC1#c5$QC1#c5");
}
END_TEST

START_TEST(without_acknowledgments_none_are_sent)
{
    CONVERSE(frame("QStartNoAckMode"), "+", frame("qC"), "$qC#00");
    ck_assert_str_eq(sent, "+$OK#9a$QC1#c5");
}
END_TEST

START_TEST(packets_that_are_too_long_are_refused)
{
    size_t length = 2 * GDB_PACKET_MAX;
    char *text = malloc(length + 1);

    memset(text, 'a', length);
    text[length] = '\0';
    CONVERSE(frame(text), frame("qC"));
    ck_assert_msg(strncmp(sent, "-+$QC1", 6) == 0, "heard: %s", sent);
    free(text);
}
END_TEST

START_TEST(unknown_packets_are_answered_with_nothing)
{
    ck_assert_str_eq(ask("vMustReplyEmpty"), "");
    ck_assert_str_eq(ask("!"), "");
    ck_assert_str_eq(ask("qTStatus"), "");
    ck_assert_str_eq(ask(""), "");
}
END_TEST

START_TEST(malformed_packets_are_errors)
{
    static const char *const packets[] = {
        "m",           "m7c00",
        "m7c00,",      "mxyz,1",
        "m7c00,1,",    "M600,2:1",
        "M600,2",      "p",
        "pffffffff",   "P1=zz",
        "P1",          "Z0,",
        "Z9,7c00,1",   "z2,600,1",
        "vCont;",      "vCont;x",
        "Z2,600,2000", "qRcmd,6",
        "X600,4:ab",   "Z2,600,0",
        "Gxx",         "Z2,ffffffffffffffff,8",
    };

    for (size_t n = 0; n < sizeof(packets) / sizeof(packets[0]); n++)
        ck_assert_msg(strcmp(ask(packets[n]), "E01") == 0, "%s: %s", packets[n], sent);
}
END_TEST

START_TEST(memory_is_read_and_written)
{
    ck_assert_str_eq(ask("m7c00,3"), "406640");
    ck_assert_str_eq(ask("mf0000000,1"), "E01");
    CONVERSE(frame("M600,3:0102ff"), frame("X603,2:\x7d\x5d\x7d\x03"), frame("m600,5"));
    ck_assert_ptr_nonnull(strstr(sent, "$0102ff7d23#"));
}
END_TEST

/* A read that leaves memory behind answers what is there. */
START_TEST(memory_ends_where_it_ends)
{
    ck_assert_uint_eq(strlen(ask("m1fffffe,2")), 4);
    ck_assert_uint_eq(strlen(ask("m2000000,2")), 3); /* E01 */
    ck_assert_uint_eq(strlen(ask("m1fffffe,4")), 4);
}
END_TEST

START_TEST(registers_are_numbered_as_described)
{
    CONVERSE(frame("P0=8877665544332211"), frame("p0"), frame("P10=0000000000000000"));
    ck_assert_ptr_nonnull(strstr(sent, "$8877665544332211#"));
    /* All of them are as long as the description says. */
    size_t bits = 0;
    for (unsigned n = 0; n < machine_register_count(); n++)
        bits += machine_register_info(n)->bits;
    ck_assert_uint_eq(strlen(ask("g")), bits / 4);
}
END_TEST

static unsigned number_of(const char *name)
{
    unsigned n = 0;

    while (n < machine_register_count() && strcmp(machine_register_info(n)->name, name) != 0)
        n++;
    ck_assert_msg(n < machine_register_count(), "no register %s", name);
    return n;
}

/* Sets a register to these bytes, asks for it, and for another that must not have changed. */
static void check_register(const char *name, const char *bytes, const char *other)
{
    char set[128], get[16], get_other[16], expected[128];

    snprintf(set, sizeof(set), "P%x=%s", number_of(name), bytes);
    snprintf(get, sizeof(get), "p%x", number_of(name));
    snprintf(get_other, sizeof(get_other), "p%x", number_of(other));
    snprintf(expected, sizeof(expected), "$%s#", bytes);
    CONVERSE(frame(set), frame(get), frame(get_other));
    ck_assert_msg(strstr(sent, "$OK#") != NULL, "%s: %s", name, sent);
    ck_assert_msg(strstr(sent, expected) != NULL, "%s: %s", name, sent);
    ck_assert_msg(strstr(sent, "$0000000000000000") != NULL, "%s: %s", other, sent);
}

#define BYTES16 "0123456789abcdef00112233445566f7"

START_TEST(vector_and_opmask_registers_are_read_and_written)
{
    check_register("xmm3", BYTES16, "ymm3h");
    check_register("ymm15h", BYTES16, "xmm15");
    check_register("zmm0h", BYTES16 BYTES16, "ymm0h");
    check_register("xmm16", BYTES16, "xmm0");
    check_register("ymm17h", BYTES16, "zmm17h");
    check_register("zmm31h", BYTES16 BYTES16, "ymm31h");
    check_register("k0", "8877665544332211", "k1");
    check_register("k7", "8877665544332211", "k6");
}
END_TEST

/* GDB wants all of a feature's registers, and each feature has types of its own. */
START_TEST(the_description_has_avx512)
{
    static const char feature[] = "<feature name=\"org.gnu.gdb.i386.avx512\">";
    static char description[64 << 10];
    const char *text, *end;
    unsigned count = 0;

    description[0] = '\0';
    do {
        char packet[64];

        snprintf(packet, sizeof(packet), "qXfer:features:read:target.xml:%zx,1000",
                 strlen(description));
        text = ask(packet);
        ck_assert_uint_lt(strlen(description) + strlen(text), sizeof(description));
        strcat(description, text + 1);
    } while (text[0] == 'm');
    text = strstr(description, feature);
    ck_assert_ptr_nonnull(text);
    end = strstr(text, "</feature>");
    ck_assert_ptr_nonnull(end);
    ck_assert(strstr(text, "<union id=\"vec128\">") < end);
    ck_assert(strstr(text, "<vector id=\"v2ui128\"") < end);
    for (; (text = strstr(text, "<reg name=")) != NULL && text < end; text++)
        count++;
    ck_assert_uint_eq(count, 16 + 16 + 8 + 32);
}
END_TEST

START_TEST(the_description_comes_in_pieces)
{
    const char *first = ask("qXfer:features:read:target.xml:0,100");

    ck_assert_int_eq(first[0], 'm');
    ck_assert_ptr_nonnull(strstr(first, "i386:x86-64"));
    ck_assert_str_eq(ask("qXfer:features:read:target.xml:fffffff,100"), "l");
    ck_assert_str_eq(ask("qXfer:features:read:other.xml:0,100"), "E00");
    ck_assert_str_eq(ask("qXfer:features:read:target.xml:0"), "E01");
}
END_TEST

START_TEST(steps_in_real_mode)
{
    CONVERSE(frame("?"), frame("s"), frame("p10"), frame("vCont;s:1;c"), frame("p10"));
    ck_assert_ptr_nonnull(strstr(sent, "$T02thread:1;#"));
    ck_assert_ptr_nonnull(strstr(sent, "$T05thread:1;#"));
    ck_assert_ptr_nonnull(strstr(sent, "$017c000000000000#"));
    ck_assert_ptr_nonnull(strstr(sent, "$037c000000000000#"));
}
END_TEST

/* The stop comes before the machine has gone on at all. */
START_TEST(an_interrupt_right_behind_a_continue_stops)
{
    CONVERSE("$c#63\x03", frame("p10"));
    ck_assert_ptr_nonnull(strstr(sent, "+$T02thread:1;#"));
    ck_assert_ptr_nonnull(strstr(sent, "$007c000000000000#"));
}
END_TEST

START_TEST(points_stop_the_machine)
{
    CONVERSE(frame("Z1," LOOP_AT ",1"), frame("c"), frame("p10"));
    ck_assert_ptr_nonnull(strstr(sent, "$067c000000000000#"));
    CONVERSE(frame("Z2,601,1"), frame("c"), frame("p10"));
    ck_assert_ptr_nonnull(strstr(sent, "$T05thread:1;watch:601;#"));
    CONVERSE(frame("Z0," LOOP_AT ",1"), frame("z0," LOOP_AT ",1"), frame("c"));
    ck_assert_int_eq(rig.result.end, MACHINE_END_TARGET);
    ck_assert_ptr_nonnull(strstr(sent, "$W05#"));
}
END_TEST

START_TEST(the_monitor_answers_in_hexadecimal)
{
    const char *answer = ask("qRcmd,6e6f6e73656e7365"); /* nonsense */

    ck_assert_int_eq(strncmp(answer, "7468657265206973206e6f", 22), 0); /* there is no */
}
END_TEST

/* mce 99 0: 99 is no bank; mce 1 0 is an error that is corrected. */
START_TEST(the_monitor_injects_machine_checks)
{
    ck_assert_int_eq(strncmp(ask("qRcmd,6d63652039392030"), "7468657265206973206e6f", 22), 0);
    ck_assert_int_eq(strncmp(ask("qRcmd,6d636520312030"), "6c6f67676564", 12), 0); /* logged */
}
END_TEST

/* --- Several processors --- */

START_TEST(each_processor_is_a_thread)
{
    ck_assert_str_eq(ask("qfThreadInfo"), "m1");
    ck_assert_str_eq(ask("T2"), "E01");
    processors = 18;
    ck_assert_str_eq(ask("qfThreadInfo"), "m1,2,3,4,5,6,7,8,9,a,b,c,d,e,f,10,11,12");
    ck_assert_str_eq(ask("qsThreadInfo"), "l");
    ck_assert_str_eq(ask("qC"), "QC1");
    ck_assert_str_eq(ask("T12"), "OK");
    ck_assert_str_eq(ask("T13"), "E01");
    ck_assert_str_eq(ask("qThreadExtraInfo,1"), "4350552330205b72756e6e696e675d");
    ck_assert_str_eq(ask("qThreadExtraInfo,2"),
                     "4350552331205b77616974696e6720666f722073746172742d75705d");
    ck_assert_str_eq(ask("qThreadExtraInfo,0"), "E01");
    ck_assert_str_eq(ask("qThreadExtraInfo,ffffffffffffffff"), "E01");
}
END_TEST

/* 10h: RIP. */
START_TEST(registers_are_those_of_the_chosen_thread)
{
    processors = 2;
    CONVERSE(frame("QStartNoAckMode"), frame("Hg2"), frame("p10"), frame("Hg1"), frame("p10"),
             frame("Hg3"), frame("qC"));
    ck_assert_str_eq(sent, "+$OK#9a$OK#9a$f0ffffff00000000#7a$OK#9a$007c000000000000#3a"
                           "$E01#a6$QC1#c5");
    CONVERSE(frame("QStartNoAckMode"), frame("Hg2"), frame("Hg0"), frame("Hg-1"), frame("qC"));
    ck_assert_ptr_nonnull(strstr(sent, "$QC2#"));
    ck_assert_str_eq(ask("H"), "E01");
    ck_assert_str_eq(ask("Hx1"), "E01");
    ck_assert_str_eq(ask("Hgx"), "E01");
}
END_TEST

START_TEST(threads_go_on_as_they_are_told)
{
    processors = 2;
    ck_assert_str_eq(ask("vCont;s:1"), "T05thread:1;");
    ck_assert_str_eq(ask("vCont;s:1;c"), "T05thread:1;");
    ck_assert_str_eq(ask("vCont;s"), "T05thread:1;");
    ck_assert_str_eq(ask("vCont;S05:1;C05:-1"), "T05thread:1;");
    ck_assert_str_eq(ask("vCont;s:2"), "T05thread:2;"); /* nothing to run, but no waiting */
    ck_assert_str_eq(ask("vCont;s:2;c:2"), "T05thread:2;");
    ck_assert_str_eq(ask("s"), "T05thread:1;");
    CONVERSE(frame("Hc2"), frame("s"));
    ck_assert_ptr_nonnull(strstr(sent, "$T05thread:2;#"));
    ck_assert_str_eq(ask("vCont;c:2"), "T02thread:2;"); /* nothing would ever wake it */
    CONVERSE(frame("Hc2"), frame("c"));
    ck_assert_ptr_nonnull(strstr(sent, "$T02thread:2;#"));
}
END_TEST

START_TEST(actions_for_nobody_are_errors)
{
    static const char *const packets[] = {
        "vCont;",
        "vCont;x",
        "vCont;c:3",
        "vCont;s:1;q",
        "vCont;c:",
        "vCont;s:1x",
        "vCont;C:1",
        "vCont;t:1",
        "vCont;s:1,c",
        "vCont;c:-2",
        "vCont;c:fffffffffffffffff",
        "vCont;C",
        "vCont;r1,2",
        "vCont;s;;",
        "vCont;s:1:1",
    };

    processors = 2;
    for (unsigned n = 0; n < ARRAY_SIZE(packets); n++)
        ck_assert_msg(strcmp(ask(packets[n]), "E01") == 0, "%s: %s", packets[n], sent);
}
END_TEST

START_TEST(killing_ends_the_run)
{
    CONVERSE(frame("k"), frame("c"));
    ck_assert_int_eq(rig.result.end, MACHINE_END_QUIT);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("gdb");

    tcase_add_test(tc, a_packet_with_a_wrong_checksum_is_asked_for_again);
    tcase_add_test(tc, a_reply_is_sent_again_if_the_client_did_not_get_it);
    tcase_add_test(tc, without_acknowledgments_none_are_sent);
    tcase_add_test(tc, packets_that_are_too_long_are_refused);
    tcase_add_test(tc, unknown_packets_are_answered_with_nothing);
    tcase_add_test(tc, malformed_packets_are_errors);
    tcase_add_test(tc, memory_is_read_and_written);
    tcase_add_test(tc, memory_ends_where_it_ends);
    tcase_add_test(tc, registers_are_numbered_as_described);
    tcase_add_test(tc, vector_and_opmask_registers_are_read_and_written);
    tcase_add_test(tc, the_description_has_avx512);
    tcase_add_test(tc, the_description_comes_in_pieces);
    tcase_add_test(tc, steps_in_real_mode);
    tcase_add_test(tc, an_interrupt_right_behind_a_continue_stops);
    tcase_add_test(tc, points_stop_the_machine);
    tcase_add_test(tc, the_monitor_answers_in_hexadecimal);
    tcase_add_test(tc, the_monitor_injects_machine_checks);
    tcase_add_test(tc, each_processor_is_a_thread);
    tcase_add_test(tc, registers_are_those_of_the_chosen_thread);
    tcase_add_test(tc, threads_go_on_as_they_are_told);
    tcase_add_test(tc, actions_for_nobody_are_errors);
    tcase_add_test(tc, killing_ends_the_run);
    return run_suite("gdb", tc);
}
