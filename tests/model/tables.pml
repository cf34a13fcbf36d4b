/*
 * Two tables: a writer stores to an entry of the lower one, then to one of the upper one, which
 * leads there. Between events a consumer may use old entries, but never the new upper one with the
 * old lower one: no processor does that (SDM 3A 4.10.2.3). mmu/coherency.c (coherency_event,
 * coherency_catch_up), mmu/shadow.c (shadow_learn).
 *
 * trace.pml has more about one table: how the consumer gets there, and who holds it writable. Here
 * the consumer stays, so there is no lock. An entry's value is the number of stores to it.
 *
 *   WRITERS          2: one stores to the lower table; the other has seen that, and stores to the
 *                    upper one
 *   ROUNDS, EVENTS   sizes
 *   BOUND            so often is taken what is pending; what comes behind that empties the shadow
 *   NO_POST_BEHIND   right, too
 *   SEED_...         errors, each of which must be found
 */
#ifndef WRITERS
#define WRITERS 1
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef EVENTS
#define EVENTS 3
#endif
#ifndef BOUND
#define BOUND 2
#endif

#define LOWER    0
#define UPPER    1
#define CONSUMER WRITERS
#define LOCKED   empty(buffer[me]) ->
#define FENCE    empty(buffer[me])

chan buffer[WRITERS + 1] = [4] of { byte }; /* whose entry is stored to */

byte entry[2];
bit watch[2];      /* set by the consumer, who never leaves */
byte holders[2];   /* bit n: writer n may have a write tag, or is storing the slow way */
byte request[WRITERS]; /* bit f: give the write tag of table f up */
bit patched[2];    /* what waits in the channel */
bit pending;       /* something may wait there */

active [WRITERS] proctype store_buffer()
{
    byte f;

end:
    do
    :: atomic { nempty(buffer[_pid]) -> buffer[_pid]?f; entry[f]++; f = 0 }
    od
}

/* --- Writers --- */

inline clear_holder(f)
{
    atomic { LOCKED holders[f] = holders[f] & ~(1 << me) }
}

inline answer_table(f)
{
    if
    :: request[me] & (1 << f) ->
        atomic { LOCKED request[me] = request[me] & ~(1 << f) };
        tag[f] = 0;
        clear_holder(f)
    :: else
    fi
}

/* Between two instructions. */
inline answer()
{
    answer_table(LOWER);
    answer_table(UPPER)
}

inline post(f)
{
    atomic { LOCKED patched[f] = 1 };
    atomic { LOCKED pending = 1 }
}

inline store(f)
{
    if
    :: tag[f] -> buffer[me]!f
    :: else ->
        watched = watch[f];
        atomic { LOCKED holders[f] = holders[f] | (1 << me) };
        if
        :: !watched -> watched = watch[f]
        :: else
        fi;
        tag[f] = !watched;
#ifdef SEED_NO_BIT_IN_STORE
        if
        :: watched -> clear_holder(f)
        :: else
        fi;
#endif
#ifndef SEED_NO_PRE_POST
        if
        :: watched -> post(f)
        :: else
        fi;
#endif
        buffer[me]!f;
#ifndef NO_POST_BEHIND
        FENCE;
        if
        :: watch[f] -> post(f)
        :: else
        fi;
#endif
        if
        :: watched -> clear_holder(f); watched = 0
        :: else
        fi
    fi
}

active [WRITERS] proctype writer()
{
    byte me = _pid - WRITERS, n;
    bit tag[2], watched;

    do
    :: n < ROUNDS ->
        n++;
        answer();
#if WRITERS == 1
        store(LOWER);
        answer();
        store(UPPER)
#else
        if
        :: me == 0 -> store(LOWER)
        :: else ->
            do
            :: entry[LOWER] >= n -> break
            :: entry[LOWER] < n && request[me] -> answer()
            od;
            store(UPPER)
        fi
#endif
    :: else -> break
    od;
end:
    do
    :: request[me] -> answer()
    od
}

/* --- The consumer --- */

inline take(f)
{
    atomic { patch = patched[f]; patched[f] = 0 };
    if
#ifdef SEED_PATCH_OF_HELD
    :: patch && known[f] -> shadow[f] = entry[f]
#else
    :: patch && known[f] && holders[f] -> d_step { known[f] = 0; shadow[f] = 0 }
    :: patch && known[f] && !holders[f] -> shadow[f] = entry[f]
#endif
    :: else
    fi;
    patch = 0
}

/* Until nothing is pending. */
inline consume()
{
    do
    :: !pending -> break
    :: pending && round < BOUND ->
        round++;
        pending = 0;
        if
        :: take(LOWER); take(UPPER)
        :: take(UPPER); take(LOWER)
        fi
#ifdef SEED_ONCE
        ;
        break
#endif
    :: pending && round == BOUND ->
#ifndef SEED_BOUND_KEEPS
        d_step { known[LOWER] = 0; known[UPPER] = 0; shadow[LOWER] = 0; shadow[UPPER] = 0 };
#endif
        break
    od;
    round = 0
}

inline ask(w)
{
    if
    :: holders[f] & (1 << w) -> request[w] = request[w] | (1 << f)
    :: else
    fi
}

/* A walk reads one of the tables; it leads through the upper one to another entry of the lower one,
 * or has come to the lower one another way. */
inline walk()
{
    read = entry[f];
    if
#ifndef SEED_NO_SECOND_LOOK
    :: pending
#endif
    :: else ->
        if
        :: !watch[f] ->
            watch[f] = 1;
            ask(0);
            ask(WRITERS - 1)
        :: else
        fi;
        if
        :: holders[f]
        :: else ->
            if
            :: entry[f] == read -> d_step { shadow[f] = read; known[f] = 1 }
            :: else
            fi
        fi
    fi;
    read = 0
}

inline event()
{
    d_step { before[LOWER] = entry[LOWER]; before[UPPER] = entry[UPPER] };
    consume();
    d_step {
        assert(!known[LOWER] || shadow[LOWER] >= before[LOWER]);
        assert(!known[UPPER] || shadow[UPPER] >= before[UPPER]);
        before[LOWER] = 0;
        before[UPPER] = 0
    }
}

active proctype consumer()
{
    byte f, round, read, count, shadow[2], before[2];
    bit known[2], patch;

    do
    :: count < EVENTS ->
        count++;
        if
        :: event()
        :: !known[LOWER] -> f = LOWER; consume(); walk()
        :: !known[UPPER] -> f = UPPER; consume(); walk()
        fi;
        f = 0;
        assert(!known[UPPER] || !known[LOWER] || shadow[LOWER] >= shadow[UPPER])
    :: else -> break
    od
}
