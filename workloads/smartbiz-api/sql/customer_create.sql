-- $1 name $2 email $3 phone $4 address $5 actor $6 request $7 idempotency key or null $8 fingerprint
WITH n AS (SELECT nextval(pg_get_serial_sequence('customers', 'id')) AS id),
taken AS (
    INSERT INTO idempotency_keys (key, fingerprint, status, resource)
    SELECT $7::text, $8::text, 201, n.id FROM n WHERE $7::text IS NOT NULL
    ON CONFLICT (key) DO NOTHING RETURNING key),
c AS (
    INSERT INTO customers (id, name, email, phone, address) OVERRIDING SYSTEM VALUE
    SELECT n.id, $1::text, $2::text, $3::text, $4::text
    FROM n WHERE $7::text IS NULL OR EXISTS (SELECT 1 FROM taken)
    RETURNING *),
logged AS (
    INSERT INTO audit (actor, request_id, action, entity, entity_id, after)
    SELECT $5::text, $6::text, 'create', 'customer', id, to_jsonb(c) FROM c)
SELECT id, name, email, phone, address, version, created_at, updated_at FROM c
