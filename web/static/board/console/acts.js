// What buttons of the console do: one thing at a time, and each says how it went.

import { html, useRef, useState } from "../lib/ui.js";
import { consoleSessions as texts } from "./messages.js";

/**
 * `act(work)` makes a listener that runs `work(say)`, shows the text that it resolves to or its error, and reloads.
 * The second value is the line that shows them; it takes the focus if the pressed button is gone.
 */
export function useActs(reload) {
  const [said, setSaid] = useState({ text: "" });
  const isBusy = useRef(false);
  const line = useRef();
  const act = (work) => async () => {
    if (isBusy.current) return;
    isBusy.current = true;
    try {
      const text = await work((text) => setSaid({ text }));
      if (text) setSaid({ text });
    } catch (error) {
      setSaid({ text: error.code === "version_conflict" ? texts.changedMeanwhile : error.message, isBad: true });
    }
    isBusy.current = false;
    await reload();
    requestAnimationFrame(() => document.activeElement === document.body && line.current?.focus());
  };
  return [act, html`<p class=${said.isBad ? "said problem" : "said"} role="status" tabindex="-1" ref=${line}>${said.text}</p>`];
}
