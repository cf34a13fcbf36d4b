/*
 * Tracing: how a consumer makes sure that stores to a table reach it as patches, while writers hold
 * the table's frame writable in their TLBs. mmu/shadow.c (trace, untrace, shadow_learn), mmu/tlb.c
 * (grant_write), mmu/control.c (mmu_frame_watch), mmu/coherency.c (machine_memory_traced_write).
 * Channels are sets that lose nothing: channel.pml shows that.
 *
 * To be shown: behind an event that begins when a store is known to be over, nothing that was
 * derived before is older than the store.
 *
 * Plain stores go through a store buffer of each process, as on x86; locked operations and fences
 * empty it. Every process has its thread, which is more than there is: all vCPUs run on one, and
 * holders have answered when mmu_frame_watch returns. Here a holder answers a revocation between
 * two instructions, and until then what was derived is provisional: it is read again at every
 * event, and once more after the answer. Or the consumer waits for the answer.
 *
 *   CONSUMERS, STORES, EVENTS, FLOOD   sizes
 *   DMA        the writer has no TLB, as a device
 *   WAIT       a consumer waits for the answers instead of being provisional
 *   SEED_...   errors, each of which must be found
 */
#ifndef CONSUMERS
#define CONSUMERS 1
#endif
#ifndef STORES
#define STORES 3
#endif
#ifndef EVENTS
#define EVENTS 3
#endif
#ifndef FLOOD
#define FLOOD 255
#endif

/* Memory that is stored to plainly. OVER: the number of the store that the writer has finished,
 * which software at its other end waits for. */
#define ENTRY  0
#define OVER   1
#define HOLDER 2
#define MASK(c) (3 + (c))
byte memory[3 + CONSUMERS];
chan buffer[CONSUMERS + 1] = [6] of { byte, byte };
#define WRITER CONSUMERS

#define LOCKED(p) empty(buffer[p]) ->
#define FENCE(p)  empty(buffer[p])

bit watch;
bit request; /* the holder is to give its write tag up */
byte writes;
bit lock_held;
bit patched[CONSUMERS], dropped[CONSUMERS]; /* what waits in the channels */

active [CONSUMERS + 1] proctype store_buffer()
{
    byte where, value;

end:
    do
    :: atomic {
        nempty(buffer[_pid]) -> buffer[_pid]?where, value;
        memory[where] = value;
        where = 0;
        value = 0
    }
    od
}

/* machine_memory_lock_traces: a frame's consumers and its watch change together. A watch must not
 * go behind the back of a consumer who has just found it there. A writer who waits for the lock
 * answers revocations. */
inline lock(p)
{
#ifndef SEED_NO_LOCK
    atomic { empty(buffer[p]) && !lock_held -> lock_held = 1 }
#else
    skip
#endif
}

inline unlock(p)
{
#ifndef SEED_NO_LOCK
    atomic { LOCKED(p) lock_held = 0 }
#else
    skip
#endif
}

/* --- The writer --- */

inline answer()
{
    if
    :: request ->
        tag = 0;
#ifdef SEED_PLAIN_ANSWER
        request = 0
#else
        atomic { LOCKED(WRITER) request = 0 }
#endif
    :: else
    fi
}

inline grant_write()
{
    if
    :: watch -> skip
    :: else ->
#ifdef SEED_PLAIN_HOLDER
        buffer[WRITER]!HOLDER, 1;
#else
        atomic { LOCKED(WRITER) memory[HOLDER] = 1 };
#endif
#ifdef SEED_NO_SECOND_TEST
        tag = 1
#else
        if
        :: watch -> skip
        :: else -> tag = 1
        fi
#endif
    fi
}

/* machine_memory_finish_write, behind the store. */
inline finish_write()
{
#ifndef SEED_NO_FENCE
    FENCE(WRITER);
#endif
    if
    :: watch ->
        if
        :: writes >= FLOOD ->
#ifndef SEED_NO_LOCK
            do
            :: request -> answer()
            :: atomic { empty(buffer[WRITER]) && !lock_held -> lock_held = 1 }; break
            od;
#endif
#ifndef SEED_FLOOD_TELLS_NOBODY
            for (c : 0 .. CONSUMERS - 1) {
                if
                :: memory[MASK(c)] -> atomic { LOCKED(WRITER) dropped[c] = 1 }
                :: else
                fi
            }
#endif
            atomic { LOCKED(WRITER) watch = 0 };
            unlock(WRITER)
        :: else ->
            writes++;
            for (c : 0 .. CONSUMERS - 1) {
                if
                :: memory[MASK(c)] -> atomic { LOCKED(WRITER) patched[c] = 1 }
                :: else
                fi
            }
        fi
    :: else
    fi;
    c = 0
}

active proctype writer()
{
    byte n, c;
    bit tag;

    do
    :: n < STORES ->
        n++;
        answer();
#ifdef SEED_POST_BEFORE_STORE
        finish_write();
#endif
        if
        :: tag -> buffer[WRITER]!ENTRY, n
        :: else ->
#ifndef DMA
            grant_write();
#endif
            buffer[WRITER]!ENTRY, n;
#ifndef SEED_POST_BEFORE_STORE
            finish_write()
#else
            skip
#endif
        fi;
        answer();
        buffer[WRITER]!OVER, n
    :: else -> break
    od;
end:
    do
    :: request -> answer()
    od
}

/* --- Consumers --- */

/* The frame is watched from now on; whoever holds it writable is asked. */
inline set_watch()
{
#ifdef SEED_HOLDERS_BEFORE_WATCH
    atomic { LOCKED(me) holder = memory[HOLDER]; memory[HOLDER] = 0 };
    atomic { LOCKED(me) was = watch; watch = 1 };
#else
    atomic { LOCKED(me) was = watch; watch = 1 };
    if
    :: !was -> atomic { LOCKED(me) holder = memory[HOLDER]; memory[HOLDER] = 0 }
    :: else
    fi;
#endif
    if
    :: !was && holder -> atomic { LOCKED(me) request = 1 }
    :: else
    fi;
    was = 0;
    holder = 0
}

/* A walk has read the entry, and what it read is to be kept. */
inline walk()
{
    read = memory[ENTRY];
    lock(me);
#ifdef SEED_PLAIN_BIT
    buffer[me]!MASK(me), 1;
#else
    atomic { LOCKED(me) memory[MASK(me)] = 1 };
#endif
    if
    :: watch -> skip
    :: else -> set_watch()
    fi;
    traced = 1;
    writes = 0;
#ifdef WAIT
    !request;
#else
#ifndef SEED_NEVER_PROVISIONAL
    provisional = request;
#endif
#endif
    if
#ifndef SEED_KEEP_FIRST_READ
    :: memory[ENTRY] != read -> skip /* good until the next event: not kept */
#endif
    :: else -> shadow = read; known = 1
    fi;
    unlock(me);
    read = 0
}

inline untrace()
{
    lock(me);
    atomic { LOCKED(me) memory[MASK(me)] = 0 };
    if
    :: memory[MASK(0)] == 0 && memory[MASK(CONSUMERS - 1)] == 0 -> atomic { LOCKED(me) watch = 0 }
    :: else
    fi;
    unlock(me);
    d_step { traced = 0; known = 0; shadow = 0; provisional = 0 }
}

inline consume()
{
    atomic { LOCKED(me) patch = patched[me]; patched[me] = 0; drop = dropped[me]; dropped[me] = 0 };
    if
    :: drop && traced ->
#ifdef SEED_DROP_KEEPS_SHADOW
        atomic { LOCKED(me) memory[MASK(me)] = 0; traced = 0 };
#else
        untrace()
#endif
    :: !drop && patch && known -> shadow = memory[ENTRY]
    :: else
    fi;
    d_step { patch = 0; drop = 0 }
}

inline event()
{
    before = memory[OVER];
    consume();
    if
    :: provisional ->
#ifdef SEED_NO_LAST_LOOK
        if
        :: !request -> provisional = 0
        :: else -> shadow = memory[ENTRY]
        fi
#else
        was = !request;
        shadow = memory[ENTRY];
        if
        :: was -> provisional = 0
        :: else
        fi;
        was = 0
#endif
    :: else
    fi;
    d_step {
        assert(!known || shadow >= before);
        before = 0
    }
}

active [CONSUMERS] proctype consumer()
{
    byte me = _pid - CONSUMERS - 2, before, shadow, read, count;
    bit traced, known, provisional, was, holder, patch, drop;

    do
    :: count < EVENTS -> event(); count++
    :: count < EVENTS && !traced -> consume(); walk(); count++
    :: count < EVENTS && traced -> untrace(); count++
    :: break
    od;
    memory[OVER] == STORES;
    event();
    assert(!known || shadow == STORES)
}
