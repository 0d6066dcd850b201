-- $1 id $2 version or null; null keeps: $3 sku $4 name $5 description $6 price $7 currency $8 min_stock;
-- $9 actor $10 request. Columns 11 and 12: the version found, and whether it was changed.
WITH old AS (
    SELECT * FROM articles WHERE id = $1::bigint AND archived_at IS NULL FOR NO KEY UPDATE),
new AS (
    UPDATE articles a
    SET sku = coalesce($3::text, old.sku), name = coalesce($4::text, old.name),
        description = coalesce($5::text, old.description),
        price_cents = coalesce($6::bigint, old.price_cents),
        currency = coalesce($7::text, old.currency),
        min_stock = coalesce($8::bigint, old.min_stock),
        version = old.version + 1, updated_at = now()
    FROM old
    WHERE a.id = old.id AND ($2::bigint IS NULL OR old.version = $2::bigint)
    RETURNING a.*),
logged AS (
    INSERT INTO audit (actor, request_id, action, entity, entity_id, before, after)
    SELECT $9::text, $10::text, 'update', 'article', new.id, to_jsonb(old), to_jsonb(new)
    FROM old, new)
SELECT new.id, new.sku, new.name, new.description, new.price_cents, new.currency, new.stock,
       new.min_stock, new.version, new.created_at, new.updated_at, old.version,
       new.id IS NOT NULL
FROM old LEFT JOIN new ON true
