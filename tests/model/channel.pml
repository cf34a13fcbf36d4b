/*
 * A patch channel (mmu/patch.c) between one producer, which stores into two entries and posts, and
 * one consumer, which takes patches at its events and reads entries again. To be shown: behind an
 * event, nothing that the consumer has derived is older than what had been posted when it began.
 *
 * Plain stores go through a store buffer, as on x86; locked operations and fences empty it. A slot
 * has a word of `used` to itself, so that both levels of the bit map are there.
 *
 *   SLOTS, STORES, EVENTS   sizes
 *   KEEP_PENDING            a variant that is right, too: a pending patch is left as it is
 *   NO_FENCE                right, for the locked operations of a post empty the store buffer; with
 *                           KEEP_PENDING, which has none, an error
 *   SEED_...                errors, each of which must be found
 */
#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef STORES
#define STORES 3
#endif
#ifndef EVENTS
#define EVENTS 2
#endif

#define ENTRIES 2

#define FREE 0
#define USED 1
#define BUSY 2

#define KIND(state)    ((state) & 3)
#define VERSION(state) ((state) - KIND(state))
#ifdef SEED_NO_VERSION
#define NEXT(state) VERSION(state)
#else
#define NEXT(state) (VERSION(state) + 4)
#endif

/* Memory that is stored to plainly. */
#define ENTRY(e)   (e)
#define ADDRESS(s) (ENTRIES + 3 * (s))
#define DERIVED(s) (ENTRIES + 3 * (s) + 1)
#define RAW(s)     (ENTRIES + 3 * (s) + 2)
byte memory[ENTRIES + 3 * SLOTS];
chan buffer = [8] of { byte, byte };

/* An entry's values are 16 e + n, n its store's number; the derived value is 128 more. */
#define AGE(value)  ((value) & 15)
#define DERIVE(raw) ((raw) + 128)

/* The channel. Addresses are e + 1, so that no address is one, too. */
#define REBUILD 128
byte state[SLOTS];
bit used[SLOTS];
byte used_words;
bit rebuild;
bit pending; /* of the consumer's context */

byte posted[ENTRIES]; /* age of what has been posted */
bit producer_done;
byte shadow[ENTRIES];

#define LOCKED empty(buffer) ->
#define FENCE  empty(buffer)

active proctype store_buffer()
{
    byte where, value;

end:
    do
    :: atomic { nempty(buffer) -> buffer?where, value; memory[where] = value; where = 0; value = 0 }
    od
}

inline write_contents(s)
{
    buffer!ADDRESS(s), e + 1;
    buffer!DERIVED(s), DERIVE(v);
    buffer!RAW(s), v
}

inline announce(s)
{
#ifdef SEED_WORD_BEFORE_BIT
    atomic { LOCKED used_words = used_words | (1 << s) };
    atomic { LOCKED used[s] = 1 }
#else
    atomic { LOCKED used[s] = 1 };
    atomic { LOCKED used_words = used_words | (1 << s) }
#endif
}

inline post_rebuild()
{
#ifdef SEED_REBUILD_ORDER
    atomic { LOCKED used_words = used_words | REBUILD };
    atomic { LOCKED rebuild = 1 }
#else
    atomic { LOCKED rebuild = 1 };
    atomic { LOCKED used_words = used_words | REBUILD }
#endif
}

active proctype producer()
{
    byte n, e, v, s, free, st;
    bit ok;

    do
    :: n < STORES ->
        n++;
        if
        :: e = 0
        :: e = 1
        fi;
        v = 16 * e + n;
        buffer!ENTRY(e), v;
#ifndef NO_FENCE
        FENCE;
#endif
        s = 0;
        free = SLOTS;
        do
        :: s < SLOTS ->
            st = state[s];
            if
            :: KIND(st) == FREE ->
                if
                :: free == SLOTS -> free = s
                :: else
                fi
            :: KIND(st) != FREE && memory[ADDRESS(s)] == e + 1 ->
#ifdef KEEP_PENDING
                goto done;
#endif
                atomic {
                    LOCKED ok = (state[s] == st);
                    if
                    :: ok -> state[s] = VERSION(st) + BUSY
                    :: else
                    fi
                };
                if
                :: ok ->
                    write_contents(s);
                    atomic { LOCKED state[s] = NEXT(st) + USED };
#ifndef SEED_NO_ANNOUNCE_AFTER_REPLACE
                    announce(s);
#endif
                    goto done
                :: else
                fi
            :: else
            fi;
            s++
        :: else -> break
        od;
        if
        :: free == SLOTS ->
#ifndef SEED_NO_REBUILD
            post_rebuild();
#endif
            goto done
        :: else
        fi;
        st = state[free];
#ifdef SEED_BIT_BEFORE_CONTENTS
        announce(free);
#endif
#ifdef SEED_STATE_BEFORE_CONTENTS
        atomic { LOCKED state[free] = NEXT(st) + USED };
        write_contents(free);
#else
        write_contents(free);
        atomic { LOCKED state[free] = NEXT(st) + USED };
#endif
#ifndef SEED_BIT_BEFORE_CONTENTS
        announce(free);
#endif
done:
#ifdef SEED_NO_PENDING
        skip;
#else
        atomic { LOCKED pending = 1 };
#endif
        atomic { FENCE; posted[e] = n }
    :: else -> break
    od;
    atomic { FENCE; producer_done = 1 }
}

/* Applies a patch: the value that it carries if its validator holds, else the entry. */
inline apply()
{
    assert(a >= 1 && a <= ENTRIES);
#ifndef SEED_READ_BEFORE_FREE
    raw = memory[ENTRY(a - 1)];
#endif
    if
    :: d != 0 && r == raw -> shadow[a - 1] = d - 128
    :: else -> shadow[a - 1] = raw
    fi
}

inline take_slot(s)
{
    st = state[s];
#ifdef SEED_READ_BEFORE_FREE
    a = memory[ADDRESS(s)];
    if
    :: a != 0 -> raw = memory[ENTRY(a - 1)]
    :: else
    fi;
#endif
    do
    :: KIND(st) == FREE -> break
    :: else ->
#ifdef SEED_FREE_BEFORE_READ
        atomic {
            if
            :: state[s] == st && KIND(st) == USED -> state[s] = VERSION(st) + FREE; ok = 1
            :: else -> ok = 0
            fi
        };
#endif
        a = memory[ADDRESS(s)];
        d = memory[DERIVED(s)];
        r = memory[RAW(s)];
        if
        :: KIND(st) == BUSY ->
#ifndef SEED_BUSY_IS_SKIPPED
            d = 0;
            apply();
#endif
            break
        :: else
        fi;
#ifdef SEED_FREE_WITHOUT_COMPARING
        ok = 1;
        state[s] = VERSION(st) + FREE;
#else
#ifndef SEED_FREE_BEFORE_READ
        atomic {
            ok = (state[s] == st);
            if
            :: ok -> state[s] = VERSION(st) + FREE
            :: else -> st = state[s]
            fi
        };
#endif
#endif
        if
        :: ok -> apply(); break
        :: else -> st = state[s]
        fi
    od
}

inline event()
{
    d_step {
        before[0] = posted[0];
        before[1] = posted[1]
    };
    atomic { any = pending; pending = 0 };
    if
    :: any ->
        atomic { words = used_words; used_words = 0 };
        all = 0;
        if
        :: words & REBUILD -> atomic { all = rebuild; rebuild = 0 }
        :: else
        fi;
        i = 0;
        do
        :: i < SLOTS ->
            if
            :: words & (1 << i) ->
                atomic { any = used[i]; used[i] = 0 };
                if
                :: any -> take_slot(i)
                :: else
                fi
            :: else
            fi;
            i++
        :: else -> break
        od;
        if
        :: all ->
            shadow[0] = memory[ENTRY(0)];
            shadow[1] = memory[ENTRY(1)]
        :: else
        fi
    :: else
    fi;
    d_step {
        assert(AGE(shadow[0]) >= before[0]);
        assert(AGE(shadow[1]) >= before[1]);
        i = 0; st = 0; a = 0; d = 0; r = 0; raw = 0; words = 0; any = 0; all = 0; ok = 0;
        before[0] = 0; before[1] = 0
    }
}

active proctype consumer()
{
    byte before[ENTRIES], i, st, a, d, r, raw, words, count;
    bit any, all, ok;

    do
    :: count < EVENTS ->
        event();
        count++
    :: break
    od;
    producer_done;
    event();
    assert(shadow[0] == memory[ENTRY(0)]);
    assert(shadow[1] == memory[ENTRY(1)])
}
