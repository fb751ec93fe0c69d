// Zones and lines, drawn and changed on the image. Every finished change goes to the server at once and
// counts from the next frame on.

import { el, setText, toast } from "./dom.js";
import { form, freshName } from "./editor_form.js";
import { changed, grab, handleAt, paintHandles, placeAt } from "./editor_shape.js";
import { addPainter, framePoint, overlay, redraw, shownScale } from "./screen.js";
import { state } from "./state.js";

const panel = document.getElementById("editor");
const body = panel.querySelector(".body");
const editing = { chosen: null, point: null, drawing: null, cursor: null, undo: [] };
let drag = null;
let status = null;
let sending = Promise.resolve();
let edits = 0; // changes made here
let taken = 0; // those of them that the server has answered
let late = null; // the newest places that came while changes of this page were under way
let keys = 0;

export function prepareEditor() {
  addPainter((view) => state.editing && paintHandles(view, state.places, editing));
  overlay.addEventListener("pointerdown", down);
  overlay.addEventListener("pointermove", move);
  overlay.addEventListener("pointerup", up);
  overlay.addEventListener("pointercancel", cancel);
  overlay.addEventListener("dblclick", (event) => {
    if (!state.editing) return;
    event.preventDefault();
    finish();
  });
  document.addEventListener("keydown", key);
  panel.addEventListener("focusout", () => setTimeout(settle));
  document.getElementById("editor-close").onclick = toggleEditor;
  document.getElementById("editor-undo").onclick = undo;
}

/** Opens or closes the editor. */
export function toggleEditor() {
  if (editing.drawing) return abandon();
  state.editing = !state.editing;
  document.body.classList.toggle("editing", state.editing);
  document.getElementById("edit").setAttribute("aria-pressed", String(state.editing));
  panel.hidden = !state.editing;
  Object.assign(editing, { chosen: null, point: null, undo: [] });
  if (state.editing) build();
  redraw();
}

/** The server greets this page: what it says holds, whatever was under way. */
export function placesGreeted(message) {
  drag = late = null;
  taken = edits;
  state.version = -1; // another start of the program counts anew
  theirs(message);
}

/**
 * Somebody's places. While changes of this page are under way they wait, and the changes go on being sent as
 * made from the older ones: so the server refuses them, instead of losing somebody else's.
 */
export function placesChanged(message) {
  if (message.version <= state.version || message.version <= late?.version) return;
  if (busy()) late = message;
  else theirs(message);
}

function busy() {
  const field = document.activeElement;
  const typing = panel.contains(field) && field.matches("input") && field.value !== field.defaultValue;
  return drag !== null || typing || edits > taken;
}

/** Nothing is under way any more: now for what came meanwhile. */
function settle() {
  if (!late || busy()) return;
  if (late.version > state.version) theirs(late);
  else show(late);
}

/** Somebody else's places: a step back would take their change away. */
function theirs(message) {
  editing.undo = [];
  show(message);
}

/** The server's places take the place of what is shown. */
function show({ places, version }) {
  state.version = version;
  if (late?.version <= version) late = null;
  const chosen = state.places[editing.chosen]?.name;
  state.places = places.map((place) => ({ ...place, was: place.name, key: ++keys }));
  const found = state.places.findIndex((place) => place.name === chosen); // the server puts zones first
  editing.chosen = found < 0 ? null : found;
  if (editing.point >= (state.places[found]?.points.length ?? 0)) editing.point = null;
  if (state.editing) build();
  redraw();
}

function build() {
  const kept = document.activeElement?.id;
  status = el("p", { className: "status dim", role: "status" });
  const tools = el("div", { className: "tools" },
    el("button", { type: "button", id: "draw-zone", className: "primary", onclick: () => begin("zone") }, "Draw a zone"),
    el("button", { type: "button", id: "draw-line", onclick: () => begin("line") }, "Draw a line"));
  const list = el("ul", {}, ...state.places.map((place, n) => el("li", {},
    el("button", { type: "button", className: "quiet", "aria-pressed": String(n === editing.chosen), onclick: () => pick(n) }, `${place.kind === "zone" ? "▱" : "╱"} ${place.name}`),
    el("button", { type: "button", className: "danger quiet", "aria-label": `Delete ${place.name}`, onclick: () => remove(n) }, "Delete"))));
  const parts = [tools, state.places.length ? list : el("p", { className: "dim" }, "There are none yet.")];
  if (editing.chosen !== null) parts.push(form(state.places[editing.chosen], state.hello, commit));
  body.replaceChildren(...parts, status);
  if (kept) document.getElementById(kept)?.focus();
  tell();
}

function tell(words, bad = false) {
  const kept = state.hello?.saves ? "Changes are saved to the site file." : "Changes last until the program ends: start with --site FILE to keep them.";
  const hint = editing.drawing
    ? editing.drawing.kind === "line" ? "Click the two ends. Forward is to the right of first to second." : "Click the corners; click the first one again, or press Enter, to finish."
    : editing.chosen !== null ? "Drag points; click a side's middle for a new one; Delete takes the chosen one away." : kept;
  status.className = `status ${bad ? "bad" : "dim"}`;
  setText(status, words ?? hint);
}

function begin(kind) {
  if (!state.choices.places) document.querySelector('[data-layer="places"]').click();
  editing.drawing = { kind, points: [] };
  editing.chosen = editing.point = null;
  build();
  redraw();
}

function abandon() {
  editing.drawing = null;
  build();
  redraw();
}

function finish() {
  const made = editing.drawing;
  if (!made) return;
  const points = made.points.filter((p, n) => !n || Math.hypot(p[0] - made.points[n - 1][0], p[1] - made.points[n - 1][1]) > 1);
  if (points.length < (made.kind === "line" ? 2 : 3)) return;
  editing.drawing = null;
  remember();
  state.places.push({ kind: made.kind, name: freshName(made.kind, state.places), ground: false, points, key: ++keys });
  editing.chosen = state.places.length - 1;
  send();
}

function pick(n) {
  editing.chosen = editing.chosen === n ? null : n;
  editing.point = null;
  build();
  redraw();
}

function remove(n) {
  remember();
  state.places.splice(n, 1);
  editing.chosen = editing.point = null;
  send();
}

/** A field of the form changed. */
function commit(key, value) {
  remember();
  const place = state.places[editing.chosen];
  if (value === null) delete place[key];
  else place[key] = value;
  send();
}

function remember() {
  editing.undo.push(structuredClone(state.places));
  if (editing.undo.length > 50) editing.undo.shift();
}

function undo() {
  const before = editing.undo.pop();
  if (!before) return toast("There is nothing to undo.");
  // Names may have changed since: the server knows them by what they are called now.
  state.places = before.map((place) => ({ ...place, was: undefined }));
  editing.chosen = editing.point = null;
  send();
}

/** Sends all places; one request after another, so that versions follow each other. */
function send() {
  edits += 1;
  build();
  redraw();
  sending = sending.then(put);
}

async function put() {
  if (edits === taken) return; // the request before took this change along, or it was refused
  const sent = edits;
  const places = structuredClone(state.places);
  try {
    const reply = await fetch("/api/places", {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ places: places.map(({ arrow, key, ...place }) => place), version: state.version }),
    });
    const answer = await reply.json();
    if (sent > taken) answered(reply, answer, sent, places); // else: greeted meanwhile
  } catch {
    taken = Math.max(taken, sent);
    refused("The program does not answer; the change was not taken.");
  }
  settle();
}

function answered(reply, answer, sent, places) {
  taken = sent;
  if (reply.status === 409) {
    taken = edits; // what was changed since was made from the older places too
    drag = null;
    theirs(answer);
  } else if (reply.ok && busy()) follow(answer, places);
  else if (reply.ok) show(answer);
  if (reply.ok) tell(answer.saved ? "Saved to the site file." : undefined);
  else refused(answer.error);
}

/** The server took what was sent, and more was changed here since: that stays, under the names it has now. */
function follow(answer, sent) {
  state.version = answer.version;
  if (!(late?.version > answer.version)) late = answer;
  const names = new Map(sent.map((place) => [place.key, place.name]));
  for (const place of state.places) place.was = names.get(place.key);
}

function refused(words) {
  tell(words, true);
  toast(words, 6);
}

function down(event) {
  if (!state.editing || event.button) return;
  const at = framePoint(event);
  const reach = (event.pointerType === "touch" ? 22 : 10) / shownScale();
  if (editing.drawing) return corner(at, reach);
  const hit = handleAt(state.places, editing.chosen, at, reach);
  const inside = hit ? editing.chosen : placeAt(state.places, at, reach);
  if (hit === null && inside !== editing.chosen) return pick(inside);
  if (hit === null && inside === null) return;
  overlay.setPointerCapture(event.pointerId);
  drag = { ...grab(state.places[editing.chosen], hit, at), moved: false, before: structuredClone(state.places) };
  editing.point = drag.point;
  redraw();
}

function corner(at, reach) {
  const { points, kind } = editing.drawing;
  const closes = points.length > 2 && Math.hypot(at[0] - points[0][0], at[1] - points[0][1]) < reach;
  if (!closes) points.push(at.map((v) => Math.round(v * 10) / 10));
  if (closes || (kind === "line" && points.length === 2)) finish();
  redraw();
}

function move(event) {
  if (!state.editing) return;
  const at = framePoint(event);
  editing.cursor = at;
  if (drag) {
    drag.moved = true;
    state.places[editing.chosen].points = changed(drag, at);
    delete state.places[editing.chosen].arrow;
  } else {
    const reach = 10 / shownScale();
    const grabs = !editing.drawing && (handleAt(state.places, editing.chosen, at, reach) || placeAt(state.places, at, reach) !== null);
    overlay.dataset.hover = grabs ? "grab" : "";
  }
  redraw();
}

function up() {
  const done = drag;
  drag = null;
  if (!done?.moved && !done?.added) return settle();
  editing.undo.push(done.before);
  send();
}

/** The drag was taken away (a gesture of the system): the place is where it was. */
function cancel() {
  if (!drag) return;
  state.places = drag.before;
  drag = null;
  settle();
  redraw();
}

function key(event) {
  if (!state.editing || event.target.closest?.("input, select, textarea, dialog[open]")) return;
  const place = state.places[editing.chosen];
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if ((event.ctrlKey || event.metaKey) && event.key === "z") undo();
  else if (event.key === "Enter" && editing.drawing && event.target === document.body) finish();
  else if (event.key === "Backspace" && editing.drawing) editing.drawing.points.pop();
  else if (["Delete", "Backspace"].includes(event.key) && place && editing.point !== null && place.points.length > (place.kind === "line" ? 2 : 3)) {
    remember();
    place.points.splice(editing.point, 1);
    editing.point = null;
    send();
  } else if (arrows[event.key] && place && editing.point !== null) {
    remember();
    const by = event.shiftKey ? 10 : 1;
    place.points[editing.point] = place.points[editing.point].map((v, axis) => v + by * arrows[event.key][axis]);
    send();
  } else return;
  event.preventDefault();
  redraw();
}
