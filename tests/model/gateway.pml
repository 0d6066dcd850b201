/* Two voters and a gateway (rules 14 to 18 of docs/vip.md). What voters.pml says of time, steps and
 * messages holds here too.
 *
 *   -DSTRICT    q = 2, never alone: no overlap
 *   -DSOLO      the gateway stands in for a silent peer: an overlap only as G3 allows it
 *   -DLINK      the same where every frame of an agent that runs arrives: no overlap
 *   -DREGISTER  the nodes hear nothing of each other; the gateway's cache names the last writer, a
 *               write arrives up to D ticks late and may come twice, and the gateway may forget */
#ifndef T
#define T 2
#endif
#ifndef F
#define F 1
#endif
#ifndef S /* silence before a lease is extended alone */
#define S 1
#endif
#ifndef D
#define D 1
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#define P (T + F)
#define PEER(x) (1 - (x))

byte fence[2], lease[2]; /* ticks left, of the kernel and of the agent */
byte to[2], until[2], quiet[2]; /* the votes; ticks without one */
byte asked[2], granted[2]; /* x's request on its way, and the answer: 1 + its age */
byte heard[2];             /* ticks since a frame of the peer was taken, at most P */
bit alone[2];              /* the fence stands for a solo lease */
byte waited[2];            /* silence before its latest extension */
bit claimed[2];            /* it began after P of silence */
bit asleep[2];
byte crashes;
byte names, writing[2], challenge[2]; /* register: 1 + node; 1 + age; ticks to wait, and 1 */

#ifdef SOLO
#define CHECK \
  assert(!(fence[0] > 0 && fence[1] > 0) || \
         (alone[0] && alone[1] && waited[0] >= S && waited[1] >= S && (claimed[0] || claimed[1])))
#else
#define CHECK assert(!(fence[0] > 0 && fence[1] > 0))
#endif

inline vote(x, c) { to[x] = c + 1; until[x] = P }

inline extend(x, ticks, solo) {
  if
  :: ticks > lease[x] ->
     lease[x] = ticks;
     if :: ticks + F > fence[x] -> fence[x] = ticks + F :: else fi;
     alone[x] = solo;
     if :: solo -> waited[x] = heard[x]; claimed[x] = claimed[x] || heard[x] >= P
        :: else -> waited[x] = 0; claimed[x] = 0 fi
  :: else
  fi;
  CHECK
}

inline run_down(x) {
  if :: until[x] > 0 -> until[x]--; if :: until[x] == 0 -> to[x] = 0 :: else fi :: else fi;
  if :: quiet[x] > 0 -> quiet[x]-- :: else fi;
  if :: lease[x] > 0 -> lease[x]-- :: else fi;
  if :: fence[x] > 0 -> fence[x]--;
        if :: fence[x] == 0 -> alone[x] = 0; waited[x] = 0; claimed[x] = 0 :: else fi
     :: else fi;
  if :: heard[x] < P -> heard[x]++ :: else fi;
  if :: asked[x] > 0 && asked[x] <= T -> asked[x]++ :: else fi;
  if :: granted[x] > 0 && granted[x] < T -> granted[x]++ :: else granted[x] = 0 fi;
  if :: challenge[x] > 1 -> challenge[x]-- :: else fi;
  if :: writing[x] > 0 && writing[x] <= D -> writing[x]++ :: else writing[x] = 0 fi
}

inline tick() {
  run_down(0); run_down(1);
#ifdef LINK
  /* who runs sends a frame each tick, and it arrives */
  if :: !asleep[0] && !asleep[1] -> heard[0] = 0; heard[1] = 0 :: else fi
#endif
}

#define FREE(x, c) (quiet[x] == 0 && (to[x] == 0 || to[x] == (c) + 1))

inline ask(x) { vote(x, x); asked[x] = 1 }

inline hear(x) { /* the peer's request */
  heard[x] = 0;
  if
  :: FREE(x, PEER(x)) -> vote(x, PEER(x));
     if :: asked[PEER(x)] <= T -> granted[PEER(x)] = asked[PEER(x)] :: else fi
  :: else
  fi;
  asked[PEER(x)] = 0
}

#ifdef DROP_RULE_15_SILENCE
#define SILENT(x) true
#else
#ifdef DROP_RULE_15_CLAIM /* a claim after S, not P */
#define SILENT(x) (heard[x] >= S)
#else
#define SILENT(x) (heard[x] >= P || (lease[x] > 0 && heard[x] >= S))
#endif
#endif
#ifdef DROP_RULE_15_VOTE
#define OWN(x) (quiet[x] == 0)
#else
#define OWN(x) FREE(x, x)
#endif
#ifdef DROP_RULE_16
#define GO_ON(x) asleep[x] = 0
#else
#define GO_ON(x) asleep[x] = 0; heard[x] = 0
#endif

inline crash(x) {
  crashes++;
  to[x] = 0; until[x] = 0; lease[x] = 0; asked[x] = 0; granted[x] = 0; heard[x] = 0;
  asleep[x] = 0; quiet[x] = P
}

#define RUNS(x) (asleep[x] == 0)
#define NODE(x) \
  :: d_step { RUNS(x) && FREE(x, x) -> ask(x); printf("n%d votes for itself and asks\n", x) } \
  :: d_step { RUNS(x) && asked[PEER(x)] > 0 -> hear(x); printf("n%d hears n%d\n", x, PEER(x)) } \
  :: d_step { RUNS(x) && granted[x] > 0 && to[x] == x + 1 -> heard[x] = 0; extend(x, T + 1 - granted[x], 0); granted[x] = 0; printf("n%d has the grant\n", x) } \
  :: d_step { crashes < CRASHES -> crash(x); printf("n%d restarts\n", x) }
#define SOLITARY(x) \
  :: d_step { RUNS(x) && OWN(x) && SILENT(x) -> vote(x, x); extend(x, T, 1); printf("n%d is alone with the gateway\n", x) }
#define LOSE(x) \
  :: d_step { asked[x] > 0 -> asked[x] = 0 } :: d_step { granted[x] > 0 -> granted[x] = 0 }
#define STOP(x) \
  :: d_step { RUNS(x) -> asleep[x] = 1; printf("n%d is stopped\n", x) } \
  :: d_step { asleep[x] == 1 -> GO_ON(x); printf("n%d goes on\n", x) }

#ifdef DROP_RULE_18_WAIT
#define MATURE D
#else
#define MATURE (D + P)
#endif
#ifdef DROP_RULE_18_READ
#define NAMED(x) true
#else
#define NAMED(x) (names == (x) + 1)
#endif
#ifdef DROP_RULE_18_CLOSED
#define SHUT(x) true
#else
#define SHUT(x) (fence[x] == 0)
#endif
#define READS(x) \
  :: d_step { lease[x] == 0 && SHUT(x) && challenge[x] == 0 -> writing[x] = 1; challenge[x] = MATURE + 1; printf("n%d challenges\n", x) } \
  :: d_step { writing[x] > 0 -> names = x + 1; printf("the gateway names n%d\n", x) } \
  :: d_step { fence[x] > 0 -> writing[x] = 1; printf("n%d answers the gateway's question\n", x) } \
  :: d_step { lease[x] > 0 && NAMED(x) -> lease[x] = 0; extend(x, T, 1); printf("n%d reads itself, goes on\n", x) } \
  :: d_step { lease[x] > 0 && names != x + 1 -> writing[x] = 1; printf("n%d defends\n", x) } \
  :: d_step { challenge[x] == 1 -> challenge[x] = 0; if :: names == x + 1 && fence[x] == 0 -> extend(x, T, 1); printf("n%d has waited, reads itself, holds\n", x) :: else fi }

active proctype world() {
  d_step { quiet[0] = P; quiet[1] = P }
  do
  :: d_step { tick(); printf("-- tick: fences %d %d, votes %d %d, silence %d %d\n", fence[0], fence[1], to[0], to[1], heard[0], heard[1]) }
#ifdef REGISTER
  READS(0) READS(1)
  :: d_step { names > 0 -> names = 0; printf("the gateway forgets\n") }
#else
  NODE(0) NODE(1)
#ifndef LINK
  LOSE(0) LOSE(1)
#endif
#ifndef STRICT
  SOLITARY(0) SOLITARY(1)
#endif
#ifdef LINK
  STOP(0) STOP(1)
#endif
#endif
  od
}
