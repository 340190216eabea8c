import { words } from "./messages.js";

/** The locale of the browser's numbers and dates; English if its name is malformed. */
export const locale = (() => {
  try {
    return Intl.getCanonicalLocales(navigator.language)[0];
  } catch {
    return "en";
  }
})();

const numbers = new Intl.NumberFormat(locale, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const short = new Intl.NumberFormat(locale, { maximumFractionDigits: 2 });
const time = new Intl.DateTimeFormat(locale, { timeStyle: "short" });
const dateAndTime = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });
let money = numbers;

/** Show prices in this session's currency from now on. */
export const useCurrency = ({ currency }) => {
  if (money.resolvedOptions().currency !== currency) money = new Intl.NumberFormat(locale, { style: "currency", currency });
};

export const price = (value) => (value == null ? "–" : money.format(value));
export const score = (value) => (value == null ? "–" : numbers.format(value));

/** A number with as many decimals as it needs, at most two. */
export const number = (value) => short.format(value);

/** A moment: today's by its time alone. */
export function moment(iso) {
  const at = new Date(iso);
  return (at.toDateString() === new Date().toDateString() ? time : dateAndTime).format(at);
}

/** Milliseconds as 3 d 01:02:03, 1:02:03 or 02:03, rounded up: 00:00 only at the end. */
export function countdown(milliseconds) {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1000));
  const two = (number) => String(number).padStart(2, "0");
  const rest = `${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  const [days, hours] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24];
  if (days) return words.days(days, `${two(hours)}:${rest}`);
  return hours ? `${hours}:${rest}` : rest;
}

/** A duration in its largest unit: 45 s, 3 min, 2 h. */
export function age(milliseconds) {
  const seconds = Math.round(milliseconds / 1000);
  if (seconds < 90) return words.seconds(seconds);
  return seconds < 5400 ? words.minutes(Math.round(seconds / 60)) : words.hours(Math.round(seconds / 3600));
}

export const { counted, ordinal, place } = words;

/** What a session sells, and its starting price. */
export function facts(session) {
  useCurrency(session);
  return words.facts(counted(session.inventory, words.item), price(session.upset_price));
}
