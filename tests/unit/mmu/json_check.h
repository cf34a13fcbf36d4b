/*
 * Is a text one JSON value (RFC 8259)? Enough for tests that must also run where no JSON library
 * is: a syntax check, and the text of an object's member.
 */
#ifndef TESTS_UNIT_MMU_JSON_CHECK_H
#define TESTS_UNIT_MMU_JSON_CHECK_H

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static inline const char *json_blanks(const char *p)
{
    return p + strspn(p, " \t\r\n");
}

/* Behind the string that begins at p, or NULL. */
static inline const char *json_string(const char *p)
{
    if (*p++ != '"')
        return NULL;
    for (; *p != '"'; p++) {
        if ((unsigned char)*p < 0x20)
            return NULL;
        if (*p == '\\' && (*++p == '\0' || strchr("\"\\/bfnrtu", *p) == NULL))
            return NULL;
    }
    return p + 1;
}

static inline const char *json_number(const char *p)
{
    if (*p == '-')
        p++;
    if (!isdigit((unsigned char)*p) || (p[0] == '0' && isdigit((unsigned char)p[1])))
        return NULL;
    p += strspn(p, "0123456789");
    if (*p == '.') {
        if (!isdigit((unsigned char)*++p))
            return NULL;
        p += strspn(p, "0123456789");
    }
    return p;
}

static inline const char *json_value(const char *p);

/* Values, or members, up to the closing bracket. */
static inline const char *json_list(const char *p, char close, bool members)
{
    p = json_blanks(p + 1);
    if (*p == close)
        return p + 1;
    for (;;) {
        if (members) {
            p = json_string(json_blanks(p));
            if (p == NULL || *(p = json_blanks(p)) != ':')
                return NULL;
            p++;
        }
        p = json_value(p);
        if (p == NULL)
            return NULL;
        p = json_blanks(p);
        if (*p == close)
            return p + 1;
        if (*p++ != ',')
            return NULL;
    }
}

/* Behind the value that begins at p, or NULL. */
static inline const char *json_value(const char *p)
{
    static const char *const words[] = {"true", "false", "null"};

    p = json_blanks(p);
    if (*p == '{')
        return json_list(p, '}', true);
    if (*p == '[')
        return json_list(p, ']', false);
    if (*p == '"')
        return json_string(p);
    for (unsigned i = 0; i < 3; i++)
        if (strncmp(p, words[i], strlen(words[i])) == 0)
            return p + strlen(words[i]);
    return json_number(p);
}

static inline bool json_valid(const char *text)
{
    const char *end = json_value(text);

    return end != NULL && *json_blanks(end) == '\0';
}

/* Does the text hold this member, as it is written there ("name":value)? */
static inline bool json_has(const char *text, const char *name, const char *value)
{
    char member[128];
    const char *at;

    snprintf(member, sizeof(member), "\"%s\":%s", name, value);
    at = strstr(text, member);
    return at != NULL && strchr(",}]", at[strlen(member)]) != NULL;
}

#endif
