-- An order for the hot product in one statement, which is its own transaction.

\set buyer random(1, :buyers)
WITH taken AS (
    UPDATE stock SET on_hand = on_hand - 1
    FROM products p
    WHERE stock.product_id = 1 AND p.id = 1
    RETURNING stock.on_hand, p.name, p.price, p.currency
), placed AS (
    INSERT INTO orders (id, code, user_id, status, currency, digest, version, created_at, modified_at)
    SELECT new_id(), new_code(), :buyer, 'placed', currency, decode(repeat('00', 32), 'hex'), 1, now(), now()
    FROM taken
    RETURNING id
), lines AS (
    INSERT INTO order_lines (order_id, position, product_id, name, price, quantity)
    SELECT placed.id, 0, 1, taken.name, taken.price, 1 FROM placed, taken
)
INSERT INTO stock_movements (product_id, quantity, balance, reason, order_id, actor_id, note, at)
SELECT 1, -1, taken.on_hand, 'order', placed.id, :buyer, '', now() FROM placed, taken;
