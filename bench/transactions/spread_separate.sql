-- An order of 1 to 5 lines, a statement for each step: those that the shop sends for a batch.
-- Each product is from its own slice of the catalogue, so they are different, and in id order.

\set buyer random(1, :buyers)
\set lines random(1, 5)
\set slice :products / :lines
\set product1 random(1, :slice)
\set product2 :slice + random(1, :slice)
\set product3 2 * :slice + random(1, :slice)
\set product4 3 * :slice + random(1, :slice)
\set product5 4 * :slice + random(1, :slice)
BEGIN;
SELECT new_id() AS order_id, min(currency) AS currency, array_agg(product_id) AS product_ids,
    array_agg(name) AS names, array_agg(price) AS prices, array_agg(on_hand - 1) AS balances
FROM (
    SELECT s.product_id, s.on_hand, p.name, p.price, p.currency
    FROM stock s JOIN products p ON p.id = s.product_id
    WHERE s.product_id = ANY (
        (ARRAY[:product1, :product2, :product3, :product4, :product5]::bigint[])[1 : :lines]
    )
    ORDER BY s.product_id
    FOR NO KEY UPDATE OF s
) AS locked \gset
INSERT INTO orders (id, code, user_id, status, currency, digest, version, created_at, modified_at)
VALUES (:order_id, new_code(), :buyer, 'placed', :currency, decode(repeat('00', 32), 'hex'), 1, now(), now());
INSERT INTO order_lines (order_id, position, product_id, name, price, quantity)
SELECT :order_id::uuid, position - 1, product_id, name, price, 1
FROM unnest(:product_ids::bigint[], :names::text[], :prices::bigint[])
    WITH ORDINALITY AS line (product_id, name, price, position);
UPDATE stock SET on_hand = balance
FROM unnest(:product_ids::bigint[], :balances::bigint[]) AS new (product_id, balance)
WHERE stock.product_id = new.product_id;
INSERT INTO stock_movements (product_id, quantity, balance, reason, order_id, actor_id, note, at)
SELECT product_id, -1, balance, 'order', :order_id::uuid, :buyer::bigint, '', now()
FROM unnest(:product_ids::bigint[], :balances::bigint[]) AS new (product_id, balance);
COMMIT;
