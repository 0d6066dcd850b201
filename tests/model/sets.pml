/* The voter set changes, from {0,1,2} by {0,1,2,3} to {1,2,3} (rule 11 of docs/vip.md), while nodes
 * 0 and 3 both want the lease. What voters.pml says of time, steps and messages holds here too;
 * agents do not crash.
 *
 * A request carries the number of the candidate's set; a voter grants only under its own. */
#ifndef T
#define T 1
#endif
#ifndef F
#define F 1
#endif
#define P (T + F)
#define NODE_OF(c) ((c) * 3) /* candidate 0 is node 0, candidate 1 is node 3 */
#define SLOT(c, v) ((c) * 4 + (v))
#ifdef DROP_RULE_11_ONE_STEP /* {0,1,2}, then {0,1,3}, then {0,3,2}: one replaced at a time */
#define MEMBER(set, v) ((set) == 0 -> (v) != 3 : ((set) == 1 -> (v) != 2 : (v) != 1))
#define MAJORITY(set) 2
#else
#define MEMBER(set, v) ((set) == 0 -> (v) != 3 : ((set) == 1 -> true : (v) != 0))
#define MAJORITY(set) ((set) == 1 -> 3 : 2)
#endif
#ifdef DROP_RULE_11_NUMBER
#define UNDER(v, set) true
#else
#define UNDER(v, set) (adopted[v] == set)
#endif

byte to[4], until[4], adopted[4];
byte grant[8], fence[2];
byte asked[8], asked_set[8], granted[8];
byte over; /* ticks since the first set cannot have a majority any more */
byte i, n, left;

#define GONE ((adopted[0] > 0) + (adopted[1] > 0) + (adopted[2] > 0) >= 2)
#ifdef DROP_RULE_11_ADOPTION
#define MAY_ADOPT(v) true
#else
#ifdef DROP_RULE_11_WAIT
#define MAY_ADOPT(v) (adopted[v] == 0 || GONE)
#else
#define MAY_ADOPT(v) (adopted[v] == 0 || over >= P)
#endif
#endif

inline tick() {
  i = 0;
  do
  :: i < 4 -> if :: until[i] > 0 -> until[i]--; if :: until[i] == 0 -> to[i] = 0 :: else fi
                 :: else fi; i++
  :: else -> break
  od;
  i = 0;
  do
  :: i < 8 ->
     if :: grant[i] > 0 -> grant[i]-- :: else fi;
     if :: asked[i] > 0 && asked[i] <= T -> asked[i]++ :: else fi;
     if :: granted[i] > 0 && granted[i] < T -> granted[i]++ :: else -> granted[i] = 0 fi;
     i++
  :: else -> break
  od;
  i = 0;
  if :: fence[0] > 0 -> fence[0]-- :: else fi;
  if :: fence[1] > 0 -> fence[1]-- :: else fi;
  if :: GONE && over < P -> over++ :: else fi
}

#define FREE(c, v) (to[v] == 0 || to[v] == (c) + 1)

inline promise(c, v) { to[v] = c + 1; until[v] = P }

inline ask(c) {
  if :: FREE(c, NODE_OF(c)) -> promise(c, NODE_OF(c)); grant[SLOT(c, NODE_OF(c))] = T :: else fi;
  i = 0;
  do
  :: i < 4 ->
     if :: i != NODE_OF(c) -> asked[SLOT(c, i)] = 1; asked_set[SLOT(c, i)] = adopted[NODE_OF(c)]
        :: else fi;
     i++
  :: else -> break
  od;
  i = 0
}

inline answer(c, v) {
  if
  :: FREE(c, v) && UNDER(v, asked_set[SLOT(c, v)]) -> promise(c, v);
     if :: asked[SLOT(c, v)] <= T -> granted[SLOT(c, v)] = asked[SLOT(c, v)] :: else fi
  :: else
  fi
}

inline open_fence(c) {
  left = T;
  do
  :: left > 0 ->
     i = 0; n = 0;
     do
     :: i < 4 ->
        if :: MEMBER(adopted[NODE_OF(c)], i) && grant[SLOT(c, i)] >= left -> n++ :: else fi; i++
     :: else -> break
     od;
     if :: n >= MAJORITY(adopted[NODE_OF(c)]) -> break :: else -> left-- fi
  :: else -> break
  od;
  if :: left > 0 && left + F > fence[c] -> fence[c] = left + F :: else fi;
  i = 0; n = 0; left = 0;
  assert(!(fence[0] > 0 && fence[1] > 0))
}

#define CANDIDATE(c) \
  :: d_step { ask(c); printf("n%d asks under set %d\n", NODE_OF(c), adopted[NODE_OF(c)]) } \
  :: d_step { fence[c] < P -> open_fence(c); printf("n%d opens its fence\n", NODE_OF(c)) }
#define LINK(c, v) \
  :: d_step { asked[SLOT(c, v)] > 0 -> answer(c, v); printf("v%d hears n%d\n", v, NODE_OF(c)) } \
  :: d_step { granted[SLOT(c, v)] > 0 -> printf("n%d has a grant of v%d\n", NODE_OF(c), v); \
       if :: T + 1 - granted[SLOT(c, v)] > grant[SLOT(c, v)] -> grant[SLOT(c, v)] = T + 1 - granted[SLOT(c, v)] :: else fi }
#define ADOPTS(v) \
  :: d_step { adopted[v] < 2 && MAY_ADOPT(v) -> adopted[v]++; printf("v%d adopts set %d\n", v, adopted[v]) }

active proctype world() {
  do
  :: d_step { tick(); printf("-- tick: fences %d %d\n", fence[0], fence[1]) }
  CANDIDATE(0) CANDIDATE(1)
  LINK(0, 1) LINK(0, 2) LINK(0, 3) LINK(1, 0) LINK(1, 1) LINK(1, 2)
  ADOPTS(0) ADOPTS(1) ADOPTS(2) ADOPTS(3)
  od
}
