// The parts that every view is built of, on Preact. Text is inserted as text, never as markup.

import { createContext, html, render, useCallback, useContext, useEffect, useRef, useState } from "../vendor/preact.js";
import { common } from "./messages.js";

const RETRY_MS = 2000;

export { html, render, useEffect, useRef, useState };

let isFocusAwaited = false;

/** Move the focus to the view's heading, now or as soon as there is one. */
export function focusHeading() {
  const heading = document.querySelector("main h1");
  isFocusAwaited = !heading;
  heading?.focus({ preventScroll: true });
  scrollTo(0, 0);
}

/** A view's heading, which is also the page's title. The next one takes over its focus. */
export function Heading({ children }) {
  const heading = useRef(null);
  useEffect(() => void (document.title = `${[children].flat().join("")} · ${common.brand}`));
  useEffect(() => {
    if (isFocusAwaited) focusHeading();
    const element = heading.current;
    return () => (isFocusAwaited ||= document.activeElement === element);
  }, []);
  return html`<h1 ref=${heading} tabindex="-1">${children}</h1>`;
}

/** What is shown while a view loads, or instead of one that cannot be. An outage is retried. */
export function Waiting({ error, retry }) {
  const isOutage = error && (error.status === 0 || error.status >= 500);
  useEffect(() => {
    const timer = isOutage && setTimeout(retry, RETRY_MS);
    return () => clearTimeout(timer);
  }, [error]);
  const again = () => {
    focusHeading();
    retry();
  };
  if (!error) return html`<p>${common.loading}</p>`;
  return html`<${Heading}>${common.notAvailable}</${Heading}><p>${error.message}</p>
    <p class="actions"><button type="button" class="quiet" onClick=${again}>${common.tryAgain}</button></p>`;
}

const drafts = new Map();

/** Like useState(""), for a text that is typed: it is kept by `key` until the page is closed. */
export function useDraft(key) {
  const [text, setText] = useState(drafts.get(key) ?? "");
  return [text, (typed) => setText(drafts.set(key, typed).get(key))];
}

/**
 * What `load()` resolves to, loaded again whenever `inputs` change and every `everyMs`, if given.
 * `error` is the last attempt's; the data of an earlier one stays.
 */
export function useLoaded(load, inputs, everyMs) {
  const [loaded, setLoaded] = useState({ data: null, error: null });
  const latest = useRef(0);
  const reload = useCallback(async () => {
    const own = ++latest.current;
    const [data, error] = await load().then((data) => [data, null], (error) => [null, error]);
    if (own === latest.current) setLoaded((before) => ({ data: error ? before.data : data, error }));
  }, inputs);
  useEffect(() => {
    reload();
    const timer = everyMs && setInterval(reload, everyMs);
    return () => {
      latest.current += 1;
      clearInterval(timer);
    };
  }, [reload]);
  return { ...loaded, reload };
}

/** What the server refuses about each field of the form, by name. */
const Refused = createContext({});
let controls = 0;

/** A form that shows the error with which `submit(values)` fails, beside the fields that it is about. */
export function Form({ label, button, submit, children }) {
  const [problem, setProblem] = useState(null);
  const [isSending, setSending] = useState(false);
  const handle = async (event) => {
    event.preventDefault();
    const form = event.target;
    setProblem(null);
    setSending(true);
    try {
      await submit(Object.fromEntries(new FormData(form)));
    } catch (error) {
      const refused = error.data?.errors ?? {};
      const marked = Object.keys(refused).filter((name) => form.elements[name]);
      const isAllMarked = marked.length && marked.length === Object.keys(refused).length;
      setProblem({ text: isAllMarked ? common.marked : error.message, refused });
      form.elements[marked[0]]?.focus();
    }
    setSending(false);
  };
  return html`<form aria-label=${label} onSubmit=${handle}>
    <${Refused.Provider} value=${problem?.refused ?? {}}>${children}</${Refused.Provider}>
    <p class="problem" role="alert">${problem?.text}</p>
    <button type="submit" disabled=${isSending}>${button}</button>
  </form>`;
}

/** A label around the control that `make(attributes)` returns; below it what is wrong, and a hint. */
function Labelled({ label, hint, name, make }) {
  const [id] = useState(() => `about-${++controls}`);
  const refused = [useContext(Refused)[name] ?? []].flat().join(" ");
  const isInvalid = refused ? "true" : undefined;
  const about = refused || hint;
  return html`<div class="field">
    <label>${label}${make({ name, "aria-invalid": isInvalid, "aria-describedby": about ? id : undefined })}</label>
    ${about && html`<small id=${id}>${refused && html`<span class="problem">${refused} </span>`}${hint}</small>`}
  </div>`;
}

/** A labelled input, with a hint below it; of type `textarea`, one of several lines. */
export function Field({ label, hint, name, ...attributes }) {
  const tag = attributes.type === "textarea" ? "textarea" : "input";
  return html`<${Labelled} ...${{ label, hint, name }} make=${(own) => html`<${tag} ...${attributes} ...${own} />`} />`;
}

/** A labelled choice among `options`, pairs of value and text. */
export function Choice({ label, hint, name, options, value, ...attributes }) {
  return html`<${Labelled} ...${{ label, hint, name }} make=${(own) => html`<select ...${attributes} ...${own}>
    ${options.map(([each, text]) => html`<option value=${each} selected=${each === value}>${text}</option>`)}
  </select>`} />`;
}

/** Buttons to the pages before and after, unless there is only one page. */
export function Pages({ page, pages, go }) {
  if (pages <= 1) return null;
  return html`<p class="actions">
    <button type="button" class="quiet" disabled=${page <= 1} onClick=${() => go(page - 1)}>${common.previous}</button>
    <span>${common.pageOf(page, pages)}</span>
    <button type="button" class="quiet" disabled=${page >= pages} onClick=${() => go(page + 1)}>${common.next}</button>
  </p>`;
}

/**
 * Ask in a dialog before `button` is done. The values of its `fields` if it was chosen, without fields {}, else null:
 * by `back` or Escape. The focus returns to where it was.
 */
export function ask({ title, text, button, fields, back = common.cancel }) {
  const dialog = document.body.appendChild(document.createElement("dialog"));
  let chosen = null;
  const choose = (event) => {
    event.preventDefault();
    chosen = Object.fromEntries(new FormData(event.target));
    dialog.close();
  };
  render(html`<form onSubmit=${choose}><h2 id="asked">${title}</h2><p>${text}</p>${fields}<p class="actions">
    <button type="submit">${button}</button>
    <button type="button" class="quiet" onClick=${() => dialog.close()}>${back}</button>
  </p></form>`, dialog);
  dialog.setAttribute("aria-labelledby", "asked");
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => {
    resolve(chosen);
    render(null, dialog);
    dialog.remove();
  }));
}
