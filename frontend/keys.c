#include "frontend/keys.h"

#define CTRL_A 1

const char keys_help[] = "\r\n"
                         "Ctrl-A h       this help\r\n"
                         "Ctrl-A x       quit\r\n"
                         "Ctrl-A p       stop the machine, or let it continue\r\n"
                         "Ctrl-A b       send a break (Linux: magic SysRq)\r\n"
                         "Ctrl-A Ctrl-A  send Ctrl-A\r\n";

enum key_action keys_filter(struct keys *k, uint8_t *byte)
{
    if (!k->prefix) {
        k->prefix = *byte == CTRL_A;
        return k->prefix ? KEY_NONE : KEY_BYTE;
    }
    k->prefix = false;
    switch (*byte) {
    case CTRL_A:
        return KEY_BYTE;
    case 'x':
    case 'X':
        return KEY_QUIT;
    case 'h':
    case '?':
        return KEY_HELP;
    case 'b':
        return KEY_BREAK;
    case 'c':
        return KEY_MONITOR;
    case 'p':
        return KEY_PAUSE;
    default:
        return KEY_NONE;
    }
}
