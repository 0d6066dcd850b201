-- $1 customer $2 articles (no one twice) $3 quantities $4 status (draft or confirmed) $5 note $6 actor
-- $7 request $8 idempotency key or null $9 fingerprint.
-- One row for each line, in order. Column 0 is null when nothing was done; then columns 16 to 18 say
-- why: whether the customer exists, whether the article does, what is in stock.
-- Articles are locked in the order of their ids, so that two orders never wait for each other. What is
-- computed comes from the rows as they were locked: an UPDATE first looks at the row of its snapshot,
-- and a stock that others have raised since would seem to become negative.
WITH wanted AS (
    SELECT w.article_id, w.quantity, w.line
    FROM unnest($2::bigint[], $3::bigint[]) WITH ORDINALITY AS w (article_id, quantity, line)),
stocked AS (
    SELECT id, sku, name, stock, price_cents, currency FROM articles
    WHERE id = ANY ($2::bigint[]) AND archived_at IS NULL
    ORDER BY id FOR NO KEY UPDATE),
buyer AS (
    SELECT id, name FROM customers
    WHERE id = $1::bigint AND archived_at IS NULL FOR KEY SHARE),
checked AS (
    SELECT w.article_id, w.quantity, w.line, s.id, s.sku, s.name, s.stock, s.price_cents, s.currency
    FROM wanted w LEFT JOIN stocked s ON s.id = w.article_id),
summed AS (
    SELECT min(currency) AS currency, sum(price_cents * quantity)::bigint AS total_cents,
           count(*) = count(id) AND min(currency) = max(currency)
               AND ($4::text = 'draft' OR bool_and(stock >= quantity))
               AND EXISTS (SELECT 1 FROM buyer) AS possible
    FROM checked),
o AS (
    INSERT INTO orders (customer_id, status, currency, total_cents, note)
    SELECT $1::bigint, $4::text, currency, total_cents, $5::text FROM summed
    WHERE possible AND ($8::text IS NULL
        OR NOT EXISTS (SELECT 1 FROM idempotency_keys WHERE key = $8::text))
    RETURNING *),
taken AS (
    INSERT INTO idempotency_keys (key, fingerprint, status, resource)
    SELECT $8::text, $9::text, 201, o.id FROM o WHERE $8::text IS NOT NULL),
lines AS (
    INSERT INTO order_lines (order_id, revision, line, article_id, quantity, unit_price_cents)
    SELECT o.id, 1, c.line, c.id, c.quantity, c.price_cents FROM o, checked c),
reduced AS (
    UPDATE articles a SET stock = c.stock - c.quantity, updated_at = now()
    FROM checked c, o
    WHERE a.id = c.id AND a.id = ANY ($2::bigint[]) AND o.status = 'confirmed'
    RETURNING a.id, a.stock, c.quantity),
moved AS (
    INSERT INTO stock_movements (article_id, change, balance, reason, order_id, actor)
    SELECT r.id, -r.quantity, r.stock, 'order', o.id, $6::text FROM reduced r, o),
logged AS (
    INSERT INTO audit (actor, request_id, action, entity, entity_id, after)
    SELECT $6::text, $7::text, 'create', 'order', o.id,
           jsonb_build_object('status', o.status, 'customer_id', o.customer_id,
                              'total_cents', o.total_cents)
    FROM o)
SELECT o.id, o.status, o.customer_id, b.name, o.currency, o.total_cents, o.note, o.version,
       o.created_at, o.updated_at, c.line, c.article_id, c.sku, c.name, c.quantity, c.price_cents,
       b.id IS NOT NULL, c.id IS NOT NULL, c.stock, c.currency
FROM checked c LEFT JOIN buyer b ON true LEFT JOIN o ON true
ORDER BY c.line
