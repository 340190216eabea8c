import { authenticate } from "../lib/api.js";
import { field, form, h } from "../lib/dom.js";

/** The forms to sign in and sign up. */
export function showAccount(main) {
  const name = { name: "username", required: true, minlength: 3, maxlength: 50, autocomplete: "username" };
  const password = { name: "password", type: "password", required: true, minlength: 6, maxlength: 128 };
  const email = { name: "email", type: "email", required: true, autocomplete: "email" };
  const submit = (path) => async (values) => {
    await authenticate(path, values);
    dispatchEvent(new Event("signed-in"));
  };
  main.replaceChildren(h("h1", {}, "Your account"), h("div", { class: "columns" },
    h("section", { class: "panel" }, h("h2", {}, "Sign in"),
      form("Sign in", [field("Username", name), field("Password", { ...password, autocomplete: "current-password" })], "Sign in", submit("/api/auth/login"))),
    h("section", { class: "panel" }, h("h2", {}, "Sign up"),
      form("Sign up", [field("Username", name), field("E-mail", email), field("Password", { ...password, autocomplete: "new-password" })], "Sign up", submit("/api/auth/register")))));
  return () => {};
}
