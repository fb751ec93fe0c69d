// The overlay viewer: connects the stream, the drawing and the controls.

import { drawTimings, medians, recordTimings } from "./chart.js";
import { stageColor } from "./colors.js";
import { el, setText, toast } from "./dom.js";
import { objectAt } from "./draw.js";
import { annotationsChanged, annotationsReset, prepareEditor, toggleEditor } from "./editor.js";
import { addEvent, prepareEvents, setEvents, show as showEvents } from "./events.js";
import { clock, ms, number } from "./format.js";
import { handleKeys, listKeys } from "./keys.js";
import { clearSpeeds, recordSpeeds, showObject } from "./object.js";
import { neighbor, showObjects } from "./objects.js";
import { stopPlaying } from "./player.js";
import { loadRatings } from "./ratings.js";
import { framePoint, overlay, redraw, screen, shape, snapshot } from "./screen.js";
import { choose, remember, state, unit } from "./state.js";
import { openStream } from "./stream.js";
import { toggleTheme } from "./theme.js";
import { prepareTimeline, resetTimeline, showTimeline } from "./timeline.js";

const LABELS = ["all", "short", "none"];
const UNITS = ["km/h", "mph", "m/s"];
const $ = (id) => document.getElementById(id);
let steps = 0; // live frames to show while the image is frozen

const stream = openStream({ frame, message, link });

function frame(record, bitmap) {
  if (state.frozen && steps-- <= 0) {
    steps = 0;
    bitmap.close();
    return;
  }
  state.bitmap?.close();
  state.bitmap = bitmap;
  if (record.n !== state.record?.n) {
    recordTimings(record.timings_ms);
    recordSpeeds(record);
  }
  const before = state.record?.size.join();
  remember(record);
  if (record.size.join() !== before) shape();
  $("waiting").hidden = true;
  connection();
  redraw();
}

function message(received) {
  if (received.type === "hello") hello(received);
  else if (received.type === "event") event(received.event);
  else if (received.type === "rounds") rounds(received.rounds);
  else if (received.type === "annotations") annotationsChanged(received);
  else if (received.type === "stats") state.stats = received;
  else if (received.type === "state") paused(received.paused);
}

function hello(message) {
  message = { operator: state.hello?.operator, ...message }; // another one, after a change of size, does not repeat it
  state.hello = message;
  state.record = null;
  document.title = `${message.title} · edgevid`;
  setText($("title"), message.model ? `${message.title} · ${message.model}` : message.title);
  $("notes").replaceChildren(...message.notes.map((note) => el("p", { className: "banner", style: null }, note)));
  $("unit").value = unit();
  document.querySelector('[data-layer="grid"]').disabled = !message.calibrated;
  document.querySelector('[data-layer="grid"]').title = message.calibrated ? "Ground grid (G)" : "Ground grid: this camera is not calibrated";
  state.run = message.run;
  state.away = message.events.findLast((one) => one.run === message.run && one.kind.startsWith("stream-"))?.kind === "stream-lost";
  state.rounds = message.rounds;
  $("edit").hidden = !message.operator;
  $("tabs").hidden = !message.review;
  if (message.review) loadRatings();
  $("pause").disabled = $("step").disabled = !message.operator && !message.live;
  annotationsReset(message);
  setEvents(message.events);
  resetTimeline();
  paused(message.paused);
  shape();
}

function event(one) {
  state.run = one.run;
  if (one.kind === "stream-lost" || one.kind === "stream-back") {
    state.away = one.kind === "stream-lost";
    connection();
  }
  addEvent(one);
}

/** The file starts again, or goes on elsewhere: so do the track ids. */
function rounds(list) {
  state.rounds = list;
  state.selected = null;
  state.trails.clear();
  clearSpeeds();
  showEvents(); // with the number of their round
}

let lost = true;
function link(how) {
  lost = how === "lost";
  connection();
}

/** One badge tells whether the displayed image is current. */
function connection() {
  const badge = $("connection");
  const [mode, text] = lost
    ? ["lost", "reconnecting"]
    : state.away
    ? ["lost", "stream lost"]
    : !state.record
      ? ["waiting", "waiting"]
      : state.frozen || state.paused
        ? ["paused", state.frozen ? "frozen" : "paused"]
        : ["live", state.hello?.live ? "live" : "playing"];
  badge.dataset.state = mode;
  setText(badge, text);
}

function paused(now) {
  state.paused = now;
  const stopped = now || state.frozen;
  $("pause").setAttribute("aria-pressed", String(stopped));
  $("pause-shape").setAttribute("d", stopped ? "M4 3l9 5-9 5z" : "M4 3h3v10H4zM9 3h3v10H9z");
  setText($("pause").querySelector("span"), stopped ? "Resume" : "Pause");
  connection();
}

function pause() {
  if (state.hello?.live) {
    state.frozen = !state.frozen;
    steps = 0;
    paused(state.paused);
  } else stream.send({ paused: !state.paused });
}

function step() {
  if (!state.hello?.live) return stream.send({ step: true });
  state.frozen = true;
  steps = 1;
  paused(state.paused);
}

function select(id) {
  state.selected = state.selected === id ? null : id;
  refresh();
  redraw();
}

async function save() {
  const blob = await snapshot();
  if (!blob) return toast("No image yet.");
  const time = clock(state.record.time_s).replace(/[:.]/g, "-");
  const name = `edgevid ${state.hello.title.replace(/[^\w.-]+/g, "_")} ${time}.png`;
  const link = el("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  toast(`Saved: ${name}`);
}

function layer(name) {
  if (name === "labels") choose("labels", LABELS[(LABELS.indexOf(state.choices.labels) + 1) % LABELS.length]);
  else if (name === "grid" && !state.hello?.calibrated) return toast("This camera is not calibrated: start with --calibration FILE for a grid and speeds.");
  else choose(name, !state.choices[name]);
  layers();
  redraw();
}

function layers() {
  for (const button of document.querySelectorAll("[data-layer]")) {
    const value = state.choices[button.dataset.layer];
    button.setAttribute("aria-pressed", String(value === true || (value !== false && value !== "none")));
    if (button.dataset.layer === "labels") setText(button, value === "short" ? "Labels: short" : "Labels");
  }
}

function setUnit(name) {
  choose("unit", name);
  $("unit").value = name;
  showEvents();
  refresh();
  redraw();
}

function fullscreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else screen.requestFullscreen?.().catch(() => toast("This browser does not support full screen here."));
}

/** The text around the image, at 4 Hz: often enough to read. */
function refresh() {
  showObjects(select);
  showObject();
  showTimeline();
  const { record, hello, stats } = state;
  if (!record || !hello) return;
  const { stages, total } = medians();
  drawTimings($("timings"), hello.fps);
  setText($("timings-total"), `${ms(total)} median`);
  legend(stages.filter(([, value]) => value >= 0.005));
  facts(record, hello, stats);
  $("moved").hidden = !record.objects.some((object) => object.speed?.reason === "CAMERA_MOVED");
}

function legend(stages) {
  const body = $("timings-table").tBodies[0];
  const names = stages.map(([stage]) => stage).join();
  if (body.dataset.stages !== names) {
    body.dataset.stages = names;
    body.replaceChildren(...stages.map(([stage]) => {
      const swatch = el("span", { className: "swatch" });
      swatch.style.background = stageColor(stage);
      return el("tr", {}, el("td", {}, swatch, stage), el("td", { className: "number" }));
    }));
  }
  stages.forEach(([, value], n) => setText(body.rows[n].cells[1], `${number(value, 2)}\u202fms`));
}

function facts(record, hello, stats) {
  const shown = [["Time", clock(record.time_s)], ["Frame", String(record.frame)], ["Size", record.size.join("\u202f×\u202f")]];
  if (record.fps) shown.push(["Rate", `${number(record.fps, 1)}\u202ffps`]);
  if (hello.live && record.lag_ms !== undefined) shown.push(["Lag", ms(record.lag_ms)]);
  if (record.dropped) shown.push(["Frames dropped", String(record.dropped)]);
  if (stats.latency_ms !== undefined && stats.latency_ms !== null) shown.push(["Latency to this page", ms(stats.latency_ms)]);
  if (stats.dropped) shown.push(["Dropped for this page", String(stats.dropped)]);
  if (stats.viewers > 1) shown.push(["Viewers", String(stats.viewers)]);
  const list = $("facts");
  if (list.children.length !== shown.length) list.replaceChildren(...shown.map(() => el("div", {}, el("dt"), el("dd"))));
  shown.forEach(([name, value], n) => {
    setText(list.children[n].children[0], name);
    setText(list.children[n].children[1], value);
  });
}

overlay.addEventListener("pointermove", (event) => {
  if (state.editing || !state.record) return;
  const hit = objectAt(state.record, ...framePoint(event));
  overlay.dataset.hover = hit === null ? "" : "object";
  if (hit !== state.hovered) {
    state.hovered = hit;
    redraw();
  }
});
overlay.addEventListener("pointerleave", () => {
  state.hovered = null;
  redraw();
});
overlay.addEventListener("click", (event) => {
  if (state.editing || !state.record) return;
  const hit = objectAt(state.record, ...framePoint(event));
  if (hit !== null || state.selected !== null) select(hit ?? state.selected);
});

function help() {
  $("help").showModal();
}

$("pause").onclick = pause;
$("step").onclick = step;
$("snapshot").onclick = save;
$("edit").onclick = toggleEditor;
$("fullscreen").onclick = fullscreen;
$("help-open").onclick = help;
$("help-close").onclick = () => $("help").close();
$("help").addEventListener("click", (event) => {
  if (event.target === $("help")) $("help").close(); // outside of it
});
$("object-close").onclick = () => select(state.selected);
$("unit").onchange = (event) => setUnit(event.target.value);
$("keys-on").checked = state.choices.keys;
$("keys-on").onchange = (event) => choose("keys", event.target.checked);
for (const button of document.querySelectorAll("[data-layer]")) button.onclick = () => layer(button.dataset.layer);
document.addEventListener("edgevid:theme", refresh);

handleKeys({
  " ": pause, ".": step, s: save, e: toggleEditor, f: fullscreen, d: toggleTheme, "?": help,
  b: () => layer("boxes"), l: () => layer("labels"), t: () => layer("trails"), g: () => layer("grid"), z: () => layer("annotations"),
  u: () => setUnit(UNITS[(UNITS.indexOf(unit()) + 1) % UNITS.length]),
  n: () => selectNeighbor(1), p: () => selectNeighbor(-1),
  Escape: () => stopPlaying() || (state.editing ? toggleEditor() : state.selected !== null && select(state.selected)),
  ArrowLeft: () => skip(-5), ArrowRight: () => skip(5),
});

function selectNeighbor(by) {
  const id = neighbor(by);
  if (id !== null && id !== state.selected) select(id);
}

/** Seconds back or forward in a file. */
function skip(seconds) {
  if (state.editing || state.hello?.live || !state.hello?.duration || !state.record) return;
  const [begin, from] = state.rounds.findLast(([first]) => first <= state.record.time_s + 1e-6) ?? [0, 0];
  const to = state.record.time_s - begin + from + seconds;
  stream.send({ seek: Math.min(Math.max(0, to), state.hello.duration) });
}

$("wall").hidden = location.pathname === "/";
listKeys($("shortcuts").tBodies[0]);
prepareEvents((id) => id !== state.selected && select(id));
prepareTimeline((seconds) => stream.send({ seek: seconds }));
prepareEditor();
layers();
setInterval(refresh, 250);
