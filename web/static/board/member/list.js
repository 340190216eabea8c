import { call, get, getPage, me, now } from "../lib/api.js";
import { When } from "../lib/days.js";
import { facts } from "../lib/format.js";
import { list as texts } from "../lib/messages.js";
import { Timer } from "../lib/timer.js";
import { focusHeading, Heading, html, Pages, useEffect, useLoaded, useState, Waiting } from "../lib/ui.js";

const REFRESH_MS = 5000;
const PARTS = [texts.open, texts.toCome, texts.over];

/** The sessions: open ones by their end, then those to come by their start, then those that are over. */
export default function List() {
  const [page, setPage] = useState(1);
  const { data, error, reload } = useLoaded(() => getPage("/api/sessions?order=soonest", page), [page], REFRESH_MS);
  const parts = PARTS.map((name) => [name, data?.items.filter((session) => partOf(session) === name) ?? []]);
  const reminders = useReminders(parts[1][1].length > 0);
  useKeptFocus();
  if (!data) return html`<${Waiting} error=${error} retry=${reload} />`;
  const go = (next) => {
    setPage(next);
    focusHeading();
  };
  return html`<${Heading}>${texts.title}</${Heading}>
    ${!data.total && html`<p>${texts.none}</p>`}
    ${parts.filter(([, sessions]) => sessions.length).map(([name, sessions]) => html`<section key=${name} aria-label=${name}>
      <h2>${name}</h2>
      <ul class="cards">${sessions.map((session) => html`<${Card} key=${session.session_id} ...${{ session, reminders }} />`)}</ul>
    </section>`)}
    <${Pages} page=${page} pages=${data.pages} go=${go} />`;
}

function partOf({ status, start_time: start }) {
  if (status === "ended" || status === "cancelled") return texts.over;
  return Date.parse(start) > now() ? texts.toCome : texts.open;
}

function Card({ session, reminders }) {
  const { session_id: id, name, image_url: image } = session;
  const part = partOf(session);
  return html`<li class="card" id=${`session-${id}`}>
    ${image && html`<img class="picture" src=${image} alt=${name} loading="lazy" />`}
    <h3><a href=${`#/session/${id}`}>${name}</a></h3>
    <p class="facts">${facts(session)}</p>
    <${Timer} session=${session} />
    ${part !== texts.open && html`<p class="facts"><${When} at=${part === texts.toCome ? session.start_time : session.end_time} /></p>`}
    ${part === texts.toCome && reminders && html`<${Reminder} ...${{ id, name, reminders }} />`}
  </li>`;
}

function Reminder({ id, name, reminders: { ids, toggle } }) {
  const [problem, setProblem] = useState("");
  const click = () => toggle(id).then(() => setProblem(""), (error) => setProblem(error.message));
  return html`<button type="button" class="quiet" aria-pressed=${ids.has(id)} aria-label=${texts.remindOf(name)} onClick=${click}>${texts.remind}</button>
    <p class="problem" role="alert">${problem}</p>`;
}

/** The sessions that the member is reminded of; null for guests and until they are known. */
function useReminders(isWanted) {
  const user = isWanted && me()?.user_id;
  const { data, reload } = useLoaded(async () => (user ? get("/api/reminders?page_size=100") : null), [user]);
  if (!user || !data) return null;
  const ids = new Set(data.map(({ session_id: id }) => id));
  const toggle = async (id) => {
    await call(ids.has(id) ? "DELETE" : "PUT", `/api/sessions/${id}/reminder`);
    await reload();
  };
  return { ids, toggle };
}

/** A card that has the focus keeps it when it moves to another part of the list. */
function useKeptFocus() {
  const card = document.activeElement?.closest(".card")?.id;
  useEffect(() => {
    if (card && document.activeElement === document.body) document.querySelector(`#${card} a`)?.focus({ preventScroll: true });
  });
}
