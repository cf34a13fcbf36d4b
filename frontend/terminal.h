/*
 * The host's terminal in raw mode. There is one per process, so this is the one place of the
 * program with process-wide state: the settings to restore, also from a signal handler when the
 * program crashes. Event-loop thread only.
 */
#ifndef FRONTEND_TERMINAL_H
#define FRONTEND_TERMINAL_H

#include <stdbool.h>

/* Puts standard input into raw mode: no echo, no lines; with `keys_to_guest` Ctrl-C and its like
 * are bytes too. Does nothing, and returns false, when standard input is no terminal or the
 * program is in the background. */
bool terminal_raw(bool keys_to_guest);

/* Back to how it was; any number of times. Also done at exit and when the program crashes. */
void terminal_restore(void);

/* After the program was stopped and continued: raw again if it was. */
void terminal_again(void);

#endif
