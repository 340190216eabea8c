// The parts that every view is built of, on Preact. Text is inserted as text, never as markup.

import { html, render, useCallback, useEffect, useRef, useState } from "../vendor/preact.js";
import { common } from "./messages.js";

export { html, render, useEffect, useRef, useState };

/** A view's heading, which is also the page's title. */
export function Heading({ children }) {
  useEffect(() => void (document.title = `${[children].flat().join("")} · ${common.brand}`));
  return html`<h1>${children}</h1>`;
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

/** A form that shows the message of the error with which `submit(values)` fails. */
export function Form({ label, button, submit, children }) {
  const [problem, setProblem] = useState("");
  const [isSending, setSending] = useState(false);
  const handle = async (event) => {
    event.preventDefault();
    setProblem("");
    setSending(true);
    try {
      await submit(Object.fromEntries(new FormData(event.target)));
    } catch (error) {
      setProblem(error.message);
    }
    setSending(false);
  };
  return html`<form aria-label=${label} onSubmit=${handle}>
    ${children}
    <p class="problem" role="alert">${problem}</p>
    <button type="submit" disabled=${isSending}>${button}</button>
  </form>`;
}

/** A labelled input, with a hint below it. */
export function Field({ label, hint, ...attributes }) {
  return html`<label>${label}<input ...${attributes} />${hint && html`<small>${hint}</small>`}</label>`;
}

/** A labelled choice among `options`, pairs of value and text. */
export function Choice({ label, options, value, ...attributes }) {
  return html`<label>${label}<select ...${attributes}>
    ${options.map(([each, text]) => html`<option value=${each} selected=${each === value}>${text}</option>`)}
  </select></label>`;
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

/** Ask in a dialog before `button` is done; whether it was chosen. The focus returns to where it was. */
export function ask({ title, text, button }) {
  const dialog = document.body.appendChild(document.createElement("dialog"));
  const close = (choice) => () => dialog.close(choice);
  render(html`<h2 id="asked">${title}</h2><p>${text}</p><p class="actions">
    <button type="button" onClick=${close("yes")}>${button}</button>
    <button type="button" class="quiet" onClick=${close("")}>${common.cancel}</button>
  </p>`, dialog);
  dialog.setAttribute("aria-labelledby", "asked");
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => {
    resolve(dialog.returnValue === "yes");
    dialog.remove();
  }));
}
