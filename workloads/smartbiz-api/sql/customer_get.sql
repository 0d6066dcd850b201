SELECT id, name, email, phone, address, version, created_at, updated_at
FROM customers
WHERE id = $1::bigint AND archived_at IS NULL
