/* Between the library's own files. */
#ifndef GUEST_INTERNAL_H
#define GUEST_INTERNAL_H

#include "guest.h"

/* traps.S, entry16.S */
void guest_call(void (*function)(void));
void user_enter(const unsigned long frame[5]);
extern volatile unsigned long trap_target, trap_target_sp, case_resume, case_sp;
extern char kernel_stack_top[];

/* Stores the registers of code at CPL 3. */
void protected_note_regs(const struct frame *f);

#endif
