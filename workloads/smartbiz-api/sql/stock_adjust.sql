-- $1 article $2 change $3 note $4 actor $5 request $6 idempotency key or null $7 fingerprint.
-- Columns 11 and 12: the stock before, whether the change was possible.
WITH old AS (
    SELECT *, stock + $2::bigint BETWEEN 0 AND 1000000000000 AS possible
    FROM articles WHERE id = $1::bigint AND archived_at IS NULL FOR NO KEY UPDATE),
taken AS (
    INSERT INTO idempotency_keys (key, fingerprint, status, resource)
    SELECT $6::text, $7::text, 200, id FROM old WHERE possible AND $6::text IS NOT NULL
    ON CONFLICT (key) DO NOTHING RETURNING key),
new AS (
    UPDATE articles a SET stock = old.stock + $2::bigint, updated_at = now()
    FROM old
    WHERE a.id = old.id AND possible AND ($6::text IS NULL OR EXISTS (SELECT 1 FROM taken))
    RETURNING a.*),
moved AS (
    INSERT INTO stock_movements (article_id, change, balance, reason, note, actor)
    SELECT id, $2::bigint, stock, 'adjustment', $3::text, $4::text FROM new),
logged AS (
    INSERT INTO audit (actor, request_id, action, entity, entity_id, before, after)
    SELECT $4::text, $5::text, 'stock', 'article', new.id,
           jsonb_build_object('stock', old.stock), jsonb_build_object('stock', new.stock)
    FROM old, new)
SELECT new.id, new.sku, new.name, new.description, new.price_cents, new.currency, new.stock,
       new.min_stock, new.version, new.created_at, new.updated_at, old.stock, old.possible
FROM old LEFT JOIN new ON true
