// The list of what happened, newest first.

import { el, toast } from "./dom.js";
import { clock, duration, percent, speedWords } from "./format.js";
import { state, unit } from "./state.js";

const MOST = 200;
const list = document.getElementById("events");
const filter = document.getElementById("events-filter");
const none = document.getElementById("events-none");
const GROUPS = { passage: "speed", verdict: "verdict", connected: "stream", lost: "stream", stalled: "stream", resized: "stream", restart: "stream" };
const WORDS = { enter: "entered", leave: "left", dwell: "stays in", stopped: "stands still in", "wrong-way": "goes the wrong way in", cross: "crossed" };
let events = [];
let select = () => {};

export function prepareEvents(onSelect) {
  select = onSelect;
  filter.addEventListener("change", show);
}

/** Takes the events of before this visit. */
export function setEvents(given) {
  events = [...given];
  show();
}

export function addEvent(event) {
  if (events.some((one) => one.n === event.n)) return;
  events.push(event);
  if (events.length > MOST) events.shift();
  if (!fits(event)) return;
  list.prepend(line(event));
  while (list.children.length > MOST) list.lastChild.remove();
  told();
}

export function show() {
  list.replaceChildren(...events.filter(fits).slice(-MOST).reverse().map(line));
  told();
}

function told() {
  none.hidden = list.children.length > 0;
  none.textContent = filter.value ? "Nothing of this kind has happened yet." : "Nothing has happened yet. Zones, lines and verdicts make events.";
}

function fits(event) {
  return !filter.value || (GROUPS[event.kind] ?? "place") === filter.value;
}

function line(event) {
  return el("li", {}, el("time", {}, clock(event.time_s)), el("span", {}, ...words(event)));
}

function words(event) {
  const who = event.id === undefined ? null : object(event);
  switch (event.kind) {
    case "passage":
      return [who, ` passed at ${speedWords(event, unit())}`];
    case "verdict":
      return [who, `: ${event.task === "action" ? "" : `${event.task} `}${event.label} ${percent(event.confidence)}`];
    case "restart":
      return ["The file begins again; ids start anew."];
    case "connected":
      return [`Connected: ${event.detail}`];
    case "resized":
      return [`The image's size changed: ${event.detail}`];
    case "lost":
    case "stalled":
      return [el("span", { className: "fault" }, event.kind === "lost" ? "Stream lost" : "Stream silent"), `: ${event.detail}`];
    default:
      return place(event, who);
  }
}

function place(event, who) {
  const alarm = ["wrong-way", "stopped", "dwell"].includes(event.kind);
  const verb = el("span", { className: alarm ? "alarm" : "" }, ` ${WORDS[event.kind] ?? event.kind} `);
  const after = event.kind === "cross" ? ` ${event.direction === "forward" ? "▸ forward" : "◂ backward"}` : event.seconds ? ` (${duration(event.seconds)})` : "";
  return [who, verb, `${event.place}${after}`];
}

function object(event) {
  const name = `${event.class ?? "object"} ${event.id}`;
  const onclick = () => (there(event.id) ? select(event.id) : toast(`${name} is no longer there.`));
  return el("button", { type: "button", onclick }, name);
}

function there(id) {
  return state.record?.objects.some((one) => one.id === id);
}
