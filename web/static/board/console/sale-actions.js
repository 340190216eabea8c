// What a shop can do with a session. Each act resolves to what has happened, or to "" if the admin decides otherwise.

import { call } from "../lib/api.js";
import { ask, Field, html } from "../lib/ui.js";
import { consoleSessions as texts } from "./messages.js";
import { isPlanned, minutesLater, moment, toInput, toUtc, zone } from "./moments.js";

const pathOf = ({ session_id: id }) => `/api/admin/sessions/${id}`;

export function Actions({ session, act }) {
  const { session_id: id, status } = session;
  const button = (text, work, key = text) => html`<button type="button" class="quiet" key=${key} onClick=${act(() => work(session))}>${text}</button>`;
  const link = (text, path) => html`<a class="button quiet" key=${text} href="#/${path}">${text}</a>`;
  const isOpen = ["scheduled", "active", "inactive"].includes(status);
  const isRunning = isOpen && !isPlanned(session);
  const isPaused = status === "inactive";
  return html`<div class="actions" role="group" aria-label=${texts.actions}>
    ${isRunning && [
      ...Object.entries(texts.extend).map(([minutes, text]) => button(text, extendBy(minutes))),
      button(texts.extendOwn, extendToOwnEnd),
      button(isPaused ? texts.resume : texts.pause, isPaused ? resume : pause, "pause"),
      button(texts.close, close),
    ]}
    ${isOpen && [!isRunning && button(texts.startNow, startNow), button(texts.cancel, cancel), link(texts.edit, `admin/sessions/${id}/edit`)]}
    ${link(texts.duplicate, `admin/sessions/new/${id}`)} ${link(texts.memberPage, `session/${id}`)}
  </div>`;
}

const extendBy = (minutes) => (session) => {
  const later = minutesLater(session.end_time, Number(minutes));
  return extend(session, { text: texts.extendText(moment(later)) }, () => later);
};

function extendToOwnEnd(session) {
  const end = toInput(session.end_time);
  const field = html`<${Field} label=${texts.fields.end_time} hint=${texts.zone(zone)} name="end" type="datetime-local"
    step="1" required min=${end} defaultValue=${end} />`;
  return extend(session, { text: texts.extendOwnText, fields: field }, (answer) => toUtc(answer.end));
}

async function extend(session, question, endOf) {
  const answer = await ask({ title: texts.extendTitle, button: texts.extendButton, ...question });
  if (!answer) return "";
  const changed = await call("PATCH", pathOf(session), { version: session.version, end_time: endOf(answer) });
  return texts.extended(moment(changed.end_time));
}

async function startNow(session) {
  const text = texts.startNowText(moment(session.end_time));
  if (!await ask({ title: `${texts.startNow}?`, text, button: texts.startNow })) return "";
  await call("PUT", `${pathOf(session)}/activate`);
  return texts.startedNow;
}

async function pause(session) {
  await call("PUT", `${pathOf(session)}/deactivate`);
  return texts.paused;
}

async function resume(session) {
  await call("PUT", `${pathOf(session)}/activate`);
  return texts.resumed;
}

async function close(session) {
  if (!await ask({ title: texts.closeTitle, text: texts.closeText, button: texts.close })) return "";
  await call("PUT", `${pathOf(session)}/close`);
  return texts.closed;
}

async function cancel(session) {
  const fields = html`<${Field} label=${texts.reason} name="reason" required maxlength="500" />`;
  const answer = await ask({ title: texts.cancelTitle, text: texts.cancelText, button: texts.cancel, back: texts.keep, fields });
  if (!answer) return "";
  await call("PUT", `${pathOf(session)}/cancel`, { reason: answer.reason.trim() });
  return texts.cancelled;
}
