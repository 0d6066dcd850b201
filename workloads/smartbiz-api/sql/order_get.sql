SELECT o.id, o.status, o.customer_id, c.name, o.currency, o.total_cents, o.note, o.version,
       o.created_at, o.updated_at, l.line, l.article_id, a.sku, a.name, l.quantity,
       l.unit_price_cents
FROM orders o
JOIN customers c ON c.id = o.customer_id
JOIN order_lines l ON l.order_id = o.id AND l.revision = o.revision
JOIN articles a ON a.id = l.article_id
WHERE o.id = $1::bigint
ORDER BY l.line
