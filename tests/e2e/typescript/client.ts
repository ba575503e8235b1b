// What somebody writes against the types that openapi-typescript makes of the document.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Order = components["schemas"]["Order"];

const [address, orderId] = process.argv.slice(2);

function check(truth: boolean, what: string): asserts truth {
  if (!truth) throw new Error(what);
}

function answered<T>(answer: { data?: T; error?: components["schemas"]["Problem"] }): T {
  if (answer.data === undefined) throw new Error(answer.error?.detail ?? "no answer");
  return answer.data;
}

const client = createClient<paths>({ baseUrl: address });
const body = { username: "admin", password: "admin-password" };
const { access } = answered(await client.POST("/api/token/", { body }));
client.use({
  onRequest({ request }) {
    request.headers.set("Authorization", `Bearer ${access}`);
    return request;
  },
});

const page = answered(
  await client.GET("/api/products/", { params: { query: { in_stock: true, page_size: 1 } } }),
);
const [product] = page.results;
check(product !== undefined, "there are products");

const params = { path: { order_id: orderId! } };
const placed: Order = answered(
  await client.POST("/api/orders/{order_id}/", {
    params,
    body: { items: [{ product_id: product.id, quantity: 2 }] },
  }),
);
check(placed.status === "placed", "it is placed");
const amended = answered(
  await client.PATCH("/api/orders/{order_id}/", {
    params,
    body: { items: [{ product_id: product.id, quantity: 3 }] },
  }),
);
check(amended.items[0]?.quantity === 3, "it is amended");

const stock = { path: { product_id: product.id } };
const added = answered(
  await client.POST("/api/products/{product_id}/stock/", {
    params: stock,
    body: { delta: 5, reason: "restock" },
  }),
);
check(added.stock === product.stock - 3 + 5, "it is restocked");
const counted = answered(
  await client.POST("/api/products/{product_id}/stock/", {
    params: stock,
    body: { quantity: 40, expected: added.stock, reason: "correction" },
  }),
);
check(counted.stock === 40, "it is counted");

const refused = await client.POST("/api/orders/", { body: { items: [] } });
check(refused.error?.errors?.[0]?.field === "items", "the wrong field is named");
