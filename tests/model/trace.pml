/*
 * Tracing: how a consumer makes sure that stores to a table reach it as patches, while other vCPUs
 * hold the table's frame writable in their TLBs. One frame with one entry; every vCPU has its
 * thread. mmu/shadow.c (trace, untrace, shadow_learn), mmu/tlb.c (grant_write), mmu/control.c
 * (mmu_frame_watch), mmu/coherency.c (machine_memory_traced_write). Channels are sets that lose
 * nothing: channel.pml shows that. tables.pml has two tables, code.pml the watches of code.
 *
 * To be shown: whoever can read a new entry has it, or nothing, behind his next event. Of a
 * device's store that holds only when the device has said that it is over. When stores have ended,
 * a walk is kept.
 *
 * Plain stores go through a store buffer of each thread, as on x86; locked operations and fences
 * empty it. The entry's value is the number of stores that have reached it.
 *
 *   VCPUS, WRITERS, CONSUMERS   the first vCPUs write, the last ones consume; some may do both
 *   STORES, EVENTS   of each of them
 *   FLOOD            this many stores have no answer but patches
 *   DMA              a device stores, too; it has no holder bit
 *   PARK             vCPUs may be parked between two instructions; then the asker answers for them
 *   SHARED           consumers have one word for the entry, as with tables=shared
 *   NO_FENCE         right, for locked operations follow each store of the slow way; for a device,
 *                    an error
 *   NO_POST_BEHIND   right, for the patches before the store and the holder bit are enough: behind
 *                    it a vCPU tells only itself; for a device, an error
 *   SEED_...         errors, each of which must be found
 *   REACH_...        an assertion that must fail: it shows that the case is in the model
 */
#ifndef VCPUS
#define VCPUS 2
#endif
#ifndef WRITERS
#define WRITERS 1
#endif
#ifndef CONSUMERS
#define CONSUMERS 1
#endif
#ifndef STORES
#define STORES 2
#endif
#ifndef EVENTS
#define EVENTS 3
#endif
#ifdef DMA
#define THREADS (VCPUS + 1)
#define DEVICE  VCPUS
#define PRODUCERS (WRITERS + 1)
#else
#define THREADS   VCPUS
#define PRODUCERS WRITERS
#endif

#define WRITES(v)       ((v) < WRITERS)
#define FIRST_CONSUMER  (VCPUS - CONSUMERS)
#define CONSUMES(v)     ((v) >= FIRST_CONSUMER)
#define ONE(v)          (1 << (v))
#define OTHERS(bits)    ((bits) & ~ONE(me))
#define LOCKED          empty(buffer[me]) ->
#define FENCE           empty(buffer[me])
#ifdef SHARED
#define USABLE (traced && known)
#else
#define USABLE known
#endif

/* What a store buffer holds: the store to the entry; the device's word that it is over; bits that
 * errors set plainly. */
#define ENTRY  0
#define OVER   1
#define HOLDER 2
#define BIT    3
#define UNLOCK 4
chan buffer[THREADS] = [3] of { byte };

byte entry;
bit watch;
byte mask;    /* bit n: vCPU n has derived something from the frame */
byte holders; /* bit n: vCPU n may have a write tag, or is storing the slow way */
bit lock_held;
bit tag[VCPUS];
bit request[VCPUS]; /* the vCPU's mailbox: it is to give its write tag up */
bit parked[VCPUS];
bit patched[VCPUS], dropped[VCPUS]; /* what waits in the channels */
#ifdef SHARED
byte shadow; /* of all vCPUs */
bit known;
bit words_lock_held;
#endif
byte finished, idle;                /* producers that store no more; consumers at their end */
#ifdef FLOOD
byte writes;
#endif
#ifdef DMA
byte by_vcpu, by_device; /* the value after the last store of either */
byte over;
#endif

active [THREADS] proctype store_buffer()
{
    byte what;

end:
    do
    :: atomic {
        nempty(buffer[_pid]) -> buffer[_pid]?what;
        if
        :: what == ENTRY ->
            entry++;
#ifdef DMA
            if
            :: _pid == DEVICE -> by_device = entry
            :: else -> by_vcpu = entry
            fi
        :: what == OVER -> over = by_device
#endif
        :: what == HOLDER -> holders = holders | ONE(_pid)
        :: what == BIT -> mask = mask | ONE(_pid)
        :: what == UNLOCK -> lock_held = 0
        fi;
        what = 0
    }
    od
}

/* machine_memory_lock_traces: a frame's consumers and its watch change together. A watch must not
 * go behind the back of a consumer who has just found it there. */
inline lock()
{
#ifndef SEED_NO_LOCK
    atomic { empty(buffer[me]) && !lock_held -> lock_held = 1 }
#else
    skip
#endif
}

inline unlock()
{
#ifdef SEED_NO_LOCK
    skip
#else
#ifdef SEED_PLAIN_BIT
    buffer[me]!UNLOCK
#else
    atomic { LOCKED lock_held = 0 }
#endif
#endif
}

/* --- Writers --- */

inline clear_holder()
{
    atomic { LOCKED holders = OTHERS(holders) }
}

/* Between two instructions. */
inline answer()
{
#ifdef SEED_BIT_BEFORE_TAG
    if
    :: late -> tag[me] = 0; late = 0
    :: else
    fi;
    if
    :: request[me] -> request[me] = 0; clear_holder(); late = tag[me]
    :: else
    fi
#else
    if
    :: request[me] ->
        atomic { LOCKED request[me] = 0; tag[me] = 0 };
        clear_holder()
    :: else
    fi
#endif
}

inline post(to)
{
    targets = to;
    c = FIRST_CONSUMER;
    do
    :: c < VCPUS ->
        if
        :: targets & ONE(c) -> atomic { LOCKED patched[c] = 1 }
        :: else
        fi;
        c++
    :: else -> break
    od;
    atomic { c = 0; targets = 0 }
}

inline post_drop()
{
    lock();
#ifndef SEED_FLOOD_TELLS_NOBODY
    targets = mask;
    c = FIRST_CONSUMER;
    do
    :: c < VCPUS ->
        if
        :: targets & ONE(c) -> atomic { LOCKED dropped[c] = 1 }
        :: else
        fi;
        c++
    :: else -> break
    od;
    atomic { c = 0; targets = 0 };
#endif
    atomic { LOCKED watch = 0 };
    unlock()
}

/* machine_memory_finish_write, behind the store. */
inline finish_write()
{
#ifndef NO_FENCE
    FENCE;
#endif
    if
#ifdef FLOOD
    :: watch && writes >= FLOOD -> post_drop()
    :: watch && writes < FLOOD -> writes++; post(mask)
#else
    :: watch -> post(mask)
#endif
    :: else
    fi
}

/* grant_write: may the vCPU have a write tag? Its holder bit is set in any case. */
inline grant_write()
{
    watched = watch;
#ifdef SEED_PLAIN_HOLDER
    buffer[me]!HOLDER;
#else
    atomic { LOCKED holders = holders | ONE(me) };
#endif
#ifndef SEED_NO_SECOND_TEST
    if
    :: !watched -> watched = watch
    :: else
    fi;
#endif
    if
    :: watched -> tag[me] = 0
    :: else -> tag[me] = 1
    fi
}

/* The holder bit of a watched frame stays until the patches behind the store are posted: a consumer
 * who has taken the first ones meanwhile, or who traces only now, keeps nothing. */
inline store_slow()
{
    grant_write();
#ifdef SEED_NO_BIT_IN_STORE
    if
    :: watched -> clear_holder()
    :: else
    fi;
#endif
#ifndef SEED_NO_PRE_POST
    if
    :: watched -> post(OTHERS(mask))
    :: else
    fi;
#endif
    buffer[me]!ENTRY;
#ifdef NO_POST_BEHIND
    post(mask & ONE(me));
#else
    finish_write();
#endif
    if
    :: watched -> clear_holder(); watched = 0
    :: else
    fi
}

/* Another slot than the one with the tag may be used. */
inline store()
{
    n++;
    if
    :: tag[me] ->
#ifdef REACH_TAG_UNDER_WATCH
        assert(!watch);
#endif
        buffer[me]!ENTRY
    :: store_slow()
    fi
}

/* Under the mutex of the mailbox. */
inline park()
{
    do
    :: request[me] -> answer()
    :: atomic { empty(buffer[me]) && !request[me] -> parked[me] = 1 }; break
    od
}

#ifdef DMA
active proctype device()
{
    byte me = DEVICE, n, c, targets;

    do
    :: n < STORES ->
        n++;
#ifdef NO_POST_BEHIND
        finish_write();
        buffer[me]!ENTRY;
#else
        buffer[me]!ENTRY;
        finish_write();
#endif
        buffer[me]!OVER
    :: else -> break
    od;
    atomic { LOCKED finished++ }
}
#endif

/* --- Consumers --- */

/* For everybody whose bit is left. */
inline ask()
{
    c = 0;
    do
    :: c < WRITERS ->
        if
        :: c != me && (holders & ONE(c)) ->
#ifdef SEED_PARKED_WITHOUT_MUTEX
            if
            :: parked[c] ->
                tag[c] = 0;
                atomic { LOCKED holders = holders & ~ONE(c) }
            :: else -> atomic { LOCKED request[c] = 1 }
            fi
#else
            atomic {
                LOCKED
                if
                :: parked[c] -> tag[c] = 0; holders = holders & ~ONE(c)
                :: else -> request[c] = 1
                fi
            }
#ifdef SEED_ASKER_CLEARS
            ;
            atomic { LOCKED holders = holders & ~ONE(c) }
#endif
#endif
        :: else
        fi;
        c++
    :: else -> break
    od;
    c = 0
}

/* From now on stores to the frame arrive as patches. */
inline enter()
{
    lock();
#ifdef SEED_PLAIN_BIT
    buffer[me]!BIT;
#else
    atomic { LOCKED mask = mask | ONE(me) };
#endif
#ifdef FLOOD
    writes = 0;
#endif
    if
    :: watch
    :: else ->
#ifdef SEED_ASK_BEFORE_WATCH
        ask();
#endif
        atomic { LOCKED watch = 1 };
        asks = 1
    fi;
    unlock();
    traced = 1;
    if
    :: holders & ONE(me) -> tag[me] = 0; clear_holder()
    :: else
    fi;
#ifndef SEED_ASK_BEFORE_WATCH
    if
    :: asks -> ask()
    :: else
    fi;
#endif
    asks = 0
}

/* A shared word is set before anybody else takes a patch for it. */
#if defined(SHARED) && !defined(SEED_WORDS_NO_LOCK)
#define LOCK_WORDS   atomic { empty(buffer[me]) && !words_lock_held -> words_lock_held = 1 }
#define UNLOCK_WORDS atomic { LOCKED words_lock_held = 0 }
#else
#define LOCK_WORDS   skip
#define UNLOCK_WORDS skip
#endif

/* What is known of the entry is made as it is now. First the holders, then the entry: the last
 * store by a write tag comes before the holder's answer. */
inline derive_again()
{
    LOCK_WORDS;
    if
#ifdef SEED_LOOK_AFTER_READ
    :: known ->
        shadow = entry;
        if
        :: OTHERS(holders) -> atomic { known = 0; shadow = 0 }
        :: else
        fi
#else
#ifndef SEED_PATCH_OF_HELD
    :: known && OTHERS(holders) -> atomic { known = 0; shadow = 0 }
    :: known && !OTHERS(holders) -> shadow = entry
#else
    :: known -> shadow = entry
#endif
#endif
    :: else
    fi;
    UNLOCK_WORDS
}

/* A walk reads the entry, and what it read is kept if nobody can store to it unheard. */
inline walk()
{
    read = entry;
    if
    :: patched[me] || dropped[me] -> skip
    :: else ->
        if
        :: !traced ->
            enter();
#if defined(SHARED) && !defined(SEED_NO_ADOPT)
            derive_again()
#endif
        :: else
        fi;
        LOCK_WORDS;
        if
#ifndef SEED_KEEP_HELD
        :: OTHERS(holders) -> skip
        :: else ->
#else
        :: true ->
#endif
            if
#ifndef SEED_KEEP_FIRST_READ
            :: entry != read -> skip
#endif
            :: else -> atomic { shadow = read; known = 1 }
            fi
        fi;
        UNLOCK_WORDS
    fi;
    read = 0
}

inline untrace()
{
    lock();
    atomic { LOCKED mask = OTHERS(mask) };
    if
    :: mask == 0 -> atomic { LOCKED watch = 0 }
    :: else
    fi;
    unlock();
#ifdef SHARED
    traced = 0
#else
    d_step { traced = 0; known = 0; shadow = 0 }
#endif
}

/* Takes what is pending. */
inline consume()
{
    if
    :: patched[me] || dropped[me] ->
        atomic {
            LOCKED
            patch = patched[me];
            drop = dropped[me];
            patched[me] = 0;
            dropped[me] = 0
        };
        if
        :: drop && traced ->
#ifdef SEED_DROP_KEEPS_SHADOW
            atomic { LOCKED mask = OTHERS(mask); traced = 0 }
#else
            untrace()
#endif
#ifdef SEED_UNKNOWN_UNLOCKED
        :: !drop && known -> derive_again()
#else
        :: !drop -> derive_again()
#endif
        :: else
        fi;
        d_step { patch = 0; drop = 0 }
    :: else
    fi
}

inline event()
{
#ifdef DMA
    before = (by_vcpu > over -> by_vcpu : over);
#else
    before = entry;
#endif
    consume();
    d_step {
        assert(!USABLE || shadow >= before);
        before = 0
    }
}

/* --- A vCPU --- */

active [VCPUS] proctype vcpu()
{
    byte n, c, targets, before, read, count;
    bit watched, traced, asks, patch, drop;
#ifndef SHARED
    byte shadow;
    bit known;
#endif
#ifdef SEED_BIT_BEFORE_TAG
    bit late;
#endif
#ifdef DMA
    byte me = _pid - THREADS - 1;
#else
    byte me = _pid - THREADS;
#endif

    do
    :: WRITES(me) && n < STORES -> answer(); store()
#ifdef PARK
    :: WRITES(me) && n < STORES -> park(); parked[me] = 0
#endif
    :: CONSUMES(me) && count < EVENTS -> answer(); count++; event()
    :: CONSUMES(me) && count < EVENTS && !USABLE -> answer(); count++; consume(); walk()
    :: CONSUMES(me) && count < EVENTS && traced -> count++; untrace()
    :: n == STORES || !WRITES(me) -> break
    od;
    if
    :: WRITES(me) -> park(); finished++
    :: else
    fi;
    if
    :: CONSUMES(me) ->
        finished == PRODUCERS;
        event();
        assert(!USABLE || shadow == entry);
        idle++
    :: else
    fi;
    if
    :: me == VCPUS - 1 ->
        idle == CONSUMERS;
        consume();
        if
        :: !USABLE -> walk()
        :: else
        fi;
        assert(USABLE && shadow == entry)
    :: else
    fi
}
