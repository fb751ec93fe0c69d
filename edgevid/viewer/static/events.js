// The list of what happened, newest first: lines and cards with a snapshot, filtered here and by the server.

import { el, toast } from "./dom.js";
import { clock, duration, formatSpeed, percent } from "./format.js";
import { playClip, showMoment } from "./player.js";
import { ratingOf } from "./ratings.js";
import { state, unit } from "./state.js";

const MAX_EVENTS = 300;
const ANSWERED = 100; // by the server, with a filter
const list = document.getElementById("events");
const none = document.getElementById("events-none");
const form = document.getElementById("events-filters");
const GROUPS = {
  place: ["cross", "enter", "leave", "dwell", "stopped", "wrong-way", "occupancy-above", "occupancy-normal", "speed-limit"],
  speed: ["track-speed", "speed-limit"],
  verdict: ["verdict", "verdict-changed", "verdict-abstained"],
  object: ["track-ended"],
  stream: ["stream-lost", "stream-back", "camera-moved", "camera-aligned", "image-unusable", "image-usable"],
};
const VERBS = {
  enter: "entered", leave: "left", dwell: "dwells in", stopped: "stopped in", "wrong-way": "moves the wrong way in", cross: "crossed",
  "occupancy-above": "fills", "occupancy-normal": "no longer fills", "speed-limit": "is too fast",
};
const ALARMS = ["wrong-way", "stopped", "dwell", "speed-limit", "occupancy-above", "camera-moved", "stream-lost", "image-unusable"];
const QUIET = ["track-ended", "verdict-abstained"]; // of every object: listed where the filter names them
let events = []; // oldest first
let found = null; // the server's answer to a filter, newest first
let select = () => {};
let requests = 0;

export function prepareEvents(onSelect) {
  select = onSelect;
  form.addEventListener("input", ask);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(ask));
}

/** Takes the events from before this page was opened. */
export function setEvents(earlier) {
  events = [...earlier];
  fillChoices();
  show();
}

export function addEvent(event) {
  if (events.some((one) => one.id === event.id)) return;
  events.push(event);
  if (events.length > MAX_EVENTS) events.shift();
  fillChoices();
  if (!fits(event)) return;
  if (found) found.unshift(event);
  list.prepend(line(event));
  while (list.children.length > MAX_EVENTS) list.lastChild.remove();
  showEmpty();
}

export function show() {
  const shown = found ?? events.filter(fits).reverse();
  list.replaceChildren(...shown.slice(0, MAX_EVENTS).map(line));
  showEmpty();
}

/** Events for the timeline: those that pass the filter. */
export function listedEvents() {
  return found ?? events.filter(fits);
}

/** The chosen filters as the server's parameters. */
function filters() {
  const chosen = Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));
  for (const key of ["after", "before"]) if (chosen[key]) chosen[key] = new Date(chosen[key]).toISOString();
  if (GROUPS[chosen.kind]) chosen.kind = GROUPS[chosen.kind].join();
  return chosen;
}

async function ask() {
  const chosen = filters();
  const number = ++requests;
  document.getElementById("events-clear").hidden = !Object.keys(chosen).length;
  if (Object.keys(chosen).length) {
    const answer = await fetch(`api/events?${new URLSearchParams({ ...chosen, limit: ANSWERED })}`).catch(() => null);
    const rows = await answer?.json().catch(() => null);
    if (number !== requests) return; // a newer choice was made meanwhile
    if (!answer?.ok) toast(rows?.error ?? "The events cannot be read: is the server there?");
    found = answer?.ok ? rows : [];
  } else found = null;
  show();
  document.dispatchEvent(new Event("edgevid:events"));
}

function showEmpty() {
  none.hidden = list.children.length > 0;
  none.textContent = found ? "No event passes this filter." : "No events yet. Zones, lines, track speeds and verdicts cause them.";
}

function fits(event) {
  const { kind, camera, class: name, place, min_kmh, max_kmh, after, before } = filters();
  if (kind ? !kind.split(",").includes(event.kind) : QUIET.includes(event.kind)) return false;
  if ((camera && event.camera !== camera) || (name && event.class_name !== name) || (place && event.place !== place)) return false;
  if ((min_kmh || max_kmh) && !(event.speed_mps * 3.6 >= (min_kmh || 0) && event.speed_mps * 3.6 <= (max_kmh || Infinity))) return false;
  return !(after && event.utc < after) && !(before && event.utc >= before);
}

/** The choices of the filter, from the events that were seen. */
function fillChoices() {
  for (const [name, field] of [["camera", "camera"], ["class", "class_name"], ["place", "place"]]) {
    const menu = form.elements[name];
    const known = new Set([...menu.options].map((one) => one.value));
    for (const event of events) {
      if (event[field] && !known.has(event[field])) {
        known.add(event[field]);
        menu.append(el("option", {}, event[field]));
      }
    }
  }
}

/** When an event was: in its round of the file, or the time of day. */
export function when(event) {
  if (state.hello?.live || event.run !== state.run) return timeOfDay(event.utc);
  const rounds = state.rounds;
  const number = rounds.findLastIndex(([begin]) => begin <= event.time_s + 1e-6);
  const [begin, position] = rounds[Math.max(0, number)] ?? [0, 0];
  return (rounds.length > 1 ? `${number + 1} · ` : "") + clock(event.time_s - begin + position);
}

export function timeOfDay(utc) {
  const moment = new Date(utc);
  const today = moment.toDateString() === new Date().toDateString();
  const date = today ? "" : `${moment.toLocaleDateString([], { month: "short", day: "numeric" })} `;
  return date + moment.toLocaleTimeString([], { hour12: false });
}

function line(event) {
  const time = el("time", { dateTime: event.utc, title: event.utc }, when(event));
  const words = el("div", { className: "words" }, el("span", {}, ...describe(event)), time);
  if (event.clip) {
    const show = () => playClip(event, describe(event).map((part) => part?.textContent ?? part ?? "").join(""));
    const save = el("a", { href: `media/${event.clip}?download`, download: "", className: "button quiet" }, "Save");
    save.setAttribute("aria-label", "Save the clip");
    words.append(el("span", { className: "actions" }, el("button", { type: "button", className: "clip", onclick: show }, "▸ Clip"), save));
  }
  const rating = ratingOf(event);
  if (rating) words.append(rating);
  if (!event.snapshot) return el("li", {}, words);
  const image = el("img", { alt: "", loading: "lazy", width: 84, height: 63 });
  let tries = event.run === state.run ? 3 : 0; // it may not be written yet
  const load = () => (image.src = `media/${event.snapshot}`);
  image.onerror = () => (tries-- > 0 ? setTimeout(load, 1000) : image.remove()); // deleted for newer ones
  setTimeout(load, Date.now() - Date.parse(event.utc) < 2000 ? 500 : 0);
  const open = el("button", { type: "button", className: "shot", onclick: () => showMoment(event) }, image);
  open.setAttribute("aria-label", `Snapshot of ${event.class_name || "object"} ${event.track}`);
  return el("li", { className: "card" }, open, words);
}

function describe(event) {
  const name = event.track === undefined ? null : objectButton(event);
  switch (event.kind) {
    case "track-speed":
      return [name, event.speed_mps === undefined ? `: no track speed: ${reason(event.speed_reason)}` : `: track speed ${speed(event)}`];
    case "verdict":
    case "verdict-changed":
      return [name, `: ${event.task === "action" ? "" : `${event.task} `}${event.label} ${percent(event.label_confidence)}`];
    case "verdict-abstained":
      return [name, `: abstained: ${reason(event.reason)}`];
    case "track-ended":
      return [name, ` was tracked for ${duration(event.seconds)}`, event.speed_mps === undefined ? "" : `, ${speed(event)}`];
    case "stream-lost":
      return [el("span", { className: "fault" }, "Stream lost"), `: ${event.reason ?? ""}`];
    case "stream-back":
      return [`Stream back after ${duration(event.seconds)}`];
    default:
      return name || event.place ? describePlace(event, name) : [el("span", { className: ALARMS.includes(event.kind) ? "alarm" : "" }, event.kind.replace("-", " ")), event.reason ? `: ${event.reason}` : ""];
  }
}

function describePlace(event, name) {
  const verb = el("span", { className: ALARMS.includes(event.kind) ? "alarm" : "" }, ` ${VERBS[event.kind] ?? event.kind} `);
  const way = event.kind === "cross" ? ` ${event.direction === "forward" ? "▸ forward" : "◂ backward"}` : event.seconds ? ` (${duration(event.seconds)})` : "";
  return [name, verb, `${event.place ?? ""}${way}`, event.speed_mps === undefined ? "" : `, ${speed(event)}`];
}

function reason(name) {
  return state.hello?.reasons[name] ?? name ?? "";
}

function speed(event) {
  return formatSpeed({ mps: event.speed_mps, sigma_mps: event.speed_sigma_mps }, unit());
}

function objectButton(event) {
  const label = `${event.class_name || "object"} ${event.track}`;
  const here = () => event.run === state.run && state.rounds.at(-1)[0] <= event.time_s + 1e-6 && state.record?.objects.some((one) => one.id === event.track);
  const gone = () => (event.snapshot ? showMoment(event) : toast(`${label} is no longer tracked.`));
  return el("button", { type: "button", onclick: () => (here() ? select(event.track) : gone()) }, label);
}
