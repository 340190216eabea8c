// One webhook endpoint: its form, its secret, what can be done with it, and what was sent.

import { call, get } from "../lib/api.js";
import { common } from "../lib/messages.js";
import { ask, Field, Form, Heading, html, useEffect, useLoaded, useRef, useState } from "../lib/ui.js";
import { useActs } from "./acts.js";
import { Deliveries } from "./deliveries.js";
import { consoleDeliveries as sent, consoleWebhooks as texts } from "./messages.js";
import { moment } from "./moments.js";

const PATH = "/api/admin/webhook-endpoints";
const LIST = "#/admin/webhooks";

export function NewEndpoint() {
  const [made, setMade] = useState(null);
  const add = async (values) => setMade(await call("POST", PATH, values));
  return html`<${Heading}>${texts.add}</${Heading}>
    ${made ? html`<${Secret} text=${made.secret} /><p><a href="${LIST}/${made.endpoint.endpoint_id}">${texts.open}</a></p>`
      : html`<section class="panel"><${Terms} label=${texts.add} button=${texts.create} submit=${add} url="" events=${[]} /></section>`}`;
}

export function Endpoint({ id }) {
  const path = `${PATH}/${id}`;
  const { data: endpoint, error, reload } = useLoaded(() => find(id), [id]);
  const [act, outcome] = useActs(reload);
  const [secret, setSecret] = useState("");
  if (!endpoint) return html`<${Heading}>${error ? common.notAvailable : common.loading}</${Heading}><p>${error?.message}</p>`;
  const { url, state, events } = endpoint;
  const change = (body) => call("PATCH", path, body);
  const save = async (body) => {
    await change(body);
    await act(async () => texts.saved)();
  };
  const rotate = async () => setSecret((await call("POST", `${path}/rotate-secret`)).secret);
  const remove = async () => {
    await call("DELETE", path);
    location.hash = LIST;
  };
  const asked = (question, work) => act(async () => await ask(question) && work());
  const acts = [
    state === "enabled" ? [texts.pause, act(() => change({ paused: true }).then(() => texts.paused))]
      : [texts.enable, act(() => change({ paused: false }).then(() => texts.enabled))],
    [texts.test, act(() => call("POST", `${path}/test`).then(() => texts.testSent))],
    url && [texts.rotate, asked({ title: texts.rotateTitle, text: texts.rotateText, button: texts.rotate }, rotate)],
    url && [texts.remove, asked({ title: texts.removeTitle, text: texts.removeText, button: texts.remove }, remove)],
  ];
  return html`<${Heading}>${url ?? texts.bySetting}</${Heading}>
    <${State} ...${endpoint} />
    <p class="actions">${acts.map((each) => each && html`<button type="button" class="quiet" onClick=${each[1]}>${each[0]}</button>`)}</p>
    ${outcome}
    ${secret && html`<${Secret} key=${secret} text=${secret} />`}
    <section class="panel"><h2>${texts.terms}</h2><${Terms} label=${texts.terms} button=${texts.save} submit=${save} url=${url} events=${events} /></section>
    <section class="panel"><h2>${sent.title}</h2><${SentWebhooks} endpoint=${id} /></section>
    <p><a href=${LIST}>${texts.back}</a></p>`;
}

/** The API lists endpoints; a shop has few. */
async function find(id) {
  const found = (await get(`${PATH}?page_size=100`)).find(({ endpoint_id: each }) => each === id);
  if (!found) throw new Error(texts.gone);
  return found;
}

/** The fields of an endpoint; that of the settings has no `url`. */
function Terms({ label, button, submit, url, events }) {
  const send = ({ url, ...chosen }) => {
    if (!Object.keys(chosen).length) throw new Error(texts.chooseEvents);
    return submit({ url, events: Object.keys(chosen) });
  };
  return html`<${Form} label=${label} button=${button} submit=${send}>
    ${url !== null && html`<${Field} label=${texts.url} hint=${texts.urlHint} name="url" type="url" required maxlength="2000" defaultValue=${url} />`}
    <fieldset><legend>${texts.events}</legend>${Object.entries(texts.eventNames).map(([event, text]) => html`<label class="check">
      <input type="checkbox" name=${event} defaultChecked=${events.includes(event)} /><span>${text} <small>${event}</small></span></label>`)}</fieldset>
  </${Form}>`;
}

/** A new secret, to be copied. */
function Secret({ text }) {
  const [said, setSaid] = useState("");
  const input = useRef();
  const select = () => {
    input.current.focus();
    input.current.select();
  };
  useEffect(select, []);
  const copy = async () => {
    select();
    // Where the page is not served over HTTPS there is no clipboard.
    const isCopied = await navigator.clipboard?.writeText(text).then(() => true, () => false) ?? document.execCommand("copy");
    setSaid(isCopied ? texts.copied : texts.copyYourself);
  };
  return html`<section class="panel" aria-label=${texts.secret}>
    <label>${texts.secret}<input readonly value=${text} ref=${input} /><small>${texts.secretHint}</small></label>
    <p class="actions"><button type="button" class="quiet" onClick=${copy}>${texts.copy}</button></p>
    <p class="said" role="status">${said}</p>
  </section>`;
}

/** Whether an endpoint gets messages, and if not why. */
export function State({ state, state_reason: reason, state_since: since, failing_since: failing }) {
  const why = [reason, state !== "enabled" && texts.since(moment(since)), failing && texts.failing(moment(failing))];
  return html`<p class=${failing || reason ? "problem" : ""}><strong>${texts.states[state]}</strong>${why.filter(Boolean).map((each) => ` · ${each}`)}</p>`;
}

/** The webhook deliveries of one `endpoint` or of all. Each can be sent again. */
export function SentWebhooks({ endpoint }) {
  const about = ({ event, session_id: session, endpoint_id: to }) => html`<strong>${event}</strong>
    ${session && html` · <a href="#/admin/sessions/${session}">${sent.session}</a>`}
    ${to && !endpoint && html` · <a href="${LIST}/${to}">${texts.endpoint}</a>`}`;
  const replay = ({ delivery_id: id, event }, act) => {
    const send = act(async () => {
      await call("POST", `/api/admin/webhook-deliveries/${id}/replay`);
      return texts.replayed(event);
    });
    return html`<p class="actions"><button type="button" class="quiet" aria-label="${texts.replay}: ${event}" onClick=${send}>${texts.replay}</button></p>`;
  };
  return html`<${Deliveries} path="/api/admin/webhook-deliveries${endpoint ? `?endpoint_id=${endpoint}` : ""}" about=${about} action=${replay} />`;
}
