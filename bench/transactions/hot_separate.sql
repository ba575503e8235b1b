-- An order for the hot product, a statement for each step: those that the shop sends for a batch.

\set buyer random(1, :buyers)
BEGIN;
SELECT new_id() AS order_id, p.name, p.price, p.currency, s.on_hand
FROM stock s JOIN products p ON p.id = s.product_id
WHERE s.product_id = 1
FOR NO KEY UPDATE OF s \gset
INSERT INTO orders (id, code, user_id, status, currency, digest, version, created_at, modified_at)
VALUES (:order_id, new_code(), :buyer, 'placed', :currency, decode(repeat('00', 32), 'hex'), 1, now(), now());
INSERT INTO order_lines (order_id, position, product_id, name, price, quantity)
VALUES (:order_id, 0, 1, :name, :price, 1);
UPDATE stock SET on_hand = :on_hand::bigint - 1 WHERE product_id = 1;
INSERT INTO stock_movements (product_id, quantity, balance, reason, order_id, actor_id, note, at)
VALUES (1, -1, :on_hand::bigint - 1, 'order', :order_id, :buyer, '', now());
COMMIT;
