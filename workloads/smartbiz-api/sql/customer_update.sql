-- $1 id $2 version or null; null keeps: $3 name $4 email $5 phone $6 address; $7 actor $8 request.
-- Columns 8 and 9: the version found, and whether it was changed.
WITH old AS (
    SELECT * FROM customers WHERE id = $1::bigint AND archived_at IS NULL FOR NO KEY UPDATE),
new AS (
    UPDATE customers c
    SET name = coalesce($3::text, old.name), email = coalesce($4::text, old.email),
        phone = coalesce($5::text, old.phone), address = coalesce($6::text, old.address),
        version = old.version + 1, updated_at = now()
    FROM old
    WHERE c.id = old.id AND ($2::bigint IS NULL OR old.version = $2::bigint)
    RETURNING c.*),
logged AS (
    INSERT INTO audit (actor, request_id, action, entity, entity_id, before, after)
    SELECT $7::text, $8::text, 'update', 'customer', new.id, to_jsonb(old), to_jsonb(new)
    FROM old, new)
SELECT new.id, new.name, new.email, new.phone, new.address, new.version, new.created_at,
       new.updated_at, old.version, new.id IS NOT NULL
FROM old LEFT JOIN new ON true
