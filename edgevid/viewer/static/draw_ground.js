// The ground grid, and zones and lines with their counts.

const GRID = "rgb(150 236 255 / 0.5)";
export const ZONE = "#ffd166";
export const LINE = "#ff8fab";

export function drawGrid(view, grid) {
  const { ctx, scale, font } = view;
  ctx.strokeStyle = GRID;
  ctx.lineJoin = "round";
  for (const { points, label } of grid) {
    ctx.lineWidth = (label ? 1 : 1.5) * view.unit;
    path(ctx, points, scale);
    ctx.stroke();
  }
  ctx.font = `${0.9 * font}px ${view.family}`;
  ctx.textBaseline = "alphabetic";
  const taken = []; // far lines crowd: nearer labels come first, others are omitted
  for (const { label, at } of grid.filter((one) => one.at).sort((a, b) => b.at[1] - a.at[1])) {
    const [x, y, wide] = [at[0] * scale + 3, at[1] * scale - 3, ctx.measureText(label).width];
    if (taken.some((t) => Math.abs(t.y - y) < 1.2 * font && x < t.x + t.wide && t.x < x + wide)) continue;
    taken.push({ x, y, wide });
    haloed(ctx, label, x, y, "#c9f5ff");
  }
}

/** Zones and lines; returns their names with counts, and where each belongs, for `drawNames`. */
export function drawAnnotations(view, state) {
  const { ctx, scale, font } = view;
  const names = [];
  const counts = state.record?.counts ?? [];
  const occupancy = state.record?.occupancy ?? {};
  for (const annotation of state.annotations) {
    const zone = annotation.kind === "zone";
    const color = zone ? ZONE : LINE;
    ctx.strokeStyle = color;
    ctx.lineWidth = (zone ? 1.5 : 2.5) * view.unit;
    path(ctx, annotation.points, scale);
    if (zone) {
      ctx.closePath();
      ctx.fillStyle = color;
      ctx.globalAlpha = occupancy[annotation.name] ? 0.2 : 0.1;
      ctx.fill();
      ctx.globalAlpha = 1;
    }
    ctx.stroke();
    if (zone && annotation.arrow?.length === 2) arrow(view, annotation.arrow[0], annotation.arrow[1], color);
    if (!zone) directions(view, annotation, color);
    ctx.font = `600 ${font}px ${view.family}`;
    ctx.textBaseline = "middle";
    const text = zone ? zoneText(annotation, occupancy) : lineText(annotation, counts);
    const at = zone ? top(annotation.points) : middle(annotation.points);
    const wide = ctx.measureText(text).width;
    const x = Math.min(Math.max(4, at[0] * scale + (zone ? -wide / 2 : 8)), view.width - wide - 4);
    const y = Math.min(Math.max(font, at[1] * scale + (zone ? font : -font)), view.height - font);
    names.push({ text, x, y: y - font * 0.7, wide, high: font * 1.4, color });
  }
  return names;
}

export function drawNames(view, names) {
  view.ctx.font = `600 ${view.font}px ${view.family}`;
  view.ctx.textBaseline = "middle";
  for (const { text, x, y, high, color } of names) haloed(view.ctx, text, x, y + high / 2, color);
}

function zoneText(annotation, occupancy) {
  const n = occupancy[annotation.name];
  return n === undefined ? annotation.name : `${annotation.name}  ${n}`;
}

function lineText(annotation, counts) {
  const sum = (direction) => counts.filter((c) => c.place === annotation.name && c.direction === direction).reduce((all, c) => all + c.count, 0);
  return `${annotation.name}  ▸${sum("forward")} ◂${sum("backward")}`;
}

/** A small arrow across a line, to the side that counts as forward: the right of start to end. */
function directions(view, annotation, color) {
  const [[x1, y1], [x2, y2]] = annotation.points;
  const length = Math.hypot(x2 - x1, y2 - y1) || 1;
  const [cx, cy] = middle(annotation.points);
  const reach = (14 * view.unit) / view.scale;
  arrow(view, [cx, cy], [cx - ((y2 - y1) / length) * reach, cy + ((x2 - x1) / length) * reach], color);
}

export function arrow(view, from, to, color) {
  const { ctx, scale } = view;
  const [x1, y1, x2, y2] = [...from, ...to].map((v) => v * scale);
  const angle = Math.atan2(y2 - y1, x2 - x1);
  const head = 7 * view.unit;
  ctx.strokeStyle = ctx.fillStyle = color;
  ctx.lineWidth = 2 * view.unit;
  ctx.beginPath();
  ctx.moveTo(x1, y1);
  ctx.lineTo(x2, y2);
  ctx.stroke();
  ctx.beginPath();
  ctx.moveTo(x2 + Math.cos(angle) * head * 0.6, y2 + Math.sin(angle) * head * 0.6);
  for (const turn of [2.5, -2.5]) ctx.lineTo(x2 + Math.cos(angle + turn) * head, y2 + Math.sin(angle + turn) * head);
  ctx.closePath();
  ctx.fill();
}

export function path(ctx, points, scale) {
  ctx.beginPath();
  points.forEach(([x, y], n) => (n ? ctx.lineTo(x * scale, y * scale) : ctx.moveTo(x * scale, y * scale)));
}

function haloed(ctx, text, x, y, color) {
  ctx.lineJoin = "round";
  ctx.lineWidth = 3.5;
  ctx.strokeStyle = "rgb(0 0 0 / 0.75)";
  ctx.strokeText(text, x, y);
  ctx.fillStyle = color;
  ctx.fillText(text, x, y);
}

function middle(points) {
  return [0, 1].map((axis) => points.reduce((sum, p) => sum + p[axis], 0) / points.length);
}

function top(points) {
  const highest = Math.min(...points.map((p) => p[1]));
  const [low, high] = [Math.min(...points.map((p) => p[0])), Math.max(...points.map((p) => p[0]))];
  return [(low + high) / 2, highest];
}
