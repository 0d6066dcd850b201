-- Articles by their sku: new ones are made, others changed. Arrays of equal length, null keeps or takes
-- the default: $1 sku $2 name $3 description $4 price $5 currency $6 stock $7 min_stock;
-- $8 actor $9 request $10 only try. Columns: made, changed, unchanged.
WITH rows AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bigint[],
                         $7::bigint[])
        AS r (sku, name, description, price_cents, currency, stock, min_stock)),
old AS (
    SELECT * FROM articles WHERE sku = ANY ($1::text[]) AND archived_at IS NULL
    ORDER BY id FOR NO KEY UPDATE),
merged AS (
    SELECT old.id, old.stock AS old_stock, r.sku, coalesce(r.name, old.name) AS name,
           coalesce(r.description, old.description, '') AS description,
           coalesce(r.price_cents, old.price_cents) AS price_cents,
           coalesce(r.currency, old.currency, 'EUR') AS currency,
           coalesce(r.stock, old.stock, 0) AS stock,
           coalesce(r.min_stock, old.min_stock, 0) AS min_stock,
           old.id IS NOT NULL
               AND (coalesce(r.name, old.name), coalesce(r.description, old.description),
                    coalesce(r.price_cents, old.price_cents), coalesce(r.currency, old.currency),
                    coalesce(r.stock, old.stock), coalesce(r.min_stock, old.min_stock))
               IS NOT DISTINCT FROM (old.name, old.description, old.price_cents, old.currency,
                                     old.stock, old.min_stock) AS same
    FROM rows r LEFT JOIN old ON old.sku = r.sku),
made AS (
    INSERT INTO articles (sku, name, description, price_cents, currency, stock, min_stock)
    SELECT sku, name, description, price_cents, currency, stock, min_stock FROM merged
    WHERE id IS NULL AND NOT $10::boolean
    RETURNING *),
changed AS (
    UPDATE articles a
    SET name = m.name, description = m.description, price_cents = m.price_cents,
        currency = m.currency, stock = m.stock, min_stock = m.min_stock,
        version = a.version + 1, updated_at = now()
    FROM merged m WHERE a.id = m.id AND NOT m.same AND NOT $10::boolean
    RETURNING a.*, m.old_stock),
moved AS (
    INSERT INTO stock_movements (article_id, change, balance, reason, actor)
    SELECT id, stock, stock, 'import', $8::text FROM made WHERE stock > 0
    UNION ALL
    SELECT id, stock - old_stock, stock, 'import', $8::text FROM changed WHERE stock <> old_stock),
logged AS (
    INSERT INTO audit (actor, request_id, action, entity, entity_id, before, after)
    SELECT $8::text, $9::text, 'import', 'article', made.id, NULL, to_jsonb(made) FROM made
    UNION ALL
    SELECT $8::text, $9::text, 'import', 'article', c.id, to_jsonb(old), to_jsonb(c) - 'old_stock'
    FROM changed c JOIN old ON old.id = c.id)
SELECT count(*) FILTER (WHERE id IS NULL), count(*) FILTER (WHERE id IS NOT NULL AND NOT same),
       count(*) FILTER (WHERE same)
FROM merged
