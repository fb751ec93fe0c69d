// Zones and lines, drawn and edited on the image. Every finished edit is sent to the server at once and
// applies from the next frame on.

import { el, setText, toast } from "./dom.js";
import { form, freshName } from "./editor_form.js";
import { annotationAt, changed, grab, handleAt, paintHandles } from "./editor_shape.js";
import { addPainter, framePoint, overlay, redraw, shownScale } from "./screen.js";
import { state } from "./state.js";

const panel = document.getElementById("editor");
const body = panel.querySelector(".body");
const editing = { chosen: null, point: null, drawing: null, cursor: null, undo: [] };
let drag = null;
let status = null;
let sending = Promise.resolve();
let edits = 0; // edits made here
let answeredEdits = 0; // those that the server has answered
let late = null; // the newest annotations that came while edits of this page were pending
let keys = 0;

export function prepareEditor() {
  addPainter((view) => state.editing && paintHandles(view, state.annotations, editing));
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

/** The server's hello replaces whatever was pending. */
export function annotationsReset(message) {
  drag = late = null;
  answeredEdits = edits;
  state.version = -1; // a restarted program counts from 0
  replace(message);
}

/**
 * Annotations of any user. While edits of this page are pending they wait, and the edits are sent with the older
 * version: so the server rejects them instead of losing those of another user.
 */
export function annotationsChanged(message) {
  if (message.version <= state.version || message.version <= late?.version) return;
  if (busy()) late = message;
  else replace(message);
}

function busy() {
  const field = document.activeElement;
  const typing = panel.contains(field) && field.matches("input") && field.value !== field.defaultValue;
  return drag !== null || typing || edits > answeredEdits;
}

/** No edit is pending any more: apply what came meanwhile. */
function settle() {
  if (!late || busy()) return;
  if (late.version > state.version) replace(late);
  else show(late);
}

/** Annotations of another user: undo would discard their edit. */
function replace(message) {
  editing.undo = [];
  show(message);
}

/** The server's annotations replace the displayed ones. */
function show({ annotations, version }) {
  state.version = version;
  if (late?.version <= version) late = null;
  const chosen = state.annotations[editing.chosen]?.name;
  state.annotations = annotations.map((annotation) => ({ ...annotation, previous_name: annotation.name, key: ++keys }));
  const found = state.annotations.findIndex((annotation) => annotation.name === chosen); // the server puts zones first
  editing.chosen = found < 0 ? null : found;
  if (editing.point >= (state.annotations[found]?.points.length ?? 0)) editing.point = null;
  if (state.editing) build();
  redraw();
}

function build() {
  const kept = document.activeElement?.id;
  status = el("p", { className: "status dim", role: "status" });
  const tools = el("div", { className: "tools" },
    el("button", { type: "button", id: "draw-zone", className: "primary", onclick: () => begin("zone") }, "Draw a zone"),
    el("button", { type: "button", id: "draw-line", onclick: () => begin("line") }, "Draw a line"));
  const list = el("ul", {}, ...state.annotations.map((annotation, n) => el("li", {},
    el("button", { type: "button", className: "quiet", "aria-pressed": String(n === editing.chosen), onclick: () => pick(n) }, `${annotation.kind === "zone" ? "▱" : "╱"} ${annotation.name}`),
    el("button", { type: "button", className: "danger quiet", "aria-label": `Delete ${annotation.name}`, onclick: () => remove(n) }, "Delete"))));
  const parts = [tools, state.annotations.length ? list : el("p", { className: "dim" }, "No zones or lines yet.")];
  if (editing.chosen !== null) parts.push(form(state.annotations[editing.chosen], state.hello, commit));
  body.replaceChildren(...parts, status);
  if (kept) document.getElementById(kept)?.focus();
  showStatus();
}

function showStatus(text, bad = false) {
  const kept = state.hello?.saves ? "Changes are saved to the site file." : "Changes are lost when the program ends: start with --site FILE to save them.";
  const hint = editing.drawing
    ? editing.drawing.kind === "line" ? "Click the two ends. Forward is to the right, looking from the first to the second." : "Click the corners; click the first one again, or press Enter, to finish."
    : editing.chosen !== null ? "Drag points; click the middle of a side to add one; Delete removes the selected point." : kept;
  status.className = `status ${bad ? "bad" : "dim"}`;
  setText(status, text ?? hint);
}

function begin(kind) {
  if (!state.choices.annotations) document.querySelector('[data-layer="annotations"]').click();
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
  state.annotations.push({ kind: made.kind, name: freshName(made.kind, state.annotations), ground: false, points, key: ++keys });
  editing.chosen = state.annotations.length - 1;
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
  state.annotations.splice(n, 1);
  editing.chosen = editing.point = null;
  send();
}

/** A field of the form changed. */
function commit(key, value) {
  remember();
  const annotation = state.annotations[editing.chosen];
  if (value === null) delete annotation[key];
  else annotation[key] = value;
  send();
}

function remember() {
  editing.undo.push(structuredClone(state.annotations));
  if (editing.undo.length > 50) editing.undo.shift();
}

function undo() {
  const before = editing.undo.pop();
  if (!before) return toast("There is nothing to undo.");
  // Names may have changed since: the server identifies them by their current names.
  state.annotations = before.map((annotation) => ({ ...annotation, previous_name: undefined }));
  editing.chosen = editing.point = null;
  send();
}

/** Sends all annotations; one request after another, so that versions follow each other. */
function send() {
  edits += 1;
  build();
  redraw();
  sending = sending.then(put);
}

async function put() {
  if (edits === answeredEdits) return; // the previous request included this edit, or it was rejected
  const sent = edits;
  const annotations = structuredClone(state.annotations);
  try {
    const reply = await fetch("api/annotations", {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ annotations: annotations.map(({ arrow, key, ...annotation }) => annotation), version: state.version }),
    });
    const answer = await reply.json();
    if (sent > answeredEdits) answered(reply, answer, sent, annotations); // else: a new hello came meanwhile
  } catch {
    answeredEdits = Math.max(answeredEdits, sent);
    rejected("The program does not respond; the change was not applied.");
  }
  settle();
}

function answered(reply, answer, sent, annotations) {
  answeredEdits = sent;
  if (reply.status === 409) {
    answeredEdits = edits; // later edits were based on the older annotations too
    drag = null;
    replace(answer);
  } else if (reply.ok && busy()) follow(answer, annotations);
  else if (reply.ok) show(answer);
  if (reply.ok) showStatus(answer.saved ? "Saved to the site file." : undefined);
  else rejected(answer.error);
}

/** The server applied what was sent, and more was edited here since: that stays, under its current names. */
function follow(answer, sent) {
  state.version = answer.version;
  if (!(late?.version > answer.version)) late = answer;
  const names = new Map(sent.map((one) => [one.key, one.name]));
  for (const annotation of state.annotations) annotation.previous_name = names.get(annotation.key);
}

function rejected(text) {
  showStatus(text, true);
  toast(text, 6);
}

function down(event) {
  if (!state.editing || event.button) return;
  const at = framePoint(event);
  const reach = (event.pointerType === "touch" ? 22 : 10) / shownScale();
  if (editing.drawing) return corner(at, reach);
  const hit = handleAt(state.annotations, editing.chosen, at, reach);
  const inside = hit ? editing.chosen : annotationAt(state.annotations, at, reach);
  if (hit === null && inside !== editing.chosen) return pick(inside);
  if (hit === null && inside === null) return;
  overlay.setPointerCapture(event.pointerId);
  drag = { ...grab(state.annotations[editing.chosen], hit, at), moved: false, before: structuredClone(state.annotations) };
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
    state.annotations[editing.chosen].points = changed(drag, at);
    delete state.annotations[editing.chosen].arrow;
  } else {
    const reach = 10 / shownScale();
    const grabs = !editing.drawing && (handleAt(state.annotations, editing.chosen, at, reach) || annotationAt(state.annotations, at, reach) !== null);
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

/** The drag was canceled (a gesture of the system): the annotation returns to where it was. */
function cancel() {
  if (!drag) return;
  state.annotations = drag.before;
  drag = null;
  settle();
  redraw();
}

function key(event) {
  if (!state.editing || event.target.closest?.("input, select, textarea, dialog[open]")) return;
  const annotation = state.annotations[editing.chosen];
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if ((event.ctrlKey || event.metaKey) && event.key === "z") undo();
  else if (event.key === "Enter" && editing.drawing && event.target === document.body) finish();
  else if (event.key === "Backspace" && editing.drawing) editing.drawing.points.pop();
  else if (["Delete", "Backspace"].includes(event.key) && annotation && editing.point !== null && annotation.points.length > (annotation.kind === "line" ? 2 : 3)) {
    remember();
    annotation.points.splice(editing.point, 1);
    editing.point = null;
    send();
  } else if (arrows[event.key] && annotation && editing.point !== null) {
    remember();
    const by = event.shiftKey ? 10 : 1;
    annotation.points[editing.point] = annotation.points[editing.point].map((v, axis) => v + by * arrows[event.key][axis]);
    send();
  } else return;
  event.preventDefault();
  redraw();
}
