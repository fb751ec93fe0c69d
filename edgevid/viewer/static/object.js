// One object's panel: its image, all that is said of it, and why the rest is not.

import { drawTrace } from "./chart.js";
import { colorOf } from "./colors.js";
import { el, setText } from "./dom.js";
import { duration, headingArrow, kind, number, percent, speedSaid, verdictsOf, verdictWords } from "./format.js";
import { state, unit } from "./state.js";

const TRACE_S = 20;
const panel = document.getElementById("object");
const body = panel.querySelector(".body");
const title = document.getElementById("object-title");
const traces = new Map(); // id -> [{time, mps, sigma}]
let parts = null;
let shown = null;

/** Remembers each object's speed, also of those that are not selected. */
export function noteSpeeds(record) {
  const present = new Set();
  for (const { id, speed } of record.objects) {
    present.add(id);
    if (!speed) continue;
    const trace = traces.get(id) ?? [];
    const time = record.time_s - (speed.age_s ?? 0);
    if (!(time <= trace.at(-1)?.time)) trace.push({ time, mps: speed.mps ?? null, sigma: speed.sigma_mps ?? 0 });
    while (trace.length && record.time_s - trace[0].time > TRACE_S) trace.shift();
    traces.set(id, trace);
  }
  for (const id of traces.keys()) if (!present.has(id) && id !== state.selected) traces.delete(id);
}

export function forgetSpeeds() {
  traces.clear();
}

/** Shows the selected object; one that is gone keeps its last words. */
export function showObject() {
  const id = state.selected;
  panel.hidden = id === null;
  if (id === null || !state.record) return;
  if (shown !== id) build(id);
  const object = state.record.objects.find((one) => one.id === id);
  if (!object) {
    setText(parts.seen, "no longer there");
    return;
  }
  setText(title, `${kind(object)} ${id}`);
  portrait(object);
  setText(parts.seen, object.detected ? "in this frame" : "not in this frame: its place is predicted");
  setText(parts.score, `${object.class} ${percent(object.score)}`);
  setText(parts.age, duration(object.age_s));
  verdicts(object);
  speed(object);
  setText(parts.place, object.ground_m ? object.ground_m.map((v) => `${number(v, 1)}`).join(", ") + " m" : "off the calibration");
  const trace = traces.get(id) ?? [];
  const told = trace.filter((p) => p.mps !== null).length > 1;
  parts.trace.hidden = parts.traceWords.hidden = !told;
  if (told) drawTrace(parts.trace, trace, TRACE_S, colorOf(id), unit());
}

function build(id) {
  shown = id;
  document.getElementById("object-swatch").style.background = colorOf(id);
  const dd = () => el("dd");
  parts = { score: dd(), age: dd(), seen: dd(), place: dd(), said: el("div"), crop: el("canvas", { id: "object-crop" }) };
  parts.crop.setAttribute("role", "img");
  parts.crop.setAttribute("aria-label", `Image of object ${id}`);
  parts.trace = el("canvas", { className: "trace" });
  parts.trace.setAttribute("role", "img");
  parts.trace.setAttribute("aria-label", `Speed of object ${id} over the last ${TRACE_S} seconds`);
  parts.traceWords = el("p", { className: "trace-words dim" }, `Speed over the last ${TRACE_S} s; the band is its standard error.`);
  const list = el("dl", {}, el("dt", {}, "Class"), parts.score, el("dt", {}, "Seen"), parts.seen, el("dt", {}, "For"), parts.age);
  parts.placeName = el("dt", {}, "Place");
  list.append(parts.placeName, parts.place);
  body.replaceChildren(parts.said, el("div", { className: "portrait" }, parts.crop, list), parts.trace, parts.traceWords);
  parts.placeName.hidden = parts.place.hidden = !state.hello?.calibrated;
  parts.trace.hidden = parts.traceWords.hidden = true;
}

function verdicts(object) {
  const rows = verdictsOf(object).map(([task, verdict]) => {
    const { words, silent } = verdictWords(task, verdict, state.hello.reasons);
    const meter = el("span", { className: `meter${silent ? " silent-meter" : ""}` }, el("i"));
    meter.firstChild.style.width = percent(verdict.confidence).replace("\u202f", "");
    const note = silent ? ` (best guess ${percent(verdict.confidence)})` : "";
    const shownNote = verdict.confidence ? note : "";
    return el("p", { className: silent ? "silent" : "big" }, `${words}${shownNote}`, verdict.confidence ? meter : null);
  });
  parts.verdictRows = rows;
}

function speed(object) {
  const said = speedSaid(object, unit(), state.hello.reasons);
  const rows = [...parts.verdictRows];
  if (said) {
    const heading = object.speed.heading_deg === undefined ? "" : ` ${headingArrow(object.speed.heading_deg)}`;
    rows.push(el("p", { className: said.silent ? "silent" : "big" }, said.silent ? `no speed: ${said.words}` : said.words + heading));
  }
  const words = rows.map((row) => row.outerHTML).join("");
  if (parts.words !== words) parts.said.replaceChildren(...rows);
  parts.words = words;
}

function portrait(object) {
  if (!state.bitmap) return;
  const canvas = parts.crop;
  const [w, h] = [92, 124];
  const dense = window.devicePixelRatio || 1;
  if (canvas.width !== w * dense) Object.assign(canvas, { width: w * dense, height: h * dense });
  const [x1, y1, x2, y2] = object.box;
  const scale = state.bitmap.width / state.record.size[0];
  const tall = Math.max((y2 - y1) * 1.15, ((x2 - x1) * 1.15 * h) / w);
  const wide = (tall * w) / h;
  const [cx, cy] = [(x1 + x2) / 2, (y1 + y2) / 2];
  const ctx = canvas.getContext("2d");
  ctx.fillStyle = "#000";
  ctx.fillRect(0, 0, canvas.width, canvas.height);
  ctx.imageSmoothingQuality = "high";
  const from = [(cx - wide / 2) * scale, (cy - tall / 2) * scale, wide * scale, tall * scale];
  ctx.drawImage(state.bitmap, ...from, 0, 0, canvas.width, canvas.height);
}
