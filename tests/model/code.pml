/*
 * Watches of code: a vCPU decodes instructions from a frame that others may hold writable in their
 * TLBs. mmu/control.c (mmu_frame_watch), mmu/tlb.c (grant_write), mmu/memory.h (code_write).
 *
 * To be shown: what a vCPU runs behind a serialising instruction is no older than the stores that
 * are known to be over then (SDM 3A 9.1.3); it always runs its own stores. Nobody waits for ever.
 *
 * Plain stores go through a store buffer of each thread, as on x86; locked operations and fences
 * empty it. What is in a frame is the number of stores to it.
 *
 *   VCPUS, FRAMES    vCPU n stores to frame n, and decodes from the next one; 1: from the same
 *   STORES, DEEDS    of each vCPU
 *   BIT_IN_STORE     right, too: the holder bit stays during stores of the slow way, as for tables
 *   SEED_...         errors, each of which must be found
 */
#ifndef VCPUS
#define VCPUS 2
#endif
#ifndef FRAMES
#define FRAMES 2
#endif
#ifndef STORES
#define STORES 2
#endif
#ifndef DEEDS
#define DEEDS 3
#endif

#define LOCKED      empty(buffer[me]) ->
#define FENCE       empty(buffer[me])
#define OTHERS(bits) ((bits) & ~(1 << me))
#define MINE        (me % FRAMES)       /* the frame that the vCPU stores to */
#define SOURCE      ((me + 1) % FRAMES) /* the frame that it decodes from */

#define BYTES 0
#define OVER  1
chan buffer[VCPUS] = [3] of { byte };

byte bytes[FRAMES];
byte last[VCPUS];  /* the bytes as the vCPU's last store has left them */
byte over[FRAMES]; /* the bytes that software knows of: it has been told that the store is over */
bit watch[FRAMES];
byte code[FRAMES]; /* bit n: vCPU n has decoded from the frame */
byte holders[FRAMES];
bit lock_held;
bit tag[VCPUS];
bit parked[VCPUS];

/* Mailboxes: give the write tag up; drop what was decoded. */
bit request[VCPUS], invalid[VCPUS];

active [VCPUS] proctype store_buffer()
{
    byte what;

end:
    do
    :: atomic {
        nempty(buffer[_pid]) -> buffer[_pid]?what;
        if
        :: what == BYTES -> bytes[_pid % FRAMES]++; last[_pid] = bytes[_pid % FRAMES]
        :: what == OVER ->
            if
            :: over[_pid % FRAMES] < last[_pid] -> over[_pid % FRAMES] = last[_pid]
            :: else
            fi
        fi;
        what = 0
    }
    od
}

inline lock()
{
    atomic { empty(buffer[me]) && !lock_held -> lock_held = 1 }
}

inline unlock()
{
    atomic { LOCKED lock_held = 0 }
}

/* --- Holders --- */

inline clear_holder()
{
    atomic { LOCKED holders[MINE] = OTHERS(holders[MINE]) }
}

/* Between two instructions. */
inline answer()
{
    if
    :: request[me] ->
        atomic { LOCKED request[me] = 0; tag[me] = 0 };
        clear_holder()
    :: else
    fi
}

inline invalidate()
{
    targets = code[MINE];
    c = 0;
    do
    :: c < VCPUS ->
        if
        :: !(targets & (1 << c))
#ifndef SEED_OWN_STORE_KEEPS_CODE
        :: (targets & (1 << c)) && c == me -> atomic { LOCKED known = 0; block = 0 }
#endif
        :: else -> atomic { LOCKED invalid[c] = 1 }
        fi;
        c++
    :: else -> break
    od;
    atomic { targets = 0; c = 0 }
}

inline store_slow()
{
    watched = watch[MINE];
    atomic { LOCKED holders[MINE] = holders[MINE] | (1 << me) };
    if
    :: !watched -> watched = watch[MINE]
    :: else
    fi;
    tag[me] = !watched;
#ifndef BIT_IN_STORE
    if
    :: watched -> clear_holder()
    :: else
    fi;
#endif
#ifdef SEED_INVALIDATE_BEFORE_STORE
    if
    :: watch[MINE] -> invalidate()
    :: else
    fi;
    buffer[me]!BYTES;
#else
    buffer[me]!BYTES;
#ifndef SEED_NO_FENCE
    FENCE;
#endif
    if
    :: watch[MINE] -> invalidate()
    :: else
    fi;
#endif
#ifdef BIT_IN_STORE
    if
    :: watched -> clear_holder()
    :: else
    fi;
#endif
    watched = 0
}

inline store()
{
    n++;
    if
    :: tag[me] -> buffer[me]!BYTES
    :: store_slow()
    fi;
    buffer[me]!OVER
}

/* Under the mutex of the mailbox: others answer from now on. */
inline park()
{
#ifdef SEED_PARK_IGNORES_MAILBOX
    atomic { LOCKED parked[me] = 1 }
#else
    do
    :: request[me] -> answer()
    :: atomic { empty(buffer[me]) && !request[me] -> parked[me] = 1 }; break
    od
#endif
}

/* --- Decoders --- */

/* For everybody whose bit is left. */
inline ask()
{
    c = 0;
    do
    :: c < VCPUS ->
        if
        :: c != me && (holders[SOURCE] & (1 << c)) ->
            atomic {
                LOCKED
                if
                :: parked[c] -> tag[c] = 0; holders[SOURCE] = holders[SOURCE] & ~(1 << c)
                :: else -> request[c] = 1
                fi
            }
#ifdef SEED_ASKER_CLEARS
            ;
            atomic { LOCKED holders[SOURCE] = holders[SOURCE] & ~(1 << c) }
#endif
        :: else
        fi;
        c++
    :: else -> break
    od;
    c = 0
}

inline wait()
{
#ifndef SEED_WAIT_AWAKE
    park();
#endif
    OTHERS(holders[SOURCE]) == 0;
    parked[me] = 0
}

inline decode()
{
#ifdef SEED_DECODE_BEFORE_WAIT
    block = bytes[SOURCE];
#endif
    lock();
#ifdef SEED_DECODE_BEFORE_BIT
    if
    :: !watch[SOURCE] -> atomic { LOCKED watch[SOURCE] = 1 }; asks = 1
    :: else
    fi;
#else
    atomic { LOCKED code[SOURCE] = code[SOURCE] | (1 << me) };
    if
    :: !watch[SOURCE] -> atomic { LOCKED watch[SOURCE] = 1 }; asks = 1
    :: else
    fi;
#endif
#ifndef SEED_WAIT_UNDER_LOCK
    unlock();
#endif
    if
    :: SOURCE == MINE && (holders[MINE] & (1 << me)) -> tag[me] = 0; clear_holder()
    :: else
    fi;
    if
    :: asks -> ask(); asks = 0
    :: else
    fi;
#ifndef SEED_NO_WAIT
    wait();
#endif
#ifdef SEED_WAIT_UNDER_LOCK
    unlock();
#endif
#ifndef SEED_DECODE_BEFORE_WAIT
    block = bytes[SOURCE];
#endif
#ifdef SEED_DECODE_BEFORE_BIT
    atomic { LOCKED code[SOURCE] = code[SOURCE] | (1 << me) };
#endif
    known = 1
}

/* What was decoded goes, and with the last one the watch. */
inline forget()
{
    lock();
    atomic { LOCKED code[SOURCE] = OTHERS(code[SOURCE]) };
    if
    :: code[SOURCE] == 0 -> atomic { LOCKED watch[SOURCE] = 0 }
    :: else
    fi;
    unlock();
    d_step { known = 0; block = 0 }
}

/* A serialising instruction, and then the code. */
inline serialise_and_run()
{
    before = over[SOURCE];
    if
    :: invalid[me] -> atomic { LOCKED invalid[me] = 0; known = 0; block = 0 }
    :: else
    fi;
    d_step {
        assert(!known || block >= before);
        before = 0
    }
}

/* --- A vCPU --- */

active [VCPUS] proctype vcpu()
{
    byte me = _pid - VCPUS, n, c, targets, block, before, count;
    bit watched, known, asks;

    do
    :: n < STORES ->
        answer();
        store();
        assert(SOURCE != MINE || !known || block >= last[me])
    :: count < DEEDS ->
        answer();
        count++;
        if
        :: known -> serialise_and_run()
        :: known -> forget()
        :: !known -> decode()
        fi
    :: n == STORES -> break
    od;
    park()
}
