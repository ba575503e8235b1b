-- An order of 1 to 5 lines in one statement, which is its own transaction.
-- Each product is from its own slice of the catalogue, so they are different, and in id order.

\set buyer random(1, :buyers)
\set lines random(1, 5)
\set slice :products / :lines
\set product1 random(1, :slice)
\set product2 :slice + random(1, :slice)
\set product3 2 * :slice + random(1, :slice)
\set product4 3 * :slice + random(1, :slice)
\set product5 4 * :slice + random(1, :slice)
WITH wanted AS (
    SELECT product_id, position
    FROM unnest(
        (ARRAY[:product1, :product2, :product3, :product4, :product5]::bigint[])[1 : :lines]
    ) WITH ORDINALITY AS wanted (product_id, position)
), taken AS (
    UPDATE stock SET on_hand = on_hand - 1
    FROM wanted JOIN products p ON p.id = wanted.product_id
    WHERE stock.product_id = wanted.product_id
    RETURNING stock.product_id, stock.on_hand, wanted.position, p.name, p.price, p.currency
), placed AS (
    INSERT INTO orders (id, code, user_id, status, currency, digest, version, created_at, modified_at)
    SELECT new_id(), new_code(), :buyer, 'placed', min(currency), decode(repeat('00', 32), 'hex'), 1, now(), now()
    FROM taken
    RETURNING id
), lines AS (
    INSERT INTO order_lines (order_id, position, product_id, name, price, quantity)
    SELECT placed.id, taken.position - 1, taken.product_id, taken.name, taken.price, 1
    FROM placed, taken
)
INSERT INTO stock_movements (product_id, quantity, balance, reason, order_id, actor_id, note, at)
SELECT taken.product_id, -1, taken.on_hand, 'order', placed.id, :buyer, '', now()
FROM placed, taken;
