-- $1 id $2 version or null $3 actor $4 request. The customer leaves the lists; orders keep them.
-- Columns: the version found, whether it was done.
WITH old AS (
    SELECT * FROM customers WHERE id = $1::bigint AND archived_at IS NULL FOR NO KEY UPDATE),
new AS (
    UPDATE customers c SET archived_at = now(), version = old.version + 1
    FROM old WHERE c.id = old.id AND ($2::bigint IS NULL OR old.version = $2::bigint)
    RETURNING c.id),
logged AS (
    INSERT INTO audit (actor, request_id, action, entity, entity_id, before)
    SELECT $3::text, $4::text, 'delete', 'customer', old.id, to_jsonb(old) FROM old, new)
SELECT old.version, new.id IS NOT NULL FROM old LEFT JOIN new ON true
