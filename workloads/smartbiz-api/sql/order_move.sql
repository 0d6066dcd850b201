-- Another state. $1 id $2 the state wanted $3 version or null $4 actor $5 request $6 idempotency key or
-- null $7 fingerprint.
-- No row: there is no such order. Column 16 tells whether it was done; if not: column 17 the state and
-- 18 the version that were found, 19 whether that move exists, 20 the stock of a line's article, 21
-- whether it is too small. Rows without a line (column 10 null) when a draft was rewritten meanwhile: ask again.
-- The lines are those of the revision that the lock has shown, so stock moves once and by what stands there.
WITH o AS (SELECT * FROM orders WHERE id = $1::bigint FOR NO KEY UPDATE),
move AS (
    SELECT CASE
        WHEN $2::text = 'confirmed' AND status = 'draft' THEN -1
        WHEN $2::text = 'shipped' AND status = 'confirmed' THEN 0
        WHEN $2::text = 'cancelled' AND status = 'draft' THEN 0
        WHEN $2::text = 'cancelled' AND status IN ('confirmed', 'shipped') THEN 1
    END AS sign FROM o),
need AS (
    SELECT l.line, l.article_id, l.quantity, l.unit_price_cents
    FROM order_lines l JOIN o ON l.order_id = o.id AND l.revision = o.revision),
locked AS (
    SELECT a.id, a.sku, a.name, a.stock FROM articles a
    WHERE a.id IN (SELECT article_id FROM need)
    ORDER BY a.id FOR NO KEY UPDATE),
checked AS (
    SELECT n.*, a.sku, a.name, a.stock,
           a.stock + n.quantity * coalesce((SELECT sign FROM move), 0) < 0 AS short
    FROM need n JOIN locked a ON a.id = n.article_id),
possible AS (
    SELECT m.sign FROM move m, o
    WHERE m.sign IS NOT NULL AND ($3::bigint IS NULL OR o.version = $3::bigint)
        AND EXISTS (SELECT 1 FROM checked) AND NOT EXISTS (SELECT 1 FROM checked WHERE short)),
taken AS (
    INSERT INTO idempotency_keys (key, fingerprint, status, resource)
    SELECT $6::text, $7::text, 200, o.id FROM o, possible WHERE $6::text IS NOT NULL
    ON CONFLICT (key) DO NOTHING RETURNING key),
new AS (
    UPDATE orders x SET status = $2::text, version = o.version + 1, updated_at = now()
    FROM o, possible
    WHERE x.id = o.id AND ($6::text IS NULL OR EXISTS (SELECT 1 FROM taken))
    RETURNING x.*),
changed AS (
    UPDATE articles a SET stock = c.stock + c.quantity * p.sign, updated_at = now()
    FROM checked c, possible p, new
    WHERE a.id = c.article_id AND p.sign <> 0
    RETURNING a.id, a.stock, c.quantity * p.sign AS change),
moved AS (
    INSERT INTO stock_movements (article_id, change, balance, reason, order_id, actor)
    SELECT c.id, c.change, c.stock, CASE WHEN c.change < 0 THEN 'order' ELSE 'cancel' END, new.id,
           $4::text
    FROM changed c, new),
logged AS (
    INSERT INTO audit (actor, request_id, action, entity, entity_id, before, after)
    SELECT $4::text, $5::text, $2::text, 'order', new.id, jsonb_build_object('status', o.status),
           jsonb_build_object('status', new.status)
    FROM o, new)
SELECT o.id, coalesce(new.status, o.status), o.customer_id, b.name, o.currency, o.total_cents,
       o.note, coalesce(new.version, o.version), o.created_at,
       coalesce(new.updated_at, o.updated_at), c.line, c.article_id, c.sku, c.name, c.quantity,
       c.unit_price_cents, new.id IS NOT NULL, o.status, o.version, m.sign IS NOT NULL, c.stock,
       c.short
FROM o JOIN customers b ON b.id = o.customer_id CROSS JOIN move m
LEFT JOIN checked c ON true LEFT JOIN new ON true
ORDER BY c.line
