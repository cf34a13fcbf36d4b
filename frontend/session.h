/* One run of the program, from its arguments to its exit status. */
#ifndef FRONTEND_SESSION_H
#define FRONTEND_SESSION_H

int session_main(int argc, char *const *argv);

#endif
