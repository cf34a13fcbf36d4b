/*
 * AVX and its companions on a bare vCPU: gates, what becomes of the upper parts of registers,
 * masked accesses and gathers that fault, XSAVE images, and values known from elsewhere. tests/diff
 * holds every row against the host's processor, this program runs on hosts of other architectures,
 * too.
 */
#include "tests/unit/cpu/op_rig.h"

#include "base/log.h"
#include "cpu/cpuid.h"
#include "mmu/bus.h"
#include "mmu/memory.h"
#include "tests/unit/run_suite.h"

static struct rig *rig;

static void setup(void)
{
    rig = rig_create();
    rig->cpu.xcr0 = 7;
}

static void teardown(void)
{
    rig_destroy(rig);
}

/* Every quad of a register gets its own value. */
static void fill(unsigned n, uint64_t first)
{
    for (unsigned k = 0; k < 8; k++)
        rig->cpu.vreg[n].q[k] = first + k;
}

static void set(unsigned n, uint64_t q0, uint64_t q1, uint64_t q2, uint64_t q3)
{
    uint64_t *q = rig->cpu.vreg[n].q;

    q[0] = q0, q[1] = q1, q[2] = q2, q[3] = q3;
}

#define ck_quads(n, q0, q1, q2, q3)                                                                \
    do {                                                                                           \
        ck_assert_uint_eq(rig->cpu.vreg[n].q[0], q0);                                              \
        ck_assert_uint_eq(rig->cpu.vreg[n].q[1], q1);                                              \
        ck_assert_uint_eq(rig->cpu.vreg[n].q[2], q2);                                              \
        ck_assert_uint_eq(rig->cpu.vreg[n].q[3], q3);                                              \
    } while (0)

static uint64_t page64(unsigned offset)
{
    return guest_load64(rig->page + offset);
}

static void page_put64(unsigned offset, uint64_t value)
{
    guest_store64(rig->page + offset, value);
}

/* ---- Gates -------------------------------------------------------------------------------- */

/* The op function that bytes decode to. */
static op_fn *decoded(const char *bytes, unsigned length, uint32_t mode)
{
    struct insn i;
    uint32_t attrs;

    memset(&i, 0, sizeof(i));
    ck_assert_int_eq(decode_insn(&rig->cpu, mode, (const uint8_t *)bytes, length, 0, &i, &attrs),
                     DECODE_OK);
    return i.op;
}

#define LONG (MODE_64 | MODE_LONG | MODE_PROT | MODE_FLAT)

START_TEST(avx_wants_its_state_enabled)
{
    const char *vpaddb = "\xc5\xf5\xfc\xc2"; /* ymm0, ymm1, ymm2 */

    ck_assert(decoded(vpaddb, 4, LONG | MODE_OSFXSR | MODE_OSXSAVE) == op_ud);
    ck_assert(decoded(vpaddb, 4, LONG | MODE_AVX | MODE_TS) == op_nm);
    ck_assert(decoded(vpaddb, 4, LONG | MODE_TS) == op_ud);
    ck_assert(decoded(vpaddb, 4, LONG | MODE_AVX | MODE_EM) != op_ud);
}
END_TEST

START_TEST(integers_of_256_bits_want_avx2)
{
    rig->cpu.features[FEATURE_AVX2 / 64] &= ~BIT64(FEATURE_AVX2 % 64);
    ck_assert(decoded("\xc5\xf5\xfc\xc2", 4, LONG | MODE_AVX) == op_ud);
    ck_assert(decoded("\xc5\xf1\xfc\xc2", 4, LONG | MODE_AVX) != op_ud); /* 128 bits */
    ck_assert(decoded("\xc5\xf4\x58\xc2", 4, LONG | MODE_AVX) != op_ud); /* vaddps ymm */
}
END_TEST

START_TEST(vex_fields_that_a_row_does_not_have_are_refused)
{
    ck_assert(decoded("\xc5\xf1\x6f\xc2", 4, LONG | MODE_AVX) == op_ud); /* vvvv */
    ck_assert(decoded("\xc5\xfd\x6f\xc2", 4, LONG | MODE_AVX) != op_ud);
    ck_assert(decoded("\x66\xc5\xfd\x6f\xc2", 5, LONG | MODE_AVX) == op_ud);     /* prefix 66 */
    ck_assert(decoded("\xc5\xfd\xc5\xc2\x00", 5, LONG | MODE_AVX) == op_ud);     /* vpextrw, L */
    ck_assert(decoded("\xc4\xe2\x69\x90\x03", 5, LONG | MODE_AVX) == op_ud);     /* no SIB */
    ck_assert(decoded("\xc4\xe2\x69\x90\x04\x23", 6, LONG | MODE_AVX) != op_ud); /* xmm4 */
}
END_TEST

/* A whole processor in real mode, halted by every exception, runs XSETBV with RAX. */
static struct vcpu *machine_create(struct log *log, struct clock *clock,
                                   struct machine_memory **memory_out, struct bus **bus_out)
{
    struct machine_memory *memory;
    struct cpu_model model;
    struct error err = {0};
    struct vcpu_config config = {.model = &model, .clock = clock, .log = log, .tsc_hz = 1};

    log_init(log);
    clock_init(clock, CLOCK_DETERMINISTIC, 0);
    memory = machine_memory_create(0x100000, &err);
    ck_assert(machine_memory_add(memory, mpa(0), 0x100000, FRAME_RAM, &err));
    ck_assert(cpu_model_parse("max", &model, &err));
    config.memory = memory;
    config.bus = bus_create(memory, log);
    for (unsigned n = 0; n < 32; n++)
        bus_write(config.bus, gpa(n * 4), (uint8_t[]){0x03, 0x10, 0, 0}, 4);
    bus_write(config.bus, gpa(0x1000), (uint8_t[]){0x0f, 0x01, 0xd1, 0xf4}, 4);
    *memory_out = memory;
    *bus_out = config.bus;
    return vcpu_create(&config);
}

static void run_xsetbv(struct vcpu *cpu, uint64_t value)
{
    for (unsigned n = 0; n < SEG_NONE; n++)
        vcpu_set_segment(cpu, n, 0, 0, 0xffff,
                         SEGMENT_PRESENT | SEGMENT_S | SEGMENT_WRITABLE | SEGMENT_ACCESSED |
                             (n == SEG_CS ? SEGMENT_CODE : 0));
    vcpu_set_control(cpu, CR0_ET, 0, CR4_OSXSAVE, 0);
    cpu->gpr[GPR_RSP] = 0x8000;
    cpu->gpr[GPR_RCX] = cpu->gpr[GPR_RDX] = 0;
    cpu->gpr[GPR_RAX] = value;
    cpu->rip = 0x1000;
    cpu->attention = 0;
    ck_assert_int_eq(vcpu_run(cpu, 10), VCPU_EXIT_HALTED);
}

START_TEST(xsetbv_takes_avx_with_sse_only_and_changes_the_mode)
{
    struct log log;
    struct clock clock;
    struct machine_memory *memory;
    struct bus *bus;
    struct vcpu *cpu = machine_create(&log, &clock, &memory, &bus);

    for (uint64_t value = 0; value < 16; value++) {
        bool valid = value == 1 || value == 3 || value == 7;

        cpu->xcr0 = 1;
        run_xsetbv(cpu, value);
        ck_assert_uint_eq(cpu->xcr0, valid ? value : 1);
        ck_assert_int_eq(!!(cpu->mode & MODE_AVX), value == 7);
    }
    vcpu_destroy(cpu);
    bus_destroy(bus);
    machine_memory_destroy(memory);
}
END_TEST

/* ---- Upper parts -------------------------------------------------------------------------- */

START_TEST(a_destination_of_128_bits_clears_the_rest)
{
    fill(0, 0x100);
    fill(1, 0x200);
    fill(2, 0x300);
    RIG_RUN(rig, 0xc5, 0xf1, 0xd4, 0xc2); /* vpaddq xmm0, xmm1, xmm2 */
    ck_quads(0, 0x500, 0x502, 0, 0);
    ck_assert_uint_eq(rig->cpu.vreg[0].q[4], 0);
    ck_assert_uint_eq(rig->cpu.vreg[0].q[7], 0);
}
END_TEST

START_TEST(a_destination_of_256_bits_clears_the_rest)
{
    fill(0, 0x100);
    fill(1, 0x200);
    fill(2, 0x300);
    RIG_RUN(rig, 0xc5, 0xf5, 0xd4, 0xc2); /* vpaddq ymm0, ymm1, ymm2 */
    ck_quads(0, 0x500, 0x502, 0x504, 0x506);
    ck_assert_uint_eq(rig->cpu.vreg[0].q[4], 0);
    ck_assert_uint_eq(rig->cpu.vreg[0].q[7], 0);
}
END_TEST

START_TEST(sse_leaves_the_upper_part)
{
    fill(1, 0x200);
    fill(2, 0x300);
    RIG_RUN(rig, 0x66, 0x0f, 0xd4, 0xca); /* paddq xmm1, xmm2 */
    ck_quads(1, 0x500, 0x502, 0x202, 0x203);
    ck_assert_uint_eq(rig->cpu.vreg[1].q[7], 0x207);
}
END_TEST

START_TEST(vzeroupper_and_vzeroall_clear_all_registers)
{
    fill(0, 0x100);
    fill(15, 0x200);
    RIG_RUN(rig, 0xc5, 0xf8, 0x77);
    ck_quads(0, 0x100, 0x101, 0, 0);
    ck_quads(15, 0x200, 0x201, 0, 0);
    RIG_RUN(rig, 0xc5, 0xfc, 0x77);
    ck_quads(0, 0, 0, 0, 0);
    ck_quads(15, 0, 0, 0, 0);
}
END_TEST

/* ---- Memory ------------------------------------------------------------------------------- */

START_TEST(aligned_moves_of_256_bits_want_32_bytes)
{
    rig->cpu.gpr[GPR_RBX] = RIG_OPERAND + 16;
    RIG_RUN(rig, 0xc5, 0xfd, 0x6f, 0x03); /* vmovdqa ymm0, [rbx] */
    ck_assert_int_eq(rig->raised, EXC_GP);
    RIG_RUN(rig, 0xc5, 0xf9, 0x6f, 0x03); /* xmm0 */
    ck_assert_int_eq(rig->raised, -1);
    RIG_RUN(rig, 0xc5, 0xfd, 0xe7, 0x03); /* vmovntdq [rbx], ymm0 */
    ck_assert_int_eq(rig->raised, EXC_GP);
    rig->cpu.gpr[GPR_RBX] = RIG_OPERAND + 1;
    RIG_RUN(rig, 0xc5, 0xfe, 0x6f, 0x03); /* vmovdqu ymm0, [rbx] */
    ck_assert_int_eq(rig->raised, -1);
    RIG_RUN(rig, 0xc5, 0xf5, 0xfc, 0x03); /* vpaddb ymm0, ymm1, [rbx] */
    ck_assert_int_eq(rig->raised, -1);
}
END_TEST

START_TEST(a_masked_store_touches_chosen_lanes_only)
{
    for (unsigned n = 0; n < 4; n++)
        page_put64(RIG_OFFSET + 8 * n, 0x1111111111111111);
    set(0, 0xa0, 0xa1, 0xa2, 0xa3);
    set(1, 0, 1ull << 63, ~1ull >> 1, ~0ull);
    RIG_RUN(rig, 0xc4, 0xe2, 0xf5, 0x8e, 0x03); /* vpmaskmovq [rbx], ymm1, ymm0 */
    ck_assert_int_eq(rig->raised, -1);
    ck_assert_uint_eq(page64(RIG_OFFSET), 0x1111111111111111);
    ck_assert_uint_eq(page64(RIG_OFFSET + 8), 0xa1);
    ck_assert_uint_eq(page64(RIG_OFFSET + 16), 0x1111111111111111);
    ck_assert_uint_eq(page64(RIG_OFFSET + 24), 0xa3);
}
END_TEST

/* The page behind the rig's is not there: what is left out must not be looked at. */
START_TEST(a_masked_load_may_reach_over_the_end_of_a_page)
{
    rig->cpu.gpr[GPR_RBX] = RIG_PAGE + 4096 - 8;
    page_put64(4096 - 8, 0x2222222233333333);
    set(1, ~0ull, 0, 0, 0);
    fill(0, 0x100);
    RIG_RUN(rig, 0xc4, 0xe2, 0x75, 0x2c, 0x03); /* vmaskmovps ymm0, ymm1, [rbx] */
    ck_assert_int_eq(rig->raised, -1);
    ck_quads(0, 0x2222222233333333, 0, 0, 0);
}
END_TEST

/* ---- Gathers ------------------------------------------------------------------------------ */

START_TEST(a_gather_loads_chosen_lanes_and_clears_its_mask)
{
    page_put64(RIG_OFFSET, 0xaaaa);
    page_put64(RIG_OFFSET + 0x20, 0xbbbb);
    page_put64(RIG_OFFSET - 0x40, 0xcccc);
    set(0, 1, 2, 3, 4);
    set(1, 0, 4, 0x1000000, (uint64_t)-8);            /* times 8 */
    set(2, 1ull << 63, ~0ull, 0, 1ull << 63 | 17);    /* lane 2 is left out */
    RIG_RUN(rig, 0xc4, 0xe2, 0xed, 0x91, 0x04, 0xcb); /* vpgatherqq ymm0, [rbx+ymm1*8], ymm2 */
    ck_assert_int_eq(rig->raised, -1);
    ck_quads(0, 0xaaaa, 0xbbbb, 3, 0xcccc);
    ck_quads(2, 0, 0, 0, 0);
}
END_TEST

START_TEST(a_gather_of_equal_registers_is_an_invalid_opcode)
{
    RIG_RUN(rig, 0xc4, 0xe2, 0xfd, 0x91, 0x04, 0xcb); /* mask ymm0 is the destination */
    ck_assert_int_eq(rig->raised, EXC_UD);
    RIG_RUN(rig, 0xc4, 0xe2, 0xed, 0x91, 0x04, 0xc3); /* index is the destination */
    ck_assert_int_eq(rig->raised, EXC_UD);
}
END_TEST

/* Fails in lane 2: what was done before stays done. */
START_TEST(a_gather_that_faults_has_done_the_lanes_before)
{
    page_put64(RIG_OFFSET, 0xaaaa);
    page_put64(RIG_OFFSET + 8, 0xbbbb);
    set(0, 1, 2, 3, 4);
    rig->cpu.mode = MODE_LONG | MODE_PROT | MODE_CS32 | MODE_SS32 | MODE_AVX;
    rig->cpu.seg[SEG_DS] = (struct segment){
        .limit = 0x1ffff,
        .attributes = SEGMENT_PRESENT | SEGMENT_S | SEGMENT_WRITABLE | SEGMENT_ACCESSED,
        .usable = true,
    };
    set(1, 0, 1, 0x100000, 0); /* beyond the segment's limit */
    set(2, ~0ull, ~0ull, ~0ull, ~0ull);
    RIG_RUN(rig, 0xc4, 0xe2, 0xed, 0x91, 0x04, 0xcb);
    ck_assert_int_eq(rig->raised, EXC_GP);
    ck_quads(0, 0xaaaa, 0xbbbb, 3, 4);
    ck_quads(2, 0, 0, ~0ull, ~0ull);
    rig->cpu.vreg[1].q[2] = 0;
    page_put64(RIG_OFFSET, 0xdddd);
    RIG_RUN(rig, 0xc4, 0xe2, 0xed, 0x91, 0x04, 0xcb);
    ck_quads(0, 0xaaaa, 0xbbbb, 0xdddd, 0xdddd);
    ck_quads(2, 0, 0, 0, 0);
}
END_TEST

/* ---- XSAVE -------------------------------------------------------------------------------- */

#define AREA 0x400u /* in the rig's page, aligned to 64 */

static void prepare_area(uint64_t mask)
{
    rig->cpu.gpr[GPR_RBX] = RIG_PAGE + AREA;
    rig->cpu.gpr[GPR_RAX] = mask;
    rig->cpu.gpr[GPR_RDX] = 0;
}

START_TEST(xsave_writes_the_upper_halves)
{
    fill(3, 0x700);
    prepare_area(7);
    RIG_RUN(rig, 0x48, 0x0f, 0xae, 0x23); /* xsave64 [rbx] */
    ck_assert_int_eq(rig->raised, -1);
    ck_assert_uint_eq(page64(AREA + 512), 6); /* x87 is in its initial state */
    ck_assert_uint_eq(page64(AREA + 520), 0);
    ck_assert_uint_eq(page64(AREA + 160 + 3 * 16), 0x700);
    ck_assert_uint_eq(page64(AREA + 576 + 3 * 16), 0x702);
    ck_assert_uint_eq(page64(AREA + 576 + 3 * 16 + 8), 0x703);
}
END_TEST

START_TEST(xsavec_says_that_its_area_is_compacted)
{
    fill(3, 0x700);
    prepare_area(6);
    page_put64(AREA + 512, ~0ull);
    RIG_RUN(rig, 0x48, 0x0f, 0xc7, 0x23); /* xsavec64 [rbx] */
    ck_assert_int_eq(rig->raised, -1);
    ck_assert_uint_eq(page64(AREA + 512), 6);
    ck_assert_uint_eq(page64(AREA + 520), 1ull << 63 | 6);
    ck_assert_uint_eq(page64(AREA + 576 + 3 * 16), 0x702);
    fill(3, 0);
    RIG_RUN(rig, 0x48, 0x0f, 0xae, 0x2b); /* xrstor64 [rbx] */
    ck_assert_int_eq(rig->raised, -1);
    ck_quads(3, 0x700, 0x701, 0x702, 0x703);
}
END_TEST

START_TEST(xrstor_initialises_what_the_area_lacks)
{
    fill(3, 0x700);
    prepare_area(4);
    RIG_RUN(rig, 0x48, 0x0f, 0xae, 0x2b);
    ck_assert_int_eq(rig->raised, -1);
    ck_quads(3, 0x700, 0x701, 0, 0);
}
END_TEST

START_TEST(xrstor_refuses_headers_that_are_wrong)
{
    static const struct {
        unsigned offset;
        uint64_t value;
    } wrong[] = {
        {512, 8},              /* a component that XCR0 does not have */
        {520, 1},              /* XCOMP_BV without its top bit */
        {528, 1},              /* must be zero */
        {520, 1ull << 63 | 8}, /* compacted, with such a component */
        {512 + 64 - 8, 0},     /* right: see below */
    };

    for (unsigned n = 0; n < ARRAY_SIZE(wrong); n++) {
        memset(rig->page + AREA, 0, 832);
        page_put64(AREA + wrong[n].offset, wrong[n].value);
        prepare_area(4);
        RIG_RUN(rig, 0x48, 0x0f, 0xae, 0x2b);
        ck_assert_int_eq(rig->raised, n + 1 < ARRAY_SIZE(wrong) ? EXC_GP : -1);
    }
}
END_TEST

/* ---- Values ------------------------------------------------------------------------------- */

START_TEST(fma_rounds_once)
{
    /* (1 + 2^-27)^2 - 1 = 2^-26 + 2^-54: the product alone would lose the last bit. */
    const uint64_t x = 0x3ff0000002000000, minus_one = 0xbff0000000000000;

    for (unsigned soft = 0; soft < 2; soft++) {
        rig->cpu.fpu_soft = soft;
        set(0, minus_one, 7, 0, 0);
        set(1, x, 0, 0, 0);
        set(2, x, 0, 0, 0);
        RIG_RUN(rig, 0xc4, 0xe2, 0xf1, 0xb9, 0xc2); /* vfmadd231sd xmm0, xmm1, xmm2 */
        ck_quads(0, 0x3e50000001000000, 7, 0, 0);
    }
}
END_TEST

START_TEST(exceptions_of_both_halves_come_together)
{
    /* Lane 0 underflows (after computation), lane 7 divides zero by zero (before it). */
    rig->cpu.mxcsr = 0x1f80 & ~(0x0080u | 0x0800u); /* #I and #U unmasked */
    set(1, 0x00800000, 0, 0, 0);
    set(2, 0x7f000000, 0, 0, 0);
    for (unsigned n = 1; n < 7; n++)
        VREG_D(rig->cpu.vreg[2], n) = 0x3f800000;
    RIG_RUN(rig, 0xc5, 0xf4, 0x5e, 0xc2); /* vdivps ymm0, ymm1, ymm2 */
    ck_assert_int_eq(rig->raised, EXC_XM);
    ck_assert_uint_eq(rig->cpu.mxcsr & 0x3f, 1);
}
END_TEST

START_TEST(predicates_beyond_seven)
{
    /* 1 ? 2, a quiet NaN ? 1, 2 ? 1, 1 ? 1 */
    static const struct {
        uint8_t predicate, lanes;
        bool invalid;
    } rows[] = {
        {0x08, 0xa, false}, {0x09, 0x3, true},  {0x0b, 0x0, false}, {0x0d, 0xc, true},
        {0x0e, 0x4, true},  {0x0f, 0xf, false}, {0x11, 0x1, false}, {0x1e, 0x4, false},
        {0x10, 0x8, true},  {0x1f, 0xf, true},
    };
    uint8_t bytes[] = {0xc5, 0xf0, 0xc2, 0xc2, 0}; /* vcmpps xmm0, xmm1, xmm2, imm */

    for (unsigned n = 0; n < 2 * ARRAY_SIZE(rows); n++) {
        unsigned lanes = 0;

        rig->cpu.fpu_soft = n & 1;
        rig->cpu.mxcsr = MXCSR_RESET;
        set(1, 0x7fc000003f800000, 0x3f80000040000000, 0, 0);
        set(2, 0x3f80000040000000, 0x3f8000003f800000, 0, 0);
        bytes[4] = rows[n / 2].predicate;
        rig_run(rig, bytes, sizeof(bytes));
        for (unsigned k = 0; k < 4; k++)
            lanes |= (VREG_D(rig->cpu.vreg[0], k) & 1) << k;
        ck_assert_msg(lanes == rows[n / 2].lanes && (rig->cpu.mxcsr & 1) == rows[n / 2].invalid,
                      "predicate %#x: %#x, MXCSR %#x", bytes[4], lanes, rig->cpu.mxcsr);
    }
}
END_TEST

START_TEST(half_precision)
{
    set(1, 0xc00000003f800000, 0x3300000047800000, 0, 0); /* 1, -2, 65536, 2^-25 */
    RIG_RUN(rig, 0xc4, 0xe3, 0x79, 0x1d, 0xc8, 0x00);     /* vcvtps2ph xmm0, xmm1, nearest */
    ck_quads(0, 0x00007c00c0003c00, 0, 0, 0);
    RIG_RUN(rig, 0xc4, 0xe2, 0x79, 0x13, 0xd0); /* vcvtph2ps xmm2, xmm0 */
    ck_quads(2, 0xc00000003f800000, 0x000000007f800000, 0, 0);
}
END_TEST

/* FIPS 197, appendix B: the first round. */
START_TEST(aes_encryption_round)
{
    set(0, 0x2be2f4a0bee33d19, 0x0848f8e92a8dc69a, 0, 0);
    set(1, 0xb12c548817fefaa0, 0x05766c2a3939a323, 0, 0);
    RIG_RUN(rig, 0x66, 0x0f, 0x38, 0xdc, 0xc1); /* aesenc xmm0, xmm1 */
    ck_quads(0, 0x2b359f68f27f9ca4, 0x49506a0243ea5b6b, 0, 0);
}
END_TEST

START_TEST(aes_decryption_undoes_encryption)
{
    set(0, 0x0807060504030201, 0x100f0e0d0c0b0a09, 0, 0);
    set(1, 0, 0, 0, 0);
    RIG_RUN(rig, 0x66, 0x0f, 0x38, 0xdb, 0xd0); /* aesimc xmm2, xmm0: columns */
    RIG_RUN(rig, 0x66, 0x0f, 0x38, 0xdf, 0xd1); /* aesdeclast xmm2, xmm1: rows, substitution */
    RIG_RUN(rig, 0x66, 0x0f, 0x38, 0xdc, 0xd1); /* aesenc xmm2, xmm1: all of it forward */
    ck_quads(2, 0x0807060504030201, 0x100f0e0d0c0b0a09, 0, 0);
}
END_TEST

START_TEST(carry_less_product)
{
    set(0, 0xffffffffffffffff, 3, 0, 0);
    set(1, 0xffffffffffffffff, 0x8000000000000000, 0, 0);
    set(2, 0xffffffffffffffff, 3, 0, 0);
    RIG_RUN(rig, 0x66, 0x0f, 0x3a, 0x44, 0xc1, 0x00); /* pclmulqdq xmm0, xmm1, 0 */
    ck_quads(0, 0x5555555555555555, 0x5555555555555555, 0, 0);
    RIG_RUN(rig, 0x66, 0x0f, 0x3a, 0x44, 0xd1, 0x11);
    ck_quads(2, 0x8000000000000000, 1, 0, 0);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("avx");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, avx_wants_its_state_enabled);
    tcase_add_test(tc, integers_of_256_bits_want_avx2);
    tcase_add_test(tc, vex_fields_that_a_row_does_not_have_are_refused);
    tcase_add_test(tc, a_destination_of_128_bits_clears_the_rest);
    tcase_add_test(tc, a_destination_of_256_bits_clears_the_rest);
    tcase_add_test(tc, sse_leaves_the_upper_part);
    tcase_add_test(tc, vzeroupper_and_vzeroall_clear_all_registers);
    tcase_add_test(tc, aligned_moves_of_256_bits_want_32_bytes);
    tcase_add_test(tc, a_masked_store_touches_chosen_lanes_only);
    tcase_add_test(tc, a_masked_load_may_reach_over_the_end_of_a_page);
    tcase_add_test(tc, a_gather_loads_chosen_lanes_and_clears_its_mask);
    tcase_add_test(tc, a_gather_of_equal_registers_is_an_invalid_opcode);
    tcase_add_test(tc, a_gather_that_faults_has_done_the_lanes_before);
    tcase_add_test(tc, xsave_writes_the_upper_halves);
    tcase_add_test(tc, xsavec_says_that_its_area_is_compacted);
    tcase_add_test(tc, xrstor_initialises_what_the_area_lacks);
    tcase_add_test(tc, xrstor_refuses_headers_that_are_wrong);
    tcase_add_test(tc, xsetbv_takes_avx_with_sse_only_and_changes_the_mode);
    tcase_add_test(tc, fma_rounds_once);
    tcase_add_test(tc, exceptions_of_both_halves_come_together);
    tcase_add_test(tc, predicates_beyond_seven);
    tcase_add_test(tc, half_precision);
    tcase_add_test(tc, aes_encryption_round);
    tcase_add_test(tc, aes_decryption_undoes_encryption);
    tcase_add_test(tc, carry_less_product);
    return run_suite("avx", tc);
}
