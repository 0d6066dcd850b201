/* Two datagrams that prove themselves: whatever their sender, the cluster's key has signed what
 * they say. Of fixed size and form, for ever.
 *
 *   INTRODUCE  an admission: "you may not know me yet". Sent beside HELLOs that nobody answers: a
 *              node may come back to a flock that has only newcomers in it.
 *   NOTICE     a revocation: sent to the node that it is about, which hears nothing else any more.
 *
 *   0       ENVELOPE_FORM << 4 | kind
 *   1..3    0
 *   4..35   public key of the node
 *   36      INTRODUCE: role; NOTICE: 0
 *   37..44  INTRODUCE: serial; NOTICE: time
 *   45..108 length of the name, the name, zeros
 *   109..   signature of the admission or revocation (keys.h) */
#ifndef COVEY_WIRE_NOTICE_H
#define COVEY_WIRE_NOTICE_H

#include <stddef.h>
#include <stdint.h>

#include "proto/wire/keys.h"
#include "proto/wire/reason.h"

#define NOTICE_SIZE (45 + 1 + NODE_NAME_MAX + KEYS_SIGNATURE)

void notice_introduce(const struct keys_admission *admission, uint8_t out[NOTICE_SIZE]);
void notice_revoked(const struct keys_revocation *revocation, uint8_t out[NOTICE_SIZE]);

/* WIRE_OK: what is filled in was signed by @cluster_key. Else WIRE_TRUNCATED, WIRE_OVERSIZED,
 * WIRE_KIND, WIRE_BODY_VALUE (no form of ours) or WIRE_AUTHENTICATION. */
enum wire_reason notice_open_introduce(const uint8_t cluster_key[KEYS_PUBLIC],
                                       const uint8_t *datagram, size_t len,
                                       struct keys_admission *admission);
enum wire_reason notice_open_revoked(const uint8_t cluster_key[KEYS_PUBLIC],
                                     const uint8_t *datagram, size_t len,
                                     struct keys_revocation *revocation);

#endif
