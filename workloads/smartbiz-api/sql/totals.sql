-- For the metrics: name, label, value.
SELECT 'orders', status, count(*)::bigint FROM orders GROUP BY status
UNION ALL
SELECT 'revenue', currency, sum(total_cents)::bigint FROM orders
WHERE status IN ('confirmed', 'shipped') GROUP BY currency
UNION ALL
SELECT 'articles', '', count(*) FROM articles WHERE archived_at IS NULL
UNION ALL
SELECT 'stock', '', coalesce(sum(stock), 0)::bigint FROM articles WHERE archived_at IS NULL
UNION ALL
SELECT 'low', '', count(*) FROM articles WHERE archived_at IS NULL AND stock <= min_stock
UNION ALL
SELECT 'customers', '', count(*) FROM customers WHERE archived_at IS NULL
