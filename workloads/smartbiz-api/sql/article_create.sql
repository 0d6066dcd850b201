-- $1 sku (null: made from the id) $2 name $3 description $4 price $5 currency $6 stock $7 min_stock
-- $8 actor $9 request $10 idempotency key or null $11 fingerprint
WITH n AS (SELECT nextval('articles_id_seq') AS id),
taken AS (
    INSERT INTO idempotency_keys (key, fingerprint, status, resource)
    SELECT $10::text, $11::text, 201, n.id FROM n WHERE $10::text IS NOT NULL
    ON CONFLICT (key) DO NOTHING RETURNING key),
a AS (
    INSERT INTO articles (id, sku, name, description, price_cents, currency, stock, min_stock)
    SELECT n.id, coalesce($1::text, 'A-' || n.id), $2::text, $3::text, $4::bigint, $5::text,
           $6::bigint, $7::bigint
    FROM n WHERE $10::text IS NULL OR EXISTS (SELECT 1 FROM taken)
    RETURNING *),
moved AS (
    INSERT INTO stock_movements (article_id, change, balance, reason, actor)
    SELECT id, stock, stock, 'initial', $8::text FROM a WHERE stock > 0),
logged AS (
    INSERT INTO audit (actor, request_id, action, entity, entity_id, after)
    SELECT $8::text, $9::text, 'create', 'article', id, to_jsonb(a) FROM a)
SELECT id, sku, name, description, price_cents, currency, stock, min_stock, version, created_at,
       updated_at
FROM a
