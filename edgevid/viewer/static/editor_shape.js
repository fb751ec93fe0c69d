// The geometry of editing: what lies under the pointer, and how a drag moves points.

import { LINE, path, ZONE } from "./draw_ground.js";

const near = (a, b, reach) => Math.hypot(a[0] - b[0], a[1] - b[1]) <= reach;
const middle = (a, b) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];

/** The sides of an annotation as [a, b]; a zone's last point leads back to its first. */
function sides({ kind, points }) {
  const found = points.slice(1).map((b, n) => [points[n], b]);
  return kind === "zone" ? [...found, [points.at(-1), points[0]]] : found;
}

/** {point} or {side} of the selected annotation under `at`, null where there is none. */
export function handleAt(annotations, chosen, at, reach) {
  const annotation = annotations[chosen];
  if (!annotation) return null;
  const point = annotation.points.findIndex((p) => near(p, at, reach));
  if (point >= 0) return { point };
  const side = annotation.kind === "zone" ? sides(annotation).findIndex(([a, b]) => near(middle(a, b), at, reach)) : -1;
  return side >= 0 ? { side } : null;
}

/** The index of the annotation under `at`, the last drawn first; null where there is none. */
export function annotationAt(annotations, at, reach) {
  for (let n = annotations.length - 1; n >= 0; n--) {
    const annotation = annotations[n];
    if (annotation.kind === "zone" ? contains(annotation.points, at) : sides(annotation).some(([a, b]) => distance(a, b, at) < reach)) return n;
  }
  return null;
}

/** Even-odd rule. */
function contains(points, [x, y]) {
  let inside = false;
  points.forEach(([x1, y1], n) => {
    const [x2, y2] = points[(n + 1) % points.length];
    if (y1 > y !== y2 > y && x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) inside = !inside;
  });
  return inside;
}

function distance(a, b, p) {
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const t = Math.min(1, Math.max(0, ((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(p[0] - a[0] - t * dx, p[1] - a[1] - t * dy);
}

/** What a drag begins with: a point, a new point in the middle of a side, or the whole annotation. */
export function grab(annotation, hit, at) {
  const points = annotation.points.map((p) => [...p]);
  if (hit?.side !== undefined) {
    points.splice(hit.side + 1, 0, at);
    annotation.points = points;
    return { points, point: hit.side + 1, from: at, added: true };
  }
  return { points, point: hit?.point ?? null, from: at, added: false };
}

/** The points after the pointer has gone to `at`. */
export function changed({ points, point, from }, at) {
  const by = [at[0] - from[0], at[1] - from[1]];
  return points.map((p, n) => (point === null || n === point ? [round(p[0] + by[0]), round(p[1] + by[1])] : p));
}

const round = (v) => Math.round(v * 10) / 10;

/** Handles of the selected annotation, and what is being drawn. */
export function paintHandles(view, annotations, { chosen, point, drawing, cursor }) {
  const { ctx, scale } = view;
  const annotation = annotations[chosen];
  if (annotation) {
    const color = annotation.kind === "zone" ? ZONE : LINE;
    if (annotation.kind === "zone") for (const [a, b] of sides(annotation)) dot(view, middle(a, b), 3.5, "rgb(0 0 0 / 0.6)", color);
    annotation.points.forEach((p, n) => dot(view, p, n === point ? 8 : 6.5, n === point ? "#ffffff" : color, "#000000"));
  }
  if (!drawing) return;
  const color = drawing.kind === "zone" ? ZONE : LINE;
  const points = cursor && drawing.points.length ? [...drawing.points, cursor] : drawing.points;
  ctx.strokeStyle = color;
  ctx.lineWidth = 2 * view.unit;
  ctx.setLineDash([6, 4]);
  path(ctx, points, scale);
  ctx.stroke();
  ctx.setLineDash([]);
  drawing.points.forEach((p, n) => dot(view, p, n ? 5 : 7, color, "#000000"));
}

function dot({ ctx, scale, unit }, [x, y], radius, fill, edge) {
  ctx.beginPath();
  ctx.arc(x * scale, y * scale, radius * Math.max(1, unit), 0, 2 * Math.PI);
  ctx.fillStyle = fill;
  ctx.fill();
  ctx.strokeStyle = edge;
  ctx.lineWidth = 1.5;
  ctx.stroke();
}
