/* Messages to and from bytes. Only bytes that the envelope has authenticated may come here.
 *
 * A message is a msgpack array; its first element is the type:
 *
 *   PING      [1, sequence, root, [update...]]
 *   ACK       [2, sequence, target, root, [update...]]
 *   PING_REQ  [3, sequence, target, address, root, [update...]]
 *   NACK      [4, sequence, target, root, [update...]]
 *   GOSSIP    [5, [update...]]
 *   DIGEST    [6, reply, first, last, [[author, version]...]]
 *   DELTA     [7, author, from, to, [[version, floor, key, value, signature]...]]
 *   LEASE_*   [type, sequence, set, lease_ms, fence_ms, [item...]], and behind it, where it is not
 *             0, the digest of a request or the verdict on it of a reply
 *
 *   update    [kind, subject, author or 0 for the subject itself, incarnation, address, signature]
 *   item      [lease, session], [lease, session, verdict] if it is not 0, and
 *             [lease, session, verdict, left, to] if one of the last two is not 0
 *   address   binary of 0, 6 or 18 bytes: none, or IP and port
 *
 * Numbers in their shortest form, no element more or fewer, nothing behind: so every message has
 * one form. Extension is by new types under a new protocol version, never by silent fields. */
#ifndef COVEY_WIRE_CODEC_H
#define COVEY_WIRE_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "proto/wire/envelope.h"
#include "proto/wire/msg.h"
#include "proto/wire/reason.h"

#define CODEC_BODY_MAX ENVELOPE_BODY_MAX

/* A message whose items' sizes, by the functions below, add up to at most this always fits. */
#define CODEC_ITEMS_MAX (CODEC_BODY_MAX - 48)

/* Bytes that one more item adds to a message. */
size_t codec_update_size(const struct msg_update *u);
size_t codec_record_size(const struct msg_record *r);
size_t codec_lease_item_size(const struct msg_lease_item *item);

/* Encodes @m; fields that its type does not have are not looked at. Up to CODEC_BODY_MAX bytes are
 * written to @out, and their number to @len.
 * Errors: ERR_LIMIT it does not fit; ERR_INVALID it breaks a bound of msg.h, or codec_decode would
 * refuse it. @len is 0 then. */
int codec_encode(const struct msg *m, uint8_t out[CODEC_BODY_MAX], size_t *len);

/* Decodes @body into @m, whose pointers then borrow @body. Checked: types, counts, ranges, the
 * order of what msg.h calls ascending, that an MSG_ALIVE has an address and its subject as author.
 * Signatures are not. @m is unspecified unless WIRE_OK is returned. */
enum wire_reason codec_decode(const uint8_t *body, size_t len, struct msg *m);

#endif
