// The two canvases: the image, and the overlay above it; one animation frame paints both.

import { paint } from "./draw.js";
import { state, unit } from "./state.js";

const FAMILY = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif';
const screen = document.getElementById("screen");
const image = document.getElementById("image");
const overlay = document.getElementById("overlay");
const extras = []; // further painters, for the editor
let pending = false;

export { overlay, screen };

/** Paints again before the next screen refresh. */
export function redraw() {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => {
    pending = false;
    draw();
  });
}

export function addPainter(painter) {
  extras.push(painter);
}

/** Frame pixels of a pointer event. */
export function framePoint(event) {
  const rect = overlay.getBoundingClientRect();
  const { scale, left, top } = fit(rect.width, rect.height);
  return [(event.clientX - rect.left - left) / scale, (event.clientY - rect.top - top) / scale];
}

/** CSS pixels per frame pixel, for hit tests of a constant size on the screen. */
export function shownScale() {
  const rect = overlay.getBoundingClientRect();
  return fit(rect.width, rect.height).scale;
}

function fit(width, height) {
  const [w, h] = size();
  const scale = Math.min(width / w, height / h);
  return { scale, left: (width - w * scale) / 2, top: (height - h * scale) / 2 };
}

function size() {
  return state.record?.size ?? (state.hello?.size[0] ? state.hello.size : [16, 9]);
}

export function shape() {
  const [w, h] = size();
  screen.style.aspectRatio = `${w} / ${h}`;
  // As wide as possible without exceeding the height limit.
  screen.style.width = `min(100%, calc(max(240px, 100dvh - 170px) * ${w / h}))`;
  redraw();
}

function draw() {
  const rect = overlay.getBoundingClientRect();
  if (!rect.width) return;
  const ratio = Math.min(window.devicePixelRatio || 1, 3);
  const { scale, left, top } = fit(rect.width, rect.height);
  for (const canvas of [image, overlay]) sized(canvas, Math.round(rect.width * ratio), Math.round(rect.height * ratio));
  const [w, h] = size();
  if (state.bitmap) {
    const ctx = image.getContext("2d", { alpha: false });
    ctx.imageSmoothingQuality = "high";
    ctx.fillStyle = "#000";
    ctx.fillRect(0, 0, image.width, image.height);
    ctx.drawImage(state.bitmap, left * ratio, top * ratio, w * scale * ratio, h * scale * ratio);
  }
  const ctx = overlay.getContext("2d");
  ctx.setTransform(1, 0, 0, 1, 0, 0);
  ctx.clearRect(0, 0, overlay.width, overlay.height);
  ctx.setTransform(ratio, 0, 0, ratio, left * ratio, top * ratio);
  const view = viewOf(ctx, w * scale, h * scale, scale);
  paint(view, state, unit());
  for (const painter of extras) painter(view);
  document.documentElement.dataset.frame = state.record?.n ?? "";
}

/** Sizes grow slowly with the image: readable on a phone and on a large screen. */
function viewOf(ctx, width, height, scale) {
  const part = Math.min(1.6, Math.max(0.8, width / 900));
  return { ctx, width, height, scale, unit: part, font: Math.max(10.5, 12.5 * part), family: FAMILY };
}

function sized(canvas, width, height) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
}

/** The displayed image with its overlay, as a PNG at least 1280 pixels wide. */
export async function snapshot() {
  if (!state.bitmap) return null;
  const [w, h] = size();
  const scale = Math.max(1, 1280 / w, state.bitmap.width / w);
  const canvas = new OffscreenCanvas(Math.round(w * scale), Math.round(h * scale));
  const ctx = canvas.getContext("2d");
  ctx.imageSmoothingQuality = "high";
  ctx.drawImage(state.bitmap, 0, 0, canvas.width, canvas.height);
  paint(viewOf(ctx, canvas.width, canvas.height, scale), { ...state, hovered: null, selected: null }, unit());
  return canvas.convertToBlob({ type: "image/png" });
}

new ResizeObserver(redraw).observe(screen);
