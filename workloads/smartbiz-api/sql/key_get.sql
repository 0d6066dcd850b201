SELECT fingerprint, status, resource FROM idempotency_keys WHERE key = $1::text
