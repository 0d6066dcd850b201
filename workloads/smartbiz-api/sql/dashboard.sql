-- What the first page shows, as one JSON document.
WITH days AS (
    SELECT d::date AS day
    FROM generate_series((now() - interval '13 days')::date, now()::date, interval '1 day') AS d),
sold AS (
    SELECT created_at::date AS day, count(*) AS orders, sum(total_cents)::bigint AS cents
    FROM orders
    WHERE status IN ('confirmed', 'shipped')
        AND created_at >= (now() - interval '13 days')::date
    GROUP BY 1),
top AS (
    SELECT a.id, a.name, sum(l.quantity)::bigint AS quantity
    FROM orders o
    JOIN order_lines l ON l.order_id = o.id AND l.revision = o.revision
    JOIN articles a ON a.id = l.article_id
    WHERE o.status IN ('confirmed', 'shipped')
        AND o.created_at >= (now() - interval '13 days')::date
    GROUP BY a.id, a.name ORDER BY quantity DESC, a.id LIMIT 5)
SELECT json_build_object(
    'articles', (SELECT count(*) FROM articles WHERE archived_at IS NULL),
    'low_stock', (SELECT count(*) FROM articles WHERE archived_at IS NULL AND stock <= min_stock),
    'customers', (SELECT count(*) FROM customers WHERE archived_at IS NULL),
    'orders', (SELECT coalesce(json_object_agg(status, n), '{}')
               FROM (SELECT status, count(*) AS n FROM orders GROUP BY status) s),
    'revenue', (SELECT coalesce(json_object_agg(currency, cents), '{}')
                FROM (SELECT currency, sum(total_cents)::bigint AS cents FROM orders
                      WHERE status IN ('confirmed', 'shipped') GROUP BY currency) r),
    'days', (SELECT json_agg(json_build_object('day', days.day, 'orders', coalesce(sold.orders, 0),
                                               'cents', coalesce(sold.cents, 0)) ORDER BY days.day)
             FROM days LEFT JOIN sold USING (day)),
    'top', (SELECT coalesce(json_agg(json_build_object('id', id, 'name', name, 'quantity', quantity)),
                            '[]') FROM top))::text
