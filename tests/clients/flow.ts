// A whole sale through types that openapi-typescript generates from the served document: a field
// or an address that the document does not have does not compile.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Account = components["schemas"]["AccountWithToken"];
const base = { baseUrl: process.argv[2]! };
const anybody = createClient<paths>(base);

function of<T>(answer: { data?: T; error?: unknown }): T {
  if (answer.data === undefined) throw new Error(JSON.stringify(answer.error));
  return answer.data;
}

async function account(username: string): Promise<Account> {
  const password = `a long phrase of ${username}`;
  const body = { username, email: `${username}@example.com`, password };
  of(await anybody.POST("/api/auth/register", { body }));
  return of(await anybody.POST("/api/auth/login", { body: { username, password } }));
}

function as(member: Account) {
  return createClient<paths>({ ...base, headers: { Authorization: `Bearer ${member.token}` } });
}

const admin = as(await account("ada"));
const terms = { name: "Camera", upset_price: 19.99, inventory: 1 };
const session = of(await admin.POST("/api/admin/sessions/combined", { body: terms }));
const [product] = of(await admin.GET("/api/admin/products"));
const status: "scheduled" | "active" | "inactive" | "ended" | "cancelled" = session.status;

const bob = as(await account("bob"));
const me = of(await bob.GET("/api/auth/me"));
const params = { path: { session_id: session.session_id } };
const bid = { session_id: session.session_id, price: 20.07 };
const placed = of(await bob.POST("/api/bid", { body: bid }));
const refused = await bob.POST("/api/bid", { body: { ...bid, price: 1 } });
const board = of(await anybody.GET("/api/leaderboard/{session_id}", { params }));
const mine = of(await bob.GET("/api/leaderboard/{session_id}/me", { params }));

of(await admin.PUT("/api/admin/sessions/{session_id}/close", { params }));
let results = await anybody.GET("/api/results/{session_id}", { params });
while (results.error?.code === "results_pending") {
  await new Promise((resolve) => setTimeout(resolve, 200));
  results = await anybody.GET("/api/results/{session_id}", { params });
}
const final = of(results);
if (typeof final === "string") throw new Error("CSV was not asked for.");

console.log(
  JSON.stringify({
    status,
    product: product!.id === session.product_id,
    me: me.username,
    placed: [placed.status, placed.price, placed.rank],
    refused: [refused.response.status, refused.error?.code, refused.error?.upset_price],
    board: board.leaderboard.map((entry) => [entry.username, entry.price]),
    mine: [mine.rank, mine.is_winner],
    winners: final.winners.map((entry) => entry.username),
  }),
);
