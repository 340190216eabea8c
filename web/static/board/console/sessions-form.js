// The forms that create a session, copy one, and change one.

import { call, get } from "../lib/api.js";
import { common } from "../lib/messages.js";
import { Choice, Field, Form, Heading, html, useLoaded, useRef, useState } from "../lib/ui.js";
import { consoleSessions as texts } from "./messages.js";
import { isPlanned, toInput, toUtc, zone } from "./moments.js";

const NUMBERS = new Set(["upset_price", "inventory", "duration_minutes", "alpha", "beta", "gamma", "offer_minutes"]);
const TIMES = new Set(["start_time", "end_time", "offers_end"]);
const FIRST = {
  name: "", description: "", image_url: "", upset_price: "100", inventory: "5", start_time: "", duration_minutes: "60",
  alpha: "0.5", beta: "1000", gamma: "2", pricing: "pay_as_bid", allow_lower_bids: "", offer_minutes: "1440", offers_end: "",
};

/** The form for a new session; with `copied`, that session's terms are filled in. */
export function NewSession({ copied }) {
  const { data, error } = useLoaded(async () => (copied ? copyOf(await get(`/api/sessions/${copied}`)) : FIRST), [copied]);
  const attempt = useRef({});
  const create = async (values) => {
    const body = valuesOf(values, Object.keys(values));
    if (!values.allow_lower_bids) delete body.allow_lower_bids;
    // A second attempt after a lost answer must not create a second session.
    const sent = JSON.stringify(body);
    if (attempt.current.sent !== sent) attempt.current = { sent, key: newKey() };
    const made = await call("POST", "/api/admin/sessions/combined", body, { extra: { "Idempotency-Key": attempt.current.key } });
    location.hash = `#/admin/sessions/${made.session_id}`;
  };
  return html`<${Heading}>${copied ? texts.copyTitle : texts.newTitle}</${Heading}>
    <${Terms} label=${texts.newTitle} button=${texts.createButton} submit=${create} values=${data} error=${error} />`;
}

/** The form that changes a session. Started ones have few terms that can still change. */
export function EditSession({ id }) {
  const path = `/api/sessions/${id}`;
  const { data, error } = useLoaded(() => get(path), [id]);
  const [fresh, setFresh] = useState(null);
  const session = fresh ?? data;
  const values = session && fieldsOf(session);
  const change = async (entered) => {
    const changed = Object.keys(entered).filter((name) => entered[name] !== values[name]);
    const body = { version: session.version, ...valuesOf(entered, changed) };
    await call("PATCH", `/api/admin/sessions/${id}`, body).catch(async (problem) => {
      if (problem.code !== "version_conflict") throw problem;
      const current = await get(path);
      setFresh(current);
      throw new Error(conflictText(values, fieldsOf(current), changed));
    });
    location.hash = `#/admin/sessions/${id}`;
  };
  const hasStarted = session && !isPlanned(session);
  return html`<${Heading}>${session ? texts.editTitle(session.name) : common.loading}</${Heading}>
    ${hasStarted && html`<p>${texts.started}</p>`}
    <${Terms} label=${texts.edit} button=${texts.save} submit=${change} values=${values} error=${error} isStarted=${hasStarted} />
    <p><a href="#/admin/sessions/${id}">${texts.back}</a></p>`;
}

function Terms({ label, button, submit, values, error, isStarted }) {
  if (!values) return html`<p class="problem" role="alert">${error?.message}</p>`;
  const field = (name, attributes) => html`<${Field} ...${{ name, label: texts.fields[name], hint: texts.hints[name], defaultValue: values[name], ...attributes }} />`;
  const number = (name, min, step = "any") => field(name, { type: "number", min, step, required: true });
  const time = (name, attributes) => field(name, { type: "datetime-local", step: 1, hint: `${texts.hints[name]} ${texts.zone(zone)}`, ...attributes });
  const choice = (name, options) => html`<${Choice} ...${{ name, label: texts.fields[name], hint: texts.hints[name], value: values[name], options }} />`;
  const group = (name, ...fields) => html`<fieldset><legend>${texts.groups[name]}</legend>${fields}</fieldset>`;
  return html`<div class="terms"><${Form} label=${label} button=${button} submit=${submit}>
    ${group("product", field("name", { required: true, maxlength: 200 }), field("description", { type: "textarea", rows: 3, maxlength: 1000 }),
      field("image_url", { type: "url", pattern: "https://.*", maxlength: 2000 }))}
    ${isStarted ? group("time", time("end_time", { required: true, min: values.end_time })) : html`
      ${group("time", time("start_time"), number("duration_minutes", 0))}
      ${group("stock", number("upset_price", 0.01, 0.01), number("inventory", 1, 1), choice("pricing", Object.entries(texts.pricings)),
        choice("allow_lower_bids", Object.entries(texts.lowerBids).filter(([value]) => value || !values.allow_lower_bids)))}
      ${group("score", number("alpha", 0), number("beta", 0), number("gamma", 0))}
      ${group("offers", number("offer_minutes", 0), time("offers_end"))}`}
  </${Form}></div>`;
}

/** A session's terms as the form has them: all texts. */
function fieldsOf(session) {
  const minutes = (Date.parse(session.end_time) - Date.parse(session.start_time)) / 60_000;
  const values = { ...session, duration_minutes: minutes, description: session.description ?? "", image_url: session.image_url ?? "" };
  for (const name of TIMES) values[name] = toInput(session[name]);
  return Object.fromEntries(Object.keys({ ...FIRST, end_time: "" }).map((name) => [name, String(values[name])]));
}

/** The same for a copy, whose times are yet to come. */
const copyOf = (session) => ({ ...fieldsOf(session), start_time: "", offers_end: "" });

/** What the API takes for these of the form's values. */
function valuesOf(entered, names) {
  const convert = (name, text) => {
    if (NUMBERS.has(name)) return Number(text);
    if (TIMES.has(name)) return toUtc(text);
    return name === "allow_lower_bids" ? text === "true" : text || null;
  };
  return Object.fromEntries(names.map((name) => [name, convert(name, entered[name])]));
}

/** What somebody else has changed, and what becomes of it if the form is sent again. */
function conflictText(before, after, own) {
  const others = Object.keys(after).filter((name) => after[name] !== before[name]);
  const name = (each) => texts.fields[each];
  return texts.conflict(others.map(name), others.filter((each) => own.includes(each)).map(name));
}

/** Also where the page is not served over HTTPS, which crypto.randomUUID() needs. */
const newKey = () => [...crypto.getRandomValues(new Uint32Array(4))].join("-");
