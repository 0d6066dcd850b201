/* Leases of one name by the grants of a majority (rules 1 to 9 of docs/vip.md).
 *
 * NC candidates, which vote too, and NV - NC witnesses. Time goes in ticks. Every step of an agent
 * may happen at any time or never, so that agents which are slow, stopped or dead are all among the
 * runs; only promises, silences and the kernel's fences run on by themselves. A message may be lost,
 * come twice, and come at any time later: it stays in its slot, age and all, until a newer one takes
 * its place. Rates of clocks are part of F.
 *
 * Checked: never two fences open at a time. tests/model/check.sh runs it, and runs it with a rule
 * dropped (-DDROP_RULE_...), where the same check has to fail. */
#ifndef NV
#define NV 3
#endif
#ifndef NC
#define NC 2
#endif
#ifndef T /* lease */
#define T 2
#endif
#ifndef F /* lateness of a fence */
#define F 1
#endif
#ifndef CRASHES /* of any node's agent */
#define CRASHES 1
#endif
#ifndef RELEASES
#define RELEASES 0
#endif
#ifndef LONG /* the other length of a lease that a request may ask for */
#define LONG T
#endif
#define MAJORITY (NV / 2 + 1)
#define SLOT(c, v) ((c) * NV + (v))
#define TERM(l) ((l) -> LONG : T)

/* voters */
byte to[NV];      /* 1 + the candidate of the promise; 0: none */
byte until[NV];   /* ticks that it has left */
byte with[NV];    /* its session */
byte silent[NV];  /* ticks without a vote after a restart */
/* candidates */
byte session[NC];
byte grant[NC * NV]; /* ticks that each voter's grant has left */
byte resumed[NC];    /* ticks of a lease that was taken up again */
bit unclean[NC];     /* a former life may have left the fence open */
bit longest[NC];     /* asks for the LONG lease */
/* kernels */
byte fence[NC]; /* ticks that it is open at the longest */
/* messages: 1 + ticks since the request, 0 none */
byte asked[NC * NV], asked_in[NC * NV];
bit asked_long[NC * NV];
byte granted[NC * NV], granted_in[NC * NV];
bit granted_long[NC * NV];
byte freed[NC * NV]; /* session of a release */
byte crashes, releases;
#ifdef DROP_RULE_6_RESTART
bit asked_former[NC * NV], granted_former[NC * NV]; /* by the life before, whose numbers come again */
#endif
#ifdef DROP_RULE_5
byte reading[NC]; /* what was computed by an old reading of the clock */
#endif
byte i, j, n, left; /* scratch */

#ifdef DROP_RULE_2
#define PROMISE(l) TERM(l)
#else
#define PROMISE(l) (TERM(l) + F)
#endif

#ifdef DROP_RULE_8_LENGTH
#define SILENCE (T + F) /* by the short lease, where a longer one may have been promised */
#else
#define SILENCE (LONG + F)
#endif

#define CAN_VOTE(v, c, e) (silent[v] == 0 && (to[v] == 0 || (to[v] == (c) + 1 && (e) >= with[v])))

inline promise(v, c, e, l) {
  to[v] = c + 1;
  with[v] = e;
#ifdef DROP_RULE_2_NEVER_SHORTER
  until[v] = PROMISE(l);
#else
  if :: PROMISE(l) > until[v] -> until[v] = PROMISE(l) :: else fi
#endif
}

inline forget(v) { to[v] = 0; until[v] = 0; with[v] = 0 }

/* left := ticks of the majority's latest grant end, or of the resumed lease */
inline lease(c) {
  left = LONG; n = 0;
  do
  :: left > 0 ->
     i = 0; n = 0;
     do :: i < NV -> if :: grant[SLOT(c, i)] >= left -> n++ :: else fi; i++ :: else -> break od;
     if :: n >= MAJORITY -> break :: else -> left-- fi
  :: else -> break
  od;
  if :: resumed[c] > left -> left = resumed[c] :: else fi;
  i = 0; n = 0
}

inline one_holder() {
  assert(!(fence[0] > 0 && fence[1] > 0));
#if NC > 2
  assert(!(fence[0] > 0 && fence[2] > 0) && !(fence[1] > 0 && fence[2] > 0))
#endif
}

inline void_session(c) {
  i = 0;
  do :: i < NV -> grant[SLOT(c, i)] = 0; i++ :: else -> break od;
  i = 0; resumed[c] = 0
}

inline older(slot, cap) { if :: slot > 0 && slot <= cap -> slot++ :: else fi }

inline tick() {
  i = 0;
  do
  :: i < NV ->
     if :: until[i] > 0 -> until[i]--; if :: until[i] == 0 -> to[i] = 0; with[i] = 0 :: else fi
        :: else fi;
     if :: silent[i] > 0 -> silent[i]-- :: else fi;
     i++
  :: else -> break
  od;
  i = 0;
  do
  :: i < NC * NV ->
     if :: grant[i] > 0 -> grant[i]-- :: else fi;
     older(asked[i], LONG); older(granted[i], LONG);
     i++
  :: else -> break
  od;
  i = 0;
  do
  :: i < NC ->
     if :: fence[i] > 0 -> fence[i]-- :: else fi;
     if :: resumed[i] > 0 -> resumed[i]-- :: else fi;
     i++
  :: else -> break
  od;
  i = 0
}

inline request(c, l) {
  longest[c] = l;
#ifdef DROP_RULE_3
  promise(c, c, session[c], l); grant[SLOT(c, c)] = TERM(l);
#else
  if
  :: CAN_VOTE(c, c, session[c]) -> promise(c, c, session[c], l);
     if :: TERM(l) > grant[SLOT(c, c)] -> grant[SLOT(c, c)] = TERM(l) :: else fi
  :: else
  fi;
#endif
  i = 0;
  do
  :: i < NV ->
     if
     :: i != c -> asked[SLOT(c, i)] = 1; asked_in[SLOT(c, i)] = session[c]; asked_long[SLOT(c, i)] = l
#ifdef DROP_RULE_6_RESTART
       ; asked_former[SLOT(c, i)] = 0
#endif
     :: else
     fi;
     i++
  :: else -> break
  od;
  i = 0
}

inline answer(c, v) {
  if
  :: CAN_VOTE(v, c, asked_in[SLOT(c, v)]) ->
     promise(v, c, asked_in[SLOT(c, v)], asked_long[SLOT(c, v)]);
     granted[SLOT(c, v)] = asked[SLOT(c, v)];
     granted_in[SLOT(c, v)] = asked_in[SLOT(c, v)];
     granted_long[SLOT(c, v)] = asked_long[SLOT(c, v)]
#ifdef DROP_RULE_6_RESTART
     ; granted_former[SLOT(c, v)] = asked_former[SLOT(c, v)]
#endif
  :: else
  fi
}

/* A grant is worth what its request's lease has left. */
inline take(c, v) {
#ifdef DROP_RULE_1_LENGTH
  n = TERM(longest[c]) + 1;
#else
  n = TERM(granted_long[SLOT(c, v)]) + 1;
#endif
#ifdef DROP_RULE_1
  left = n - 1;
#else
#ifdef DROP_RULE_6_RESTART /* an answer to the life before passes for one to the newest request */
  if :: granted_former[SLOT(c, v)] && !asked_former[SLOT(c, v)] -> left = asked[SLOT(c, v)]
     :: else -> left = granted[SLOT(c, v)] fi;
#else
  left = granted[SLOT(c, v)];
#endif
  if :: n > left -> left = n - left :: else -> left = 0 fi;
#endif
  if :: left > grant[SLOT(c, v)] -> grant[SLOT(c, v)] = left :: else fi;
  left = 0; n = 0
}

#ifdef DROP_RULE_6
#define SAME_SESSION(c, v) true
#else
#define SAME_SESSION(c, v) (granted_in[SLOT(c, v)] == session[c])
#endif

#ifdef DROP_RULE_6_RELEASE
#define FREES(c, v) (to[v] == (c) + 1)
#else
#define FREES(c, v) (to[v] == (c) + 1 && with[v] <= freed[SLOT(c, v)])
#endif

inline open_fence(c) {
  lease(c);
  if :: left > 0 && left + F > fence[c] -> fence[c] = left + F :: else fi;
  left = 0;
  one_holder()
}

/* A release, and a campaign that yields: its fence was never opened. */
inline release(c) {
  releases++;
#ifndef DROP_RULE_7
  if :: unclean[c] == 0 -> fence[c] = 0 :: else fi;
#endif
  void_session(c);
  i = 0;
  do :: i < NV -> if :: i != c -> freed[SLOT(c, i)] = session[c] :: else fi; i++ :: else -> break od;
  i = 0;
  if :: to[c] == c + 1 && with[c] <= session[c] -> forget(c) :: else fi;
#ifndef DROP_RULE_7_SESSION
  session[c]++
#endif
}

inline restart(v) {
  crashes++;
#ifdef RECORD
#ifdef DROP_RULE_8_SESSION
  with[v] = 0;
#endif
#else
  forget(v);
#ifndef DROP_RULE_8
  silent[v] = SILENCE;
#endif
#endif
  if
  :: v < NC ->
#ifdef RECORD
     lease(v); n = left; void_session(v); resumed[v] = n; left = 0; n = 0;
#else
     void_session(v);
#endif
#ifdef DROP_RULE_9 /* and a supervisor releases what the agent resumes */
     i = 0;
     do :: i < NV -> if :: i != v -> freed[SLOT(v, i)] = session[v] :: else fi; i++
        :: else -> break od;
     i = 0;
#endif
     unclean[v] = (resumed[v] == 0);
#ifdef DROP_RULE_6_RESTART
     i = 0;
     do :: i < NV -> asked_former[SLOT(v, i)] = 1; granted_former[SLOT(v, i)] = 1; i++
        :: else -> break od;
     i = 0
#else
     session[v]++
#endif
  :: else
  fi
}

#ifdef DROP_RULE_7_START
#define MAY_ASK(c) true
#else
#define MAY_ASK(c) (unclean[c] == 0)
#endif

#ifdef DROP_RULE_5
#define OPEN(c) \
  :: d_step { reading[c] == 0 -> lease(c); reading[c] = left; left = 0; printf("c%d reads its clock\n", c) } \
  :: d_step { reading[c] > 0 -> printf("c%d writes its fence\n", c); \
       if :: reading[c] + F > fence[c] -> fence[c] = reading[c] + F :: else fi; reading[c] = 0; one_holder() }
#else
#define OPEN(c) :: d_step { fence[c] < LONG + F -> open_fence(c); printf("c%d opens its fence\n", c) }
#endif

#define CANDIDATE(c) \
  :: d_step { MAY_ASK(c) -> request(c, 0); printf("c%d asks in session %d\n", c, session[c]) } \
  :: d_step { MAY_ASK(c) && LONG > T -> request(c, 1); printf("c%d asks for long\n", c) } \
  :: d_step { releases < RELEASES && MAY_ASK(c) -> release(c); printf("c%d releases\n", c) } \
  :: d_step { unclean[c] -> unclean[c] = 0; fence[c] = 0; printf("c%d closes what was left\n", c) } \
  OPEN(c)

#define LINK(c, v) \
  :: d_step { asked[SLOT(c, v)] > 0 -> answer(c, v); printf("v%d hears c%d\n", v, c) } \
  :: d_step { granted[SLOT(c, v)] > 0 && SAME_SESSION(c, v) -> take(c, v); printf("c%d has a grant of v%d\n", c, v) } \
  :: d_step { freed[SLOT(c, v)] > 0 && FREES(c, v) -> forget(v); printf("v%d is released by c%d\n", v, c) }

active proctype world() {
  d_step { i = 0; do :: i < NC -> session[i] = 1; i++ :: else -> break od; i = 0 }
  do
  :: d_step { tick(); printf("-- tick: fences %d %d, promises %d %d %d\n", fence[0], fence[1], to[0], to[1], to[NV - 1]) }
  CANDIDATE(0) CANDIDATE(1)
  LINK(0, 1) LINK(1, 0)
#if NV > 2
  LINK(0, 2) LINK(1, 2)
#endif
#if NC > 2
  CANDIDATE(2) LINK(2, 0) LINK(2, 1)
#endif
  :: d_step { crashes < CRASHES -> restart(0); printf("node 0 restarts\n") }
  :: d_step { crashes < CRASHES -> restart(1); printf("node 1 restarts\n") }
#if NV > 2
  :: d_step { crashes < CRASHES -> restart(2); printf("node 2 restarts\n") }
#endif
  od
}
