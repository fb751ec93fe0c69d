// Small charts: stage times of the latest frames, and one object's speed.

import { stageColor } from "./colors.js";
import { inUnit, ms, number } from "./format.js";

const FRAMES = 120;
const history = [];

/** Records one frame's stage times in milliseconds. */
export function recordTimings(stages) {
  history.push(stages);
  if (history.length > FRAMES) history.shift();
}

/** Stacked bars, newest to the right; a dashed line at the time per frame beyond which the pipeline is slower than the source. */
export function drawTimings(canvas, fps) {
  const { ctx, width, height, ink } = prepared(canvas);
  const totals = history.map((one) => Object.values(one).reduce((sum, v) => sum + v, 0));
  if (!totals.length) return;
  const highest = Math.max(...[...totals].sort((a, b) => a - b).slice(0, Math.ceil(totals.length * 0.98)), 0.5);
  const limit = nice(highest * 1.08);
  const plot = { left: 0, top: 12, right: width - 56, bottom: height - 1 };
  const bar = (plot.right - plot.left) / FRAMES;
  const y = (v) => plot.bottom - Math.min(1, v / limit) * (plot.bottom - plot.top);
  ctx.font = "11px system-ui, sans-serif";
  ctx.textBaseline = "middle";
  for (const value of [limit, limit / 2]) {
    ctx.strokeStyle = ink.edge;
    line(ctx, plot.left, y(value), plot.right, y(value));
    ctx.fillStyle = ink.dim;
    ctx.fillText(ms(value), plot.right + 6, y(value));
  }
  history.forEach((one, n) => {
    let from = 0;
    const x = plot.right - (history.length - n) * bar;
    for (const [stage, value] of Object.entries(one)) {
      ctx.fillStyle = stageColor(stage);
      ctx.fillRect(x, y(from + value), Math.max(1, bar - 0.6), y(from) - y(from + value));
      from += value;
    }
  });
  const budget = fps ? 1000 / fps : 0;
  if (budget && budget < limit) {
    ctx.setLineDash([4, 3]);
    ctx.strokeStyle = ink.warn;
    line(ctx, plot.left, y(budget), plot.right, y(budget));
    ctx.setLineDash([]);
  }
}

/** [[stage, median ms]] of the recorded frames, and the median of whole frames. */
export function medians() {
  const stages = [...new Set(history.flatMap((one) => Object.keys(one)))];
  const totals = history.map((one) => Object.values(one).reduce((sum, v) => sum + v, 0));
  return { stages: stages.map((stage) => [stage, median(history.map((one) => one[stage] ?? 0))]), total: median(totals) };
}

/** Speed over the last seconds, with its standard error as a band; abstentions are gaps. */
export function drawTrace(canvas, points, seconds, color, unit) {
  const { ctx, width, height, ink } = prepared(canvas);
  const values = points.filter((p) => p.mps !== null);
  if (values.length < 2) return;
  const now = points.at(-1).time;
  const limit = nice(Math.max(...values.map((p) => inUnit(p.mps + p.sigma, unit)), 1));
  const plot = { left: 0, top: 10, right: width - 30, bottom: height - 2 };
  const x = (t) => plot.right - ((now - t) / seconds) * (plot.right - plot.left);
  const y = (v) => plot.bottom - Math.min(1, Math.max(0, inUnit(v, unit) / limit)) * (plot.bottom - plot.top);
  ctx.font = "11px system-ui, sans-serif";
  ctx.textBaseline = "middle";
  for (const value of [0, limit]) {
    const at = value ? plot.top : plot.bottom;
    ctx.strokeStyle = ink.edge;
    line(ctx, plot.left, at, plot.right, at);
    ctx.fillStyle = ink.dim;
    ctx.fillText(number(value), plot.right + 6, value ? at : at - 5);
  }
  for (const run of runs(points)) {
    ctx.fillStyle = color;
    ctx.globalAlpha = 0.28;
    ctx.beginPath();
    run.forEach((p, n) => ctx[n ? "lineTo" : "moveTo"](x(p.time), y(p.mps + p.sigma)));
    [...run].reverse().forEach((p) => ctx.lineTo(x(p.time), y(p.mps - p.sigma)));
    ctx.fill();
    ctx.globalAlpha = 1;
    ctx.strokeStyle = color;
    ctx.lineWidth = 2;
    ctx.beginPath();
    run.forEach((p, n) => ctx[n ? "lineTo" : "moveTo"](x(p.time), y(p.mps)));
    ctx.stroke();
  }
}

function runs(points) {
  const found = [[]];
  for (const p of points) {
    if (p.mps === null) found.push([]);
    else found.at(-1).push(p);
  }
  return found.filter((run) => run.length > 1);
}

function prepared(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const { width, height } = canvas.getBoundingClientRect();
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const ctx = canvas.getContext("2d");
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.lineWidth = 1;
  const style = getComputedStyle(document.documentElement);
  const ink = Object.fromEntries(["edge", "dim", "warn"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  return { ctx, width, height, ink };
}

function line(ctx, x1, y1, x2, y2) {
  ctx.beginPath();
  ctx.moveTo(x1, Math.round(y1) + 0.5);
  ctx.lineTo(x2, Math.round(y2) + 0.5);
  ctx.stroke();
}

/** The next round number above: 1, 2 or 5 times a power of ten. */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 6, 8, 10].map((k) => k * power).find((v) => v >= value - 1e-9);
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length ? sorted[sorted.length >> 1] : 0;
}
