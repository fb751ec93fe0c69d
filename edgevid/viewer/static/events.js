// The list of what happened, newest first.

import { el, toast } from "./dom.js";
import { clock, duration, percent, formatSpeed } from "./format.js";
import { state, unit } from "./state.js";

const MAX_EVENTS = 200;
const list = document.getElementById("events");
const filter = document.getElementById("events-filter");
const none = document.getElementById("events-none");
const GROUPS = { track_speed: "speed", verdict: "verdict", connected: "stream", lost: "stream", stalled: "stream", resized: "stream", restart: "stream" };
const VERBS = { enter: "entered", leave: "left", dwell: "dwells in", stopped: "stopped in", "wrong-way": "moves the wrong way in", cross: "crossed" };
let events = [];
let select = () => {};

export function prepareEvents(onSelect) {
  select = onSelect;
  filter.addEventListener("change", show);
}

/** Takes the events from before this page was opened. */
export function setEvents(earlier) {
  events = [...earlier];
  show();
}

export function addEvent(event) {
  if (events.some((one) => one.n === event.n)) return;
  events.push(event);
  if (events.length > MAX_EVENTS) events.shift();
  if (!fits(event)) return;
  list.prepend(line(event));
  while (list.children.length > MAX_EVENTS) list.lastChild.remove();
  showEmpty();
}

export function show() {
  list.replaceChildren(...events.filter(fits).slice(-MAX_EVENTS).reverse().map(line));
  showEmpty();
}

function showEmpty() {
  none.hidden = list.children.length > 0;
  none.textContent = filter.value ? "No event of this kind yet." : "No events yet. Zones, lines, track speeds and verdicts cause them.";
}

function fits(event) {
  return !filter.value || (GROUPS[event.kind] ?? "place") === filter.value;
}

function line(event) {
  return el("li", {}, el("time", {}, clock(event.time_s)), el("span", {}, ...describe(event)));
}

function describe(event) {
  const name = event.id === undefined ? null : objectButton(event);
  switch (event.kind) {
    case "track_speed":
      return [name, `: track speed ${formatSpeed(event, unit())}`];
    case "verdict":
      return [name, `: ${event.task === "action" ? "" : `${event.task} `}${event.label} ${percent(event.confidence)}`];
    case "restart":
      return ["The file starts again; track ids restart."];
    case "connected":
      return [`Connected: ${event.detail}`];
    case "resized":
      return [`Resolution changed: ${event.detail}`];
    case "lost":
    case "stalled":
      return [el("span", { className: "fault" }, event.kind === "lost" ? "Stream lost" : "Stream stalled"), `: ${event.detail}`];
    default:
      return describePlace(event, name);
  }
}

function describePlace(event, name) {
  const alarm = ["wrong-way", "stopped", "dwell"].includes(event.kind);
  const verb = el("span", { className: alarm ? "alarm" : "" }, ` ${VERBS[event.kind] ?? event.kind} `);
  const after = event.kind === "cross" ? ` ${event.direction === "forward" ? "▸ forward" : "◂ backward"}` : event.seconds ? ` (${duration(event.seconds)})` : "";
  return [name, verb, `${event.place}${after}`];
}

function objectButton(event) {
  const label = `${event.class ?? "object"} ${event.id}`;
  const onclick = () => (isTracked(event.id) ? select(event.id) : toast(`${label} is no longer tracked.`));
  return el("button", { type: "button", onclick }, label);
}

function isTracked(id) {
  return state.record?.objects.some((one) => one.id === id);
}
