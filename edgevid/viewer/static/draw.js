// Draws the results over the image. `view` is {ctx, width, height, scale, font}, scale in view pixels per
// frame pixel. The same painter serves the page and the snapshot.

import { colorOf } from "./colors.js";
import { drawAnnotations, drawGrid, drawNames } from "./draw_ground.js";
import { drawLabels, lines } from "./draw_labels.js";

/** Everything that is switched on, far objects first so that near labels lie on top. */
export function paint(view, state, unit) {
  const { record, choices, hello } = state;
  if (choices.grid && hello) drawGrid(view, hello.grid);
  const names = choices.annotations || state.editing ? drawAnnotations(view, state) : [];
  if (record && hello) drawObjects(view, state, unit, names);
  drawNames(view, names); // over the boxes; no label covers them
}

function drawObjects(view, { record, choices, hello, trails, selected, hovered, editing }, unit, names) {
  const objects = [...record.objects].sort((a, b) => a.box[3] - b.box[3]);
  if (choices.trails) for (const object of objects) trail(view, trails.get(object.id), object.id, record.time_s);
  if (choices.boxes) for (const object of objects) box(view, object, object.id === selected, object.id === hovered);
  if (choices.labels === "none" || editing) return; // labels would hide what is edited
  const chosen = (object) => object.id === selected || object.id === hovered;
  const near = objects.reverse().sort((a, b) => chosen(b) - chosen(a)); // these are placed first
  drawLabels(view, near, (object, form) => lines(view, object, hello, unit, form ?? choices.labels, chosen(object)), chosen, names);
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
  // A dark line under the colored one: the box is visible on any background.
  for (const [style, extra] of [["rgb(0 0 0 / 0.45)", 1.6], [color, 0]]) {
    ctx.strokeStyle = style;
    ctx.lineWidth = (selected || hovered ? 3 : 2) * view.unit + extra;
    ctx.lineJoin = "round";
    if (object.detected) ctx.strokeRect(x1, y1, x2 - x1, y2 - y1);
    else corners(ctx, x1, y1, x2, y2);
  }
}

/** A predicted box, not a detected one. */
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

/** The object under a point in frame pixels; of several the smallest, as the others can be hit elsewhere. */
export function objectAt(record, x, y) {
  const hits = record.objects.filter(({ box: [x1, y1, x2, y2] }) => x >= x1 && x <= x2 && y >= y1 && y <= y2);
  hits.sort((a, b) => area(a) - area(b));
  return hits[0]?.id ?? null;
}

function area({ box: [x1, y1, x2, y2] }) {
  return (x2 - x1) * (y2 - y1);
}
