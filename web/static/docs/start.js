// Swagger UI, with a form that logs in, and examples that name sessions, offers and the like of
// this shop, so that they can be sent as they are.

// Earlier versions kept tokens here.
localStorage.removeItem("authorized");

const DOCUMENT = "/openapi.json";
// What an admin or a member finds the other ids in.
const LISTS = {
  product_id: "/api/admin/products",
  export_id: "/api/admin/exports",
  endpoint_id: "/api/admin/webhook-endpoints",
  delivery_id: "/api/admin/webhook-deliveries",
  notification_id: "/api/notifications",
};
const place = document.querySelector("#login");
const form = place.querySelector("form");
const said = form.querySelector("output");
// The examples of registering and logging in belong together, and are nobody's yet.
const NEWCOMER = `ada-${Date.now().toString(36)}`;

/** An answer's JSON; an empty list when it is refused. */
async function ask(path, token) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(path, { headers });
  return answer.ok ? answer.json() : [];
}

/** Values of examples by name: those of any session, and those of one that is over. */
async function known({ token, is_admin: isAdmin } = {}) {
  const sessions = await ask("/api/sessions?page_size=100");
  const running = sessions.find((each) => each.status === "active") ?? sessions[0];
  const over = sessions.find((each) => each.status === "ended") ?? running;
  const ids = { username: NEWCOMER, email: `${NEWCOMER}@example.com` };
  if (token) {
    const lists = Object.entries(LISTS).filter(([, path]) => isAdmin || !path.includes("/admin/"));
    const found = await Promise.all(lists.map(([, path]) => ask(path, token)));
    lists.forEach(([name], at) => found[at][0] && (ids[name] = found[at][0][name]));
    const offers = isAdmin && over ? `/api/admin/sessions/${over.session_id}/offers` : "/api/offers";
    const [offer] = await ask(offers, token);
    if (offer) ids.offer_id = offer.offer_id;
  }
  const of = ({ session_id, version, upset_price: price } = {}) =>
    session_id ? { ...ids, session_id, version, price } : ids;
  return { running: of(running), over: of(over) };
}

/** The document with its examples replaced by values of this shop. */
function filled(spec, { running, over }) {
  const copy = structuredClone(spec);
  for (const [path, methods] of Object.entries(copy.paths)) {
    const values = /results|offers|exports/.test(path) ? over : running;
    for (const operation of Object.values(methods)) {
      for (const parameter of operation.parameters ?? []) {
        if (parameter.in === "path" && values[parameter.name]) parameter.example = values[parameter.name];
      }
      const body = operation.requestBody?.content["application/json"].example ?? {};
      for (const name of Object.keys(body)) body[name] = values[name] ?? body[name];
    }
  }
  return copy;
}

const spec = await ask(DOCUMENT);
const ui = SwaggerUIBundle({
  spec: filled(spec, await known()),
  dom_id: "#swagger-ui",
  deepLinking: true,
  // A token entered here ends with the page.
  persistAuthorization: false,
  // The validator badge would contact another site.
  validatorUrl: null,
});

place.hidden = false;
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const answer = await fetch("/api/auth/login", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(Object.fromEntries(new FormData(form))),
  });
  const account = await answer.json();
  // It would take what was said along.
  if (answer.ok) form.reset();
  said.value = answer.ok ? `Logged in as ${account.username}.` : account.detail;
  if (!answer.ok) return;
  ui.preauthorizeApiKey("token", account.token);
  ui.specActions.updateJsonSpec(filled(spec, await known(account)));
});
