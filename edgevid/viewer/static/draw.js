// Paints what was learnt over the picture. `view` says where: {ctx, width, height, scale, font}, scale being
// view pixels a frame pixel. The same painter serves the page and the snapshot.

import { colorOf } from "./colors.js";
import { inUnit, kind, number, speedSaid, verdictsOf, verdictWords } from "./format.js";
import { drawGrid, drawPlaces } from "./draw_ground.js";

const PLATE = "rgb(13 15 18 / 0.86)";
const INK = "#ffffff";
const DIM = "#b9c1ca";

/** Everything that is switched on, far objects first so that near labels lie on top. */
export function paint(view, state, unit) {
  const { record, choices, hello } = state;
  if (choices.grid && hello) drawGrid(view, hello.grid);
  if (choices.places || state.editing) drawPlaces(view, state);
  if (!record || !hello) return;
  const objects = [...record.objects].sort((a, b) => a.box[3] - b.box[3]);
  if (choices.trails) for (const object of objects) trail(view, state.trails.get(object.id), object.id, record.time_s);
  if (choices.boxes) for (const object of objects) box(view, object, object.id === state.selected, object.id === state.hovered);
  if (choices.labels === "none" || state.editing) return; // labels would hide what is edited
  const taken = [];
  const order = objects.reverse().sort((a, b) => (b.id === state.selected) - (a.id === state.selected));
  for (const object of order) {
    const chosen = object.id === state.selected || object.id === state.hovered;
    label(view, object, lines(view, object, hello, unit, choices.labels, chosen), taken);
  }
}

function trail(view, points, id, now) {
  if (!points || points.length < 2) return;
  const { ctx, scale } = view;
  ctx.lineWidth = 2 * view.unit;
  ctx.lineCap = ctx.lineJoin = "round";
  ctx.strokeStyle = colorOf(id);
  for (let i = 1; i < points.length; i++) {
    ctx.globalAlpha = Math.max(0.08, 0.9 - (now - points[i].time) / 2.2);
    ctx.beginPath();
    ctx.moveTo(points[i - 1].x * scale, points[i - 1].y * scale);
    ctx.lineTo(points[i].x * scale, points[i].y * scale);
    ctx.stroke();
  }
  ctx.globalAlpha = 1;
}

function box(view, object, selected, hovered) {
  const { ctx, scale } = view;
  const [x1, y1, x2, y2] = object.box.map((v) => v * scale);
  const color = colorOf(object.id);
  if (selected) {
    ctx.fillStyle = color;
    ctx.globalAlpha = 0.14;
    ctx.fillRect(x1, y1, x2 - x1, y2 - y1);
    ctx.globalAlpha = 1;
  }
  // A dark line under the coloured one: the box is seen on any ground.
  for (const [style, extra] of [["rgb(0 0 0 / 0.45)", 1.6], [color, 0]]) {
    ctx.strokeStyle = style;
    ctx.lineWidth = (selected || hovered ? 3 : 2) * view.unit + extra;
    ctx.lineJoin = "round";
    if (object.seen) ctx.strokeRect(x1, y1, x2 - x1, y2 - y1);
    else corners(ctx, x1, y1, x2, y2);
  }
}

/** A predicted place, not a seen one. */
function corners(ctx, x1, y1, x2, y2) {
  const arm = Math.max(4, Math.min(x2 - x1, y2 - y1) / 4);
  ctx.beginPath();
  for (const [x, y, dx, dy] of [[x1, y1, 1, 1], [x2, y1, -1, 1], [x1, y2, 1, -1], [x2, y2, -1, -1]]) {
    ctx.moveTo(x + dx * arm, y);
    ctx.lineTo(x, y);
    ctx.lineTo(x, y + dy * arm);
  }
  ctx.stroke();
}

/** The lines of a label: [{words, silent}]; small boxes say what they are and what is known for sure. */
function lines(view, object, hello, unit, mode, chosen) {
  const name = { words: `${kind(object)} ${object.id}`, silent: false };
  const tall = (object.box[3] - object.box[1]) * view.scale;
  const speed = speedSaid(object, unit, hello.reasons);
  const verdicts = verdictsOf(object).map(([task, verdict]) => verdictWords(task, verdict, hello.reasons));
  if ((mode === "short" || tall < 62 * view.unit) && !chosen) {
    if (speed && !speed.silent) name.words += `  ${number(inUnit(object.speed.mps, unit))} ${unit}`;
    return [name, ...verdicts.filter((one) => !one.silent && mode !== "short")];
  }
  if (speed?.silent) speed.words = `speed: ${speed.words}`;
  return [name, ...verdicts, ...(speed ? [speed] : [])];
}

/** A plate beside the box, where it covers no other: above, below, inside, at its sides. */
function label(view, object, words, taken) {
  const { ctx, scale, font } = view;
  const [pad, step] = [5 * view.unit, font * 1.3];
  ctx.textBaseline = "middle";
  const style = (line) => `${line.silent ? "italic " : ""}${line === words[0] ? "600 " : ""}${font}px ${view.family}`;
  const wide = Math.max(...words.map((line) => ((ctx.font = style(line)), ctx.measureText(line.words).width))) + 2 * pad + 3;
  const high = step * words.length + pad;
  const [x1, y1, x2, y2] = object.box.map((v) => v * scale);
  const inX = (x) => Math.min(Math.max(0, x), Math.max(0, view.width - wide));
  const inY = (y) => Math.min(Math.max(0, y), Math.max(0, view.height - high));
  const left = x1 - view.unit;
  const spots = [[left, y1 - high - view.unit], [left, y2 + 2], [left, y1 + 2], [x2 + 2, y1], [x1 - wide - 2, y1], [left, y2 - high - 2]];
  const fits = spots.filter(([sx, sy]) => sy >= 0 && sy + high <= view.height && sx > -wide / 3 && sx < view.width - wide / 2);
  const placed = (fits.length ? fits : [spots[2]]).map(([sx, sy]) => [inX(sx), inY(sy)]);
  const free = ([sx, sy]) => taken.every((t) => sx >= t.x + t.wide || t.x >= sx + wide || sy >= t.y + t.high || t.y >= sy + high);
  const [x, y] = placed.find(free) ?? placed[0];
  taken.push({ x, y, wide, high });
  ctx.globalAlpha = object.seen ? 1 : 0.78;
  ctx.fillStyle = PLATE;
  ctx.beginPath();
  ctx.roundRect(x, y, wide, high, 3 * view.unit);
  ctx.fill();
  ctx.fillStyle = colorOf(object.id);
  ctx.fillRect(x, y, 3 * view.unit, high);
  words.forEach((line, n) => {
    ctx.font = style(line);
    ctx.fillStyle = line.silent ? DIM : INK;
    ctx.fillText(line.words, x + pad + 3 * view.unit, y + pad / 2 + step * (n + 0.5));
  });
  ctx.globalAlpha = 1;
}

/** The object under a point in frame pixels: the nearest one, which is the lowest in the picture. */
export function objectAt(record, x, y) {
  const hits = record.objects.filter(({ box: [x1, y1, x2, y2] }) => x >= x1 && x <= x2 && y >= y1 && y <= y2);
  hits.sort((a, b) => area(a) - area(b));
  return hits[0]?.id ?? null;
}

function area({ box: [x1, y1, x2, y2] }) {
  return (x2 - x1) * (y2 - y1);
}
