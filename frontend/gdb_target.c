#include "frontend/gdb_target.h"

#include "machine/debug.h"

#include <string.h>

/* Types that the features' registers have and GDB does not know by itself. */
static const char core_types[] =
    "<flags id=\"i386_eflags\" size=\"4\">"
    "<field name=\"CF\" start=\"0\" end=\"0\"/><field name=\"\" start=\"1\" end=\"1\"/>"
    "<field name=\"PF\" start=\"2\" end=\"2\"/><field name=\"AF\" start=\"4\" end=\"4\"/>"
    "<field name=\"ZF\" start=\"6\" end=\"6\"/><field name=\"SF\" start=\"7\" end=\"7\"/>"
    "<field name=\"TF\" start=\"8\" end=\"8\"/><field name=\"IF\" start=\"9\" end=\"9\"/>"
    "<field name=\"DF\" start=\"10\" end=\"10\"/><field name=\"OF\" start=\"11\" end=\"11\"/>"
    "<field name=\"NT\" start=\"14\" end=\"14\"/><field name=\"RF\" start=\"16\" end=\"16\"/>"
    "<field name=\"VM\" start=\"17\" end=\"17\"/><field name=\"AC\" start=\"18\" end=\"18\"/>"
    "<field name=\"VIF\" start=\"19\" end=\"19\"/><field name=\"VIP\" start=\"20\" end=\"20\"/>"
    "<field name=\"ID\" start=\"21\" end=\"21\"/></flags>";

static const char vec128_type[] =
    "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
    "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
    "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>"
    "<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
    "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>"
    "<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
    "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/>"
    "<field name=\"v2_double\" type=\"v2d\"/><field name=\"v16_int8\" type=\"v16i8\"/>"
    "<field name=\"v8_int16\" type=\"v8i16\"/><field name=\"v4_int32\" type=\"v4i32\"/>"
    "<field name=\"v2_int64\" type=\"v2i64\"/><field name=\"uint128\" type=\"uint128\"/></union>";

static const char mxcsr_type[] =
    "<flags id=\"i386_mxcsr\" size=\"4\">"
    "<field name=\"IE\" start=\"0\" end=\"0\"/><field name=\"DE\" start=\"1\" end=\"1\"/>"
    "<field name=\"ZE\" start=\"2\" end=\"2\"/><field name=\"OE\" start=\"3\" end=\"3\"/>"
    "<field name=\"UE\" start=\"4\" end=\"4\"/><field name=\"PE\" start=\"5\" end=\"5\"/>"
    "<field name=\"DAZ\" start=\"6\" end=\"6\"/><field name=\"IM\" start=\"7\" end=\"7\"/>"
    "<field name=\"DM\" start=\"8\" end=\"8\"/><field name=\"ZM\" start=\"9\" end=\"9\"/>"
    "<field name=\"OM\" start=\"10\" end=\"10\"/><field name=\"UM\" start=\"11\" end=\"11\"/>"
    "<field name=\"PM\" start=\"12\" end=\"12\"/><field name=\"FZ\" start=\"15\" end=\"15\"/>"
    "</flags>";

static const char avx512_types[] = "<vector id=\"v2ui128\" type=\"uint128\" count=\"2\"/>";

/* A feature knows no types of another. */
static void describe_types(struct gdb_reply *xml, const char *feature)
{
    if (strcmp(feature, "org.gnu.gdb.i386.core") == 0) {
        gdb_reply_text(xml, core_types);
    } else if (strcmp(feature, "org.gnu.gdb.i386.sse") == 0) {
        gdb_reply_text(xml, vec128_type);
        gdb_reply_text(xml, mxcsr_type);
    } else if (strcmp(feature, "org.gnu.gdb.i386.avx512") == 0) {
        gdb_reply_text(xml, vec128_type);
        gdb_reply_text(xml, avx512_types);
    }
}

void gdb_target_describe(struct gdb_reply *xml)
{
    const char *feature = NULL;

    gdb_reply_text(xml, "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">"
                        "<target><architecture>i386:x86-64</architecture>");
    for (unsigned n = 0; n < machine_register_count(); n++) {
        const struct machine_register *r = machine_register_info(n);

        if (feature == NULL || strcmp(feature, r->feature) != 0) {
            gdb_reply_format(xml, "%s<feature name=\"%s\">", feature != NULL ? "</feature>" : "",
                             r->feature);
            feature = r->feature;
            describe_types(xml, feature);
        }
        gdb_reply_format(xml, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\"", r->name, r->bits,
                         r->type);
        if (r->group != NULL)
            gdb_reply_format(xml, " group=\"%s\"", r->group);
        gdb_reply_text(xml, "/>");
    }
    gdb_reply_text(xml, "</feature></target>");
}
