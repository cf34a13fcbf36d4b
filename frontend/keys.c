#include "frontend/keys.h"

#define CTRL_A 1

const char keys_help[] = "\r\n"
                         "Ctrl-A h       this help\r\n"
                         "Ctrl-A x       quit\r\n"
                         "Ctrl-A c       monitor, or back from there\r\n"
                         "Ctrl-A p       stop the machine, or let it continue\r\n"
                         "Ctrl-A r       show where the guest is: registers, code, tables\r\n"
                         "Ctrl-A b       send a break (Linux: magic SysRq)\r\n"
                         "Ctrl-A Ctrl-A  send Ctrl-A\r\n";

enum key_action keys_filter(struct keys *k, uint8_t *byte)
{
    uint8_t escape = k->escape != 0 ? k->escape : CTRL_A;

    if (!k->prefix) {
        k->prefix = *byte == escape;
        return k->prefix ? KEY_NONE : KEY_BYTE;
    }
    k->prefix = false;
    if (*byte == escape)
        return KEY_BYTE;
    switch (*byte) {
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
    case 'r':
        return KEY_REPORT;
    default:
        return KEY_NONE;
    }
}
