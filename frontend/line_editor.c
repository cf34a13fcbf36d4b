#include "frontend/line_editor.h"

#include "base/bits.h"
#include "base/host/host.h"
#include "frontend/monitor.h"

#include <fcntl.h>
#include <histedit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define HISTORY_LINES 200
#define KEY_MAX       16 /* bytes of an escape sequence */
#define LISTED_MAX    64 /* words that Tab shows */

#define ESCAPE 27
#define CTRL_V 22

struct line_editor {
    EditLine *edit;
    History *history;
    FILE *out;
    int master, slave; /* the terminal that libedit thinks it has */
    int terminal;
    const char *prompt;
    bool active; /* a line was begun */
    void (*send)(void *opaque, const void *bytes, size_t count);
    void *opaque;
    const char *keys; /* of the key that libedit reads */
    size_t key_count;
};

static ssize_t write_out(void *opaque, const char *bytes, size_t count)
{
    struct line_editor *e = opaque;

    e->send(e->opaque, bytes, count);
    return (ssize_t)count;
}

static char *prompt_of(EditLine *edit)
{
    struct line_editor *e;

    el_get(edit, EL_CLIENTDATA, (void **)&e);
    return (char *)(uintptr_t)e->prompt;
}

/* EL_GETCFN */
static int next_key(EditLine *edit, wchar_t *key)
{
    struct line_editor *e;

    el_get(edit, EL_CLIENTDATA, (void **)&e);
    if (e->key_count == 0)
        return 0;
    *key = (wchar_t)(unsigned char)*e->keys++;
    e->key_count--;
    return 1;
}

/* Tab: completes what all candidates have in common, or lists them. */
static unsigned char complete(EditLine *edit, int key)
{
    const LineInfo *info = el_line(edit);
    size_t length = (size_t)(info->cursor - info->buffer), typed = 0, common = 0;
    char first[64] = "", word[64];
    struct line_editor *e;
    unsigned count = 0;

    (void)key;
    el_get(edit, EL_CLIENTDATA, (void **)&e);
    for (; count < LISTED_MAX &&
           monitor_complete(info->buffer, length, count, word, sizeof(word), &typed);
         count++) {
        if (count == 0)
            common = strlen(strcpy(first, word));
        while (strncmp(first, word, common) != 0)
            common--;
    }
    if (count == 0)
        return CC_REFRESH_BEEP;
    if (count == 1 || common > typed) {
        snprintf(first + common, sizeof(first) - common, "%s", count == 1 ? " " : "");
        return el_insertstr(edit, first + typed) == 0 ? CC_REFRESH : CC_ERROR;
    }
    fputc('\n', e->out);
    for (unsigned n = 0; monitor_complete(info->buffer, length, n, word, sizeof(word), &typed); n++)
        fprintf(e->out, "%s%s", n == 0 ? "" : "  ", word);
    fputc('\n', e->out);
    fflush(e->out);
    return CC_REDISPLAY;
}

static bool open_terminal(struct line_editor *e)
{
    const char *name;

    e->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (e->master < 0 || grantpt(e->master) != 0 || unlockpt(e->master) != 0 ||
        (name = ptsname(e->master)) == NULL)
        return false;
    e->slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    return e->slave >= 0;
}

static void copy_size(struct line_editor *e)
{
    struct winsize size, old;

    if (ioctl(e->terminal, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 ||
        (ioctl(e->slave, TIOCGWINSZ, &old) == 0 && memcmp(&size, &old, sizeof(size)) == 0))
        return;
    ioctl(e->slave, TIOCSWINSZ, &size);
    if (e->edit != NULL)
        el_resize(e->edit);
}

static bool open_editor(struct line_editor *e)
{
    static const cookie_io_functions_t functions = {.write = write_out};
    HistEvent event;

    e->out = fopencookie(e, "w", functions);
    if (e->out == NULL || !open_terminal(e))
        return false;
    copy_size(e);
    e->edit = el_init_fd("gnomon", stdin, e->out, e->out, e->slave, e->slave, e->slave);
    e->history = history_init();
    if (e->edit == NULL || e->history == NULL)
        return false;
    history(e->history, &event, H_SETSIZE, HISTORY_LINES);
    history(e->history, &event, H_SETUNIQUE, 1);
    el_set(e->edit, EL_CLIENTDATA, e);
    el_set(e->edit, EL_PROMPT, prompt_of);
    el_set(e->edit, EL_EDITOR, "emacs");
    el_set(e->edit, EL_SIGNAL, 0);
    el_set(e->edit, EL_HIST, history, e->history);
    el_set(e->edit, EL_GETCFN, next_key);
    el_wset(e->edit, EL_ADDFN, L"gnomon-complete", L"Completes commands", complete);
    el_set(e->edit, EL_BIND, "^I", "gnomon-complete", NULL);
    /* Those that read on in the middle of a command. */
    el_set(e->edit, EL_BIND, "^R", "ed-redisplay", NULL);
    el_set(e->edit, EL_BIND, "^S", "ed-unassigned", NULL);
    el_set(e->edit, EL_BIND, "^X", "ed-unassigned", NULL);
    el_set(e->edit, EL_BIND, "^D", "ed-delete-next-char", NULL);
    return true;
}

struct line_editor *line_editor_create(int terminal, const char *prompt,
                                       void (*send)(void *opaque, const void *bytes, size_t count),
                                       void *opaque)
{
    struct line_editor *e = host_alloc(sizeof(*e));

    e->master = e->slave = -1;
    e->terminal = terminal;
    e->prompt = prompt;
    e->send = send;
    e->opaque = opaque;
    if (open_editor(e))
        return e;
    line_editor_destroy(e);
    return NULL;
}

void line_editor_destroy(struct line_editor *e)
{
    if (e == NULL)
        return;
    if (e->history != NULL)
        history_end(e->history);
    if (e->edit != NULL)
        el_end(e->edit);
    if (e->out != NULL)
        fclose(e->out);
    if (e->slave >= 0)
        close(e->slave);
    if (e->master >= 0)
        close(e->master);
    free(e);
}

void line_editor_begin(struct line_editor *e)
{
    if (e->active)
        return;
    copy_size(e);
    e->active = true;
    el_set(e->edit, EL_UNBUFFERED, 1); /* shows the prompt */
    fflush(e->out);
}

void line_editor_end(struct line_editor *e)
{
    if (!e->active)
        return;
    e->active = false;
    el_set(e->edit, EL_UNBUFFERED, 0);
    fflush(e->out);
}

/* How many bytes the first key has; 0 if its rest is still to come. */
static size_t key_length(const char *b, size_t count)
{
    if (b[0] == CTRL_V)
        return count >= 2 ? 2 : 0;
    if (b[0] != ESCAPE)
        return 1;
    if (count < 2)
        return 0;
    if (b[1] != '[' && b[1] != 'O')
        return 2;
    for (size_t n = 2; n < MIN(count, (size_t)KEY_MAX); n++)
        if (b[n] >= 0x40 && b[n] <= 0x7e)
            return n + 1;
    return count < KEY_MAX ? 0 : KEY_MAX;
}

/* Takes the line that is complete. */
static enum line_editor_result take_line(struct line_editor *e, const char *text, size_t length,
                                         char *line, size_t size)
{
    HistEvent event;
    bool fits = length < size;

    if (fits) {
        memcpy(line, text, length);
        line[length] = '\0';
        if (length > 0)
            history(e->history, &event, H_ENTER, line);
    }
    line_editor_end(e);
    return fits ? LINE_EDITOR_LINE : LINE_EDITOR_TOO_LONG;
}

enum line_editor_result line_editor_input(struct line_editor *e, const char *bytes, size_t count,
                                          size_t *used, char *line, size_t size)
{
    *used = 0;
    line_editor_begin(e);
    while (*used < count) {
        size_t length = key_length(bytes + *used, count - *used);
        const char *text;
        int shown = 0;

        if (length == 0)
            break;
        e->keys = bytes + *used;
        e->key_count = length;
        *used += length;
        if ((unsigned char)*e->keys >= 0x80)
            continue; /* commands are ASCII */
        text = el_gets(e->edit, &shown);
        fflush(e->out);
        if (text != NULL && shown > 0 && text[shown - 1] == '\n')
            return take_line(e, text, (size_t)shown - 1, line, size);
    }
    return LINE_EDITOR_MORE;
}
