/* Between the library's own files. */
#ifndef GUEST_INTERNAL_H
#define GUEST_INTERNAL_H

#include "guest.h"

/* traps.S, entry16.S */
void guest_call(void (*function)(void));
void user_enter(const unsigned long frame[5]);
extern volatile unsigned long trap_target, trap_target_sp, case_resume, case_sp;
extern char kernel_stack_top[];

/* run_user waits for an event, which stores the registers. */
extern volatile bool user_running;

/* Stores them. */
void protected_note_regs(const struct frame *f);

#endif
