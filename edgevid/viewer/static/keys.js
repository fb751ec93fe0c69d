// Keyboard shortcuts. They can be switched off, as single keys interfere with some input methods.

import { el } from "./dom.js";
import { state } from "./state.js";

const SHOWN = [
  [["Space"], "Pause or resume"],
  [["."], "Next frame"],
  [["←"], "5 s back, ", ["→"], "5 s forward in a file"],
  [["N"], "Next object; ", ["P"], "previous one"],
  [["Esc"], "Back to the live image; clear the selection"],
  [["B"], "Boxes"],
  [["L"], "Labels: all, short, none"],
  [["T"], "Trails"],
  [["G"], "Ground grid"],
  [["Z"], "Zones and lines"],
  [["E"], "Edit zones and lines"],
  [["R"], "On the card of a verdict, with --save-abstained: right; ", ["W"], "wrong"],
  [["U"], "km/h, mph, m/s"],
  [["S"], "Save the image"],
  [["F"], "Full screen"],
  [["D"], "Dark or light"],
  [["?"], "This help"],
];

/** Fills the help's table. */
export function listKeys(body) {
  const keys = (names) => names.map((name) => el("kbd", {}, name));
  body.append(...SHOWN.map(([first, text, second, more]) => el("tr", {}, el("td", {}, ...keys(first), ...(second ? [" ", ...keys(second)] : [])), el("td", {}, text + (more ?? "")))));
}

/** `actions` by key; "Space" is " ". */
export function handleKeys(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || !state.choices.keys) return;
    const on = event.target;
    const own = on.closest?.("input:not([type=checkbox]), select, textarea, video, dialog[open]"); // has keys of its own
    if (own && !(event.key === "Escape" && own.matches("video, [type=range]"))) return;
    if (on.closest?.("button") && (event.key === " " || event.key === "Enter")) return;
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
