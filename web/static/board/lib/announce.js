// Texts outside of the view: for screen readers, and at the top of the page.

import { throttle } from "./throttle.js";

const PAUSE_MS = 2000;
let newest = "";

const announceNewest = throttle(PAUSE_MS, () => setText("announcer", newest));

/** Announce a text politely. Of the texts that come within two seconds only the newest is. */
export function announce(text) {
  newest = text;
  announceNewest();
}

/** Show a problem at the top of the page; an empty text hides it. */
export function showNotice(text) {
  setText("notice", text).hidden = !text;
}

/** An unchanged text is left alone: it would be read again. */
function setText(id, text) {
  const element = document.getElementById(id);
  if (element.textContent !== text) element.textContent = text;
  return element;
}
