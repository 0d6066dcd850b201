-- A draft gets another content. $1 id $2 version or null $3 customer $4 articles $5 quantities $6 note
-- $7 actor $8 request.
-- No row: there is no such order. Column 0 is null when nothing was done; then columns 16 to 21 say
-- why: customer exists, article exists, stock, currency, status and version that were found.
WITH old AS (SELECT * FROM orders WHERE id = $1::bigint FOR NO KEY UPDATE),
wanted AS (
    SELECT w.article_id, w.quantity, w.line
    FROM unnest($4::bigint[], $5::bigint[]) WITH ORDINALITY AS w (article_id, quantity, line)),
buyer AS (
    SELECT id, name FROM customers
    WHERE id = $3::bigint AND archived_at IS NULL FOR KEY SHARE),
checked AS (
    SELECT w.article_id, w.quantity, w.line, a.id, a.sku, a.name, a.stock, a.price_cents, a.currency
    FROM wanted w LEFT JOIN articles a ON a.id = w.article_id AND a.archived_at IS NULL),
summed AS (
    SELECT min(currency) AS currency, sum(price_cents * quantity)::bigint AS total_cents,
           count(*) = count(id) AND min(currency) = max(currency)
               AND EXISTS (SELECT 1 FROM buyer) AS possible
    FROM checked),
o AS (
    UPDATE orders x
    SET customer_id = $3::bigint, currency = s.currency, total_cents = s.total_cents,
        note = $6::text, revision = old.revision + 1, version = old.version + 1,
        updated_at = now()
    FROM old, summed s
    WHERE x.id = old.id AND s.possible AND old.status = 'draft'
        AND ($2::bigint IS NULL OR old.version = $2::bigint)
    RETURNING x.*),
gone AS (DELETE FROM order_lines l USING o WHERE l.order_id = o.id),
lines AS (
    INSERT INTO order_lines (order_id, revision, line, article_id, quantity, unit_price_cents)
    SELECT o.id, o.revision, c.line, c.id, c.quantity, c.price_cents FROM o, checked c),
logged AS (
    INSERT INTO audit (actor, request_id, action, entity, entity_id, before, after)
    SELECT $7::text, $8::text, 'update', 'order', o.id,
           jsonb_build_object('customer_id', old.customer_id, 'total_cents', old.total_cents),
           jsonb_build_object('customer_id', o.customer_id, 'total_cents', o.total_cents)
    FROM old, o)
SELECT o.id, o.status, o.customer_id, b.name, o.currency, o.total_cents, o.note, o.version,
       o.created_at, o.updated_at, c.line, c.article_id, c.sku, c.name, c.quantity, c.price_cents,
       b.id IS NOT NULL, c.id IS NOT NULL, c.stock, c.currency, old.status, old.version
FROM old CROSS JOIN checked c LEFT JOIN buyer b ON true LEFT JOIN o ON true
ORDER BY c.line
