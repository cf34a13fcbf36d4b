#include "frontend/terminal.h"

#include "base/bits.h"

#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

/* What a crash does not get past without restoring the terminal. */
static const int fatal_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS};

/* The process's terminal. `active` last when entering, first when leaving: a signal handler may
 * look in between. */
static struct {
    volatile sig_atomic_t active;
    bool hooked; /* handlers are in place */
    struct termios saved, raw;
    struct sigaction old[ARRAY_SIZE(fatal_signals)];
} terminal;

/* Restores the terminal and lets the signal do what it would have done: the instruction that
 * caused it, or abort(), runs again under the previous handler. */
static void fatal(int signal)
{
    if (terminal.active)
        tcsetattr(STDIN_FILENO, TCSANOW, &terminal.saved);
    for (size_t n = 0; n < ARRAY_SIZE(fatal_signals); n++) {
        if (fatal_signals[n] == signal)
            sigaction(signal, &terminal.old[n], NULL);
    }
    raise(signal);
}

static void hook(void)
{
    struct sigaction action = {.sa_handler = fatal};

    if (terminal.hooked)
        return;
    terminal.hooked = true;
    sigemptyset(&action.sa_mask);
    for (size_t n = 0; n < ARRAY_SIZE(fatal_signals); n++)
        sigaction(fatal_signals[n], &action, &terminal.old[n]);
    atexit(terminal_restore);
}

bool terminal_raw(bool keys_to_guest)
{
    if (!isatty(STDIN_FILENO) || tcgetpgrp(STDIN_FILENO) != getpgrp() ||
        tcgetattr(STDIN_FILENO, &terminal.saved) != 0)
        return false;
    terminal.raw = terminal.saved;
    terminal.raw.c_iflag &= ~(tcflag_t)(BRKINT | ICRNL | INLCR | IGNCR | INPCK | ISTRIP | IXON);
    terminal.raw.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN);
    if (keys_to_guest)
        terminal.raw.c_lflag &= ~(tcflag_t)ISIG;
    terminal.raw.c_cflag &= ~(tcflag_t)(CSIZE | PARENB);
    terminal.raw.c_cflag |= CS8;
    terminal.raw.c_cc[VMIN] = 1;
    terminal.raw.c_cc[VTIME] = 0;
    hook();
    terminal.active = 1;
    tcsetattr(STDIN_FILENO, TCSANOW, &terminal.raw);
    return true;
}

void terminal_restore(void)
{
    if (!terminal.active)
        return;
    tcsetattr(STDIN_FILENO, TCSANOW, &terminal.saved);
    terminal.active = 0;
}

void terminal_again(void)
{
    if (terminal.active && tcgetpgrp(STDIN_FILENO) == getpgrp())
        tcsetattr(STDIN_FILENO, TCSANOW, &terminal.raw);
}
