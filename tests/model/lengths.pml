/* Rule 18 of docs/vip.md where T differs and changes: two voters who hear each other now and then, and a
 * gateway that names the last writer. What voters.pml says of time and steps holds here too; a frame that
 * is not lost arrives at once.
 *
 * A node's length is 1 or LONG: for so many ticks a read carries a lease, twice as long (T) a grant. A node
 * that holds nothing follows the length of the holder's requests. It may become longer at any time, shorter
 * one step at an answer. F = 1; a write arrives up to D ticks late, and the gateway may forget. */
#ifndef D
#define D 1
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#define F 1
#ifndef LONG
#define LONG 2
#endif
#define T(l) (2 * (l))
#define P(l) (T(l) + F)
#define SILENT (P(LONG) + 1) /* what is counted of a silence; a new life gives no vote for as long (B) */
#define PEER(x) (1 - (x))

byte length[2], known[2]; /* the own, and what the peer told last: 0 is not known */
byte untold[2];           /* ticks until a length that has grown counts for reads */
byte heard[2];            /* ticks since a frame of the peer */
byte lease[2], fence[2];  /* ticks left */
byte promised[2];         /* ticks for which the own vote is the peer's */
byte quiet[2];            /* ticks without a vote */
byte names, writing[2];   /* the register: 1 + node; 1 + age of a write on its way */
byte wrote[2];            /* a challenge: 1 + ticks since its write */
byte crashes;

#define MAX(a, b) ((a) > (b) -> (a) : (b))

inline extend(x, ticks) {
  lease[x] = MAX(lease[x], ticks);
  fence[x] = MAX(fence[x], lease[x] + F);
  assert(!(fence[0] > 0 && fence[1] > 0))
}

inline run_down(x) {
  if :: untold[x] > 0 -> untold[x]-- :: else fi;
  if :: heard[x] < SILENT -> heard[x]++ :: else fi;
  if :: lease[x] > 0 -> lease[x]-- :: else fi;
  if :: fence[x] > 0 -> fence[x]-- :: else fi;
  if :: promised[x] > 0 -> promised[x]-- :: else fi;
  if :: quiet[x] > 0 -> quiet[x]-- :: else fi;
  if :: wrote[x] > 0 && wrote[x] < D + LONG + F + 1 -> wrote[x]++ :: else fi;
  if :: writing[x] > 0 && writing[x] <= D -> writing[x]++ :: else writing[x] = 0 fi
}

#define OWN(x) (promised[x] == 0 && quiet[x] == 0)
#define GIVES(y) (quiet[y] == 0 && lease[y] == 0 && fence[y] == 0)

inline hears(y, x) { heard[y] = 0; known[y] = length[x]; wrote[y] = 0 }

/* The peer grants and, holding nothing, follows. */
inline grants(y, x) { promised[y] = MAX(promised[y], P(length[x])); length[y] = length[x]; untold[y] = 0 }

#ifdef DROP_RULE_18_TOLD /* a length that has grown alone counts at once */
#define GROW(x) length[x] = LONG
#else
#define GROW(x) length[x] = LONG; untold[x] = T(LONG)
#endif

/* What a read of x may carry a lease. */
#define READ(x) (untold[x] > 0 -> 1 : length[x])

#ifdef DROP_RULE_18_PEER /* one's own length only, whatever the peer told */
#define OTHER(x) length[x]
#else
#define OTHER(x) (known[x] == 0 -> LONG : MAX(length[x], known[x]))
#endif
#ifdef DROP_RULE_18_FITS /* what the peer told last, however long ago */
#define COUNTS(x) OTHER(x)
#else
#define COUNTS(x) (heard[x] >= T(LONG) -> LONG : OTHER(x))
#endif
#define CLAIMS(x) (heard[x] >= P(OTHER(x)))

inline crash(x) {
  crashes++;
  lease[x] = 0; known[x] = 0; heard[x] = 0; promised[x] = 0; wrote[x] = 0; untold[x] = 0;
  length[x] = 1; quiet[x] = SILENT
}

#define NODE(x) \
  :: d_step { true -> hears(PEER(x), x); printf("n%d hears n%d\n", PEER(x), x) } \
  :: d_step { OWN(x) && GIVES(PEER(x)) -> hears(PEER(x), x); grants(PEER(x), x); printf("n%d grants n%d, which does not hear it\n", PEER(x), x) } \
  :: d_step { OWN(x) && GIVES(PEER(x)) -> hears(PEER(x), x); grants(PEER(x), x); hears(x, PEER(x)); untold[x] = 0; extend(x, T(length[x])); printf("n%d grants n%d\n", PEER(x), x) } \
  :: d_step { lease[x] > 0 && length[x] < LONG -> GROW(x); printf("n%d asks for more from now on\n", x) } \
  :: d_step { lease[x] > 0 && length[x] > 1 && heard[x] == 0 -> length[x] = 1; untold[x] = 0; printf("n%d asks for less\n", x) } \
  :: d_step { crashes < CRASHES -> crash(x); printf("n%d restarts\n", x) } \
  :: d_step { lease[x] == 0 && fence[x] == 0 && wrote[x] == 0 && heard[x] > 0 && quiet[x] == 0 -> writing[x] = 1; wrote[x] = 1; printf("n%d challenges\n", x) } \
  :: d_step { writing[x] > 0 -> names = x + 1; printf("the gateway names n%d\n", x) } \
  :: d_step { fence[x] > 0 -> writing[x] = 1; printf("n%d answers the gateway, or defends\n", x) } \
  :: d_step { lease[x] > 0 && names == x + 1 && OWN(x) && heard[x] >= length[x] -> extend(x, READ(x)); printf("n%d reads itself, goes on\n", x) } \
  :: d_step { lease[x] == 0 && fence[x] == 0 && OWN(x) && names == x + 1 && CLAIMS(x) && wrote[x] > D + COUNTS(x) + F -> wrote[x] = 0; extend(x, READ(x)); printf("n%d has waited, reads itself, holds\n", x) }

active proctype world() {
  d_step { length[0] = 1; length[1] = 1; quiet[0] = SILENT; quiet[1] = SILENT }
  do
  :: d_step { run_down(0); run_down(1); printf("-- tick: fences %d %d, lengths %d %d, known %d %d, silence %d %d\n", fence[0], fence[1], length[0], length[1], known[0], known[1], heard[0], heard[1]) }
  NODE(0) NODE(1)
  :: d_step { names > 0 -> names = 0; printf("the gateway forgets\n") }
  od
}
