-- Articles, customers, orders; what happened to the stock; who changed what.

CREATE SEQUENCE articles_id_seq;
-- Room on each page lets a change of the stock stay on its page without touching the indexes.
CREATE TABLE articles (
    id bigint PRIMARY KEY DEFAULT nextval('articles_id_seq'),
    sku text NOT NULL,
    name text NOT NULL,
    description text NOT NULL DEFAULT '',
    price_cents bigint NOT NULL CHECK (price_cents BETWEEN 0 AND 1000000000),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    stock bigint NOT NULL DEFAULT 0 CONSTRAINT articles_stock_not_negative CHECK (stock >= 0),
    min_stock bigint NOT NULL DEFAULT 0 CHECK (min_stock >= 0),
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz(3) NOT NULL DEFAULT now(),
    updated_at timestamptz(3) NOT NULL DEFAULT now(),
    archived_at timestamptz(3)
) WITH (fillfactor = 60);
ALTER SEQUENCE articles_id_seq OWNED BY articles.id;
CREATE UNIQUE INDEX articles_sku_key ON articles (sku) WHERE archived_at IS NULL;
CREATE INDEX articles_by_name ON articles (lower(name), id) WHERE archived_at IS NULL;

CREATE TABLE customers (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL,
    email text NOT NULL,
    phone text NOT NULL DEFAULT '',
    address text NOT NULL DEFAULT '',
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz(3) NOT NULL DEFAULT now(),
    updated_at timestamptz(3) NOT NULL DEFAULT now(),
    archived_at timestamptz(3)
);
CREATE UNIQUE INDEX customers_email_key ON customers (lower(email)) WHERE archived_at IS NULL;
CREATE INDEX customers_by_name ON customers (lower(name), id) WHERE archived_at IS NULL;

-- Lines of a draft are replaced as a whole; revision says which are in force.
CREATE TABLE orders (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    customer_id bigint NOT NULL REFERENCES customers,
    status text NOT NULL CHECK (status IN ('draft', 'confirmed', 'shipped', 'cancelled')),
    currency text NOT NULL,
    total_cents bigint NOT NULL CHECK (total_cents >= 0),
    note text NOT NULL DEFAULT '',
    revision integer NOT NULL DEFAULT 1,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz(3) NOT NULL DEFAULT now(),
    updated_at timestamptz(3) NOT NULL DEFAULT now()
);
CREATE INDEX orders_by_customer ON orders (customer_id, id);
CREATE INDEX orders_by_day ON orders (created_at);

CREATE TABLE order_lines (
    order_id bigint NOT NULL REFERENCES orders,
    revision integer NOT NULL,
    line integer NOT NULL,
    article_id bigint NOT NULL REFERENCES articles,
    quantity bigint NOT NULL CHECK (quantity > 0),
    unit_price_cents bigint NOT NULL CHECK (unit_price_cents >= 0),
    PRIMARY KEY (order_id, revision, line)
);

CREATE TABLE stock_movements (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    article_id bigint NOT NULL REFERENCES articles,
    change bigint NOT NULL CHECK (change <> 0),
    balance bigint NOT NULL CHECK (balance >= 0),
    reason text NOT NULL CHECK (reason IN ('initial', 'order', 'cancel', 'adjustment', 'import')),
    order_id bigint REFERENCES orders,
    note text NOT NULL DEFAULT '',
    actor text NOT NULL,
    at timestamptz(3) NOT NULL DEFAULT now()
);
CREATE INDEX stock_movements_by_article ON stock_movements (article_id, id);

CREATE TABLE audit (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    at timestamptz(3) NOT NULL DEFAULT now(),
    actor text NOT NULL,
    request_id text NOT NULL,
    action text NOT NULL,
    entity text NOT NULL,
    entity_id bigint NOT NULL,
    before jsonb,
    after jsonb
);
CREATE INDEX audit_by_entity ON audit (entity, entity_id, id);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON stock_movements
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What was done under an Idempotency-Key, for a day.
CREATE TABLE idempotency_keys (
    key text PRIMARY KEY,
    fingerprint text NOT NULL,
    status integer NOT NULL,
    resource bigint NOT NULL,
    created_at timestamptz(3) NOT NULL DEFAULT now()
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
