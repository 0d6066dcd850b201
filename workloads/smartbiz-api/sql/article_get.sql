SELECT id, sku, name, description, price_cents, currency, stock, min_stock, version, created_at,
       updated_at
FROM articles
WHERE id = $1::bigint AND archived_at IS NULL
