// One object's panel: its image, its verdicts and speed, and the reason of each abstention.

import { drawTrace } from "./chart.js";
import { colorOf } from "./colors.js";
import { el, setText } from "./dom.js";
import { duration, headingArrow, className, number, percent, speedText, verdictsOf, verdictText } from "./format.js";
import { state, unit } from "./state.js";

const TRACE_S = 20;
const panel = document.getElementById("object");
const body = panel.querySelector(".body");
const title = document.getElementById("object-title");
const traces = new Map(); // id -> [{time, mps, sigma}]
let parts = null;
let shown = null;

/** Records each object's speed, also of those that are not selected. */
export function recordSpeeds(record) {
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

export function clearSpeeds() {
  traces.clear();
}

/** Shows the selected object; one whose track ended keeps its last values. */
export function showObject() {
  const id = state.selected;
  panel.hidden = id === null;
  if (id === null || !state.record) return;
  if (shown !== id) build(id);
  const object = state.record.objects.find((one) => one.id === id);
  if (!object) {
    setText(parts.state, "track ended; the image is its best moment");
    if (parts.best.value) parts.crop.getContext("2d").drawImage(parts.best.canvas, 0, 0);
    return;
  }
  setText(title, `${className(object)} ${id}`);
  portrait(object);
  setText(parts.state, object.detected ? "detected in this frame" : "predicted, not detected");
  setText(parts.score, `${object.class} ${percent(object.score)}`);
  setText(parts.age, duration(object.age_s));
  verdicts(object);
  speed(object);
  setText(parts.position, object.ground_m ? object.ground_m.map((v) => `${number(v, 1)}`).join(", ") + " m" : "outside the calibration");
  const trace = traces.get(id) ?? [];
  const enough = trace.filter((p) => p.mps !== null).length > 1;
  parts.trace.hidden = parts.traceCaption.hidden = !enough;
  if (enough) drawTrace(parts.trace, trace, TRACE_S, colorOf(id), unit());
}

function build(id) {
  shown = id;
  document.getElementById("object-swatch").style.background = colorOf(id);
  const dd = () => el("dd");
  parts = { score: dd(), age: dd(), state: dd(), position: dd(), values: el("div"), crop: el("canvas", { id: "object-crop" }) };
  parts.best = { value: 0, canvas: el("canvas") };
  parts.crop.setAttribute("role", "img");
  parts.crop.setAttribute("aria-label", `Image of object ${id}`);
  parts.trace = el("canvas", { className: "trace" });
  parts.trace.setAttribute("role", "img");
  parts.trace.setAttribute("aria-label", `Speed of object ${id} over the last ${TRACE_S} seconds`);
  parts.traceCaption = el("p", { className: "trace-caption dim" }, `Speed over the last ${TRACE_S} s; the band is its standard error.`);
  const list = el("dl", {}, el("dt", {}, "Class"), parts.score, el("dt", {}, "State"), parts.state, el("dt", {}, "Tracked for"), parts.age);
  parts.positionName = el("dt", {}, "Position");
  list.append(parts.positionName, parts.position);
  body.replaceChildren(parts.values, el("div", { className: "portrait" }, parts.crop, list), parts.trace, parts.traceCaption);
  parts.positionName.hidden = parts.position.hidden = !state.hello?.calibrated;
  parts.trace.hidden = parts.traceCaption.hidden = true;
}

function verdicts(object) {
  const rows = verdictsOf(object).map(([task, verdict]) => {
    const { text, abstained } = verdictText(task, verdict, state.hello.reasons);
    const meter = el("span", { className: `meter${abstained ? " abstained-meter" : ""}` }, el("i"));
    meter.firstChild.style.width = percent(verdict.confidence).replace("\u202f", "");
    const note = abstained ? ` (best guess ${percent(verdict.confidence)})` : "";
    const shownNote = verdict.confidence ? note : "";
    return el("p", { className: abstained ? "abstained" : "big" }, `${text}${shownNote}`, verdict.confidence ? meter : null);
  });
  parts.verdictRows = rows;
}

function speed(object) {
  const formatted = speedText(object, unit(), state.hello.reasons);
  const rows = [...parts.verdictRows];
  if (formatted) {
    const heading = object.speed.heading_deg === undefined ? "" : ` ${headingArrow(object.speed.heading_deg)}`;
    rows.push(el("p", { className: formatted.abstained ? "abstained" : "big" }, formatted.abstained ? `no speed: ${formatted.text}` : formatted.text + heading));
  }
  const html = rows.map((row) => row.outerHTML).join("");
  if (parts.html !== html) parts.values.replaceChildren(...rows);
  parts.html = html;
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
  const [width, height] = state.record.size;
  const whole = x1 > 1 && y1 > 1 && x2 < width - 1 && y2 < height - 1;
  const value = Math.sqrt((x2 - x1) * (y2 - y1)) * object.score * (whole ? 1 : 0.25);
  if (!object.detected || value <= parts.best.value) return;
  Object.assign(parts.best.canvas, { width: canvas.width, height: canvas.height });
  parts.best.canvas.getContext("2d").drawImage(canvas, 0, 0);
  parts.best.value = value;
}
