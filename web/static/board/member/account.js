import { authenticate, changeAccount, me } from "../lib/api.js";
import { account as texts } from "../lib/messages.js";
import { Field, Form, Heading, html, useState } from "../lib/ui.js";

/** The member's account; for guests the forms to sign in and sign up. */
export default function Account() {
  return html`<${Heading}>${texts.title}</${Heading}>${me() ? html`<${Own} />` : html`<${Doors} />`}`;
}

function Own() {
  const { username, email, email_news: hasNews } = me();
  return html`<section class="panel" aria-label=${texts.title}>
    <dl class="pairs"><dt>${texts.username}</dt><dd>${username}</dd><dt>${texts.email}</dt><dd>${email}</dd></dl>
    ${hasNews !== undefined && html`<${EmailNews} />`}
  </section>`;
}

function EmailNews() {
  const [problem, setProblem] = useState("");
  const change = async ({ target }) => {
    setProblem("");
    await changeAccount({ email_news: target.checked }).catch((error) => setProblem(error.message));
    target.checked = me().email_news;
  };
  return html`<label class="check"><input type="checkbox" defaultChecked=${me().email_news} onChange=${change} />${texts.emailNews}</label>
    <p class="problem" role="alert">${problem}</p>`;
}

function Doors() {
  const submit = (path) => async (values) => {
    await authenticate(path, values);
    dispatchEvent(new Event("signed-in"));
  };
  const name = html`<${Field} label=${texts.username} name="username" required minlength="3" maxlength="50" autocomplete="username" />`;
  const password = (use) => html`<${Field} label=${texts.password} name="password" type="password" required minlength="6" maxlength="128" autocomplete=${use} />`;
  return html`<div class="columns">
    <section class="panel"><h2>${texts.signIn}</h2>
      <${Form} label=${texts.signIn} button=${texts.signIn} submit=${submit("/api/auth/login")}>${name}${password("current-password")}</${Form}></section>
    <section class="panel"><h2>${texts.signUp}</h2>
      <${Form} label=${texts.signUp} button=${texts.signUp} submit=${submit("/api/auth/register")}>
        ${name}<${Field} label=${texts.email} name="email" type="email" required autocomplete="email" />${password("new-password")}</${Form}></section>
  </div>`;
}
