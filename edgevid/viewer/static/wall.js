// The wall of cameras: small images that are fetched when there is a newer one, each a link to its camera's page.

import { colorOf } from "./colors.js";
import { el, setText } from "./dom.js";

const LIST_MS = 500;
const LINE = 2.5; // width of a box in pixels of the small image
const $ = (id) => document.getElementById(id);
const decoder = new TextDecoder();
const tiles = new Map();

function makeTile(name) {
  const canvas = el("canvas", { role: "img", "aria-label": `Newest image of ${name}` });
  const [why, facts] = [el("p"), el("span")];
  const node = el("a", { className: "tile panel", href: `camera/${encodeURIComponent(name)}/` },
    el("div", { className: "picture" }, canvas, why), el("div", { className: "caption" }, el("strong", {}, name), facts));
  return { node, canvas, why, facts, n: 0, count: 0, busy: false };
}

async function show(tile, name, n) {
  if (tile.busy || tile.n === n) return;
  tile.busy = true;
  try {
    const answer = await fetch(`api/tile/${encodeURIComponent(name)}`);
    if (answer.status !== 200) return;
    const data = await answer.arrayBuffer();
    const length = new DataView(data).getUint32(0, true);
    const record = JSON.parse(decoder.decode(new Uint8Array(data, 4, length)));
    const bitmap = await createImageBitmap(new Blob([new Uint8Array(data, 4 + length)], { type: "image/jpeg" }));
    paint(tile.canvas, bitmap, record);
    bitmap.close();
    [tile.n, tile.count] = [n, record.objects.length];
  } catch {
    // the next one comes soon
  } finally {
    tile.busy = false;
  }
}

function paint(canvas, bitmap, record) {
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const scale = bitmap.width / record.size[0];
  context.lineWidth = LINE;
  for (const { id, box } of record.objects) {
    const [x1, y1, x2, y2] = box.map((value) => value * scale);
    context.strokeStyle = colorOf(id);
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
  }
}

function describe(row, count) {
  if (row.state !== "running") return row.state;
  const lag = row.lag_s >= 0.5 ? ` · ${row.lag_s.toFixed(1)} s late` : "";
  return `${row.fps.toFixed(1)} fps · ${count} object${count === 1 ? "" : "s"}${lag}`;
}

function update(rows) {
  const names = new Set(rows.map((row) => row.name));
  for (const [name, tile] of tiles) if (!names.has(name)) tile.node.remove(), tiles.delete(name);
  rows.forEach((row, place) => {
    if (!tiles.has(row.name)) tiles.set(row.name, makeTile(row.name));
    const tile = tiles.get(row.name);
    if ($("wall").children[place] !== tile.node) $("wall").insertBefore(tile.node, $("wall").children[place] ?? null);
    tile.node.dataset.state = row.state;
    setText(tile.facts, describe(row, tile.count));
    setText(tile.why, row.state === "running" ? "" : row.detail);
    if (!document.hidden) show(tile, row.name, row.n);
  });
  const running = rows.filter((row) => row.state === "running");
  const rate = running.reduce((sum, row) => sum + row.fps, 0);
  const others = rows.length - running.length;
  setText($("summary"), `${rows.length} cameras · ${rate.toFixed(1)} fps in all${others ? ` · ${others} not running` : ""}`);
}

async function look() {
  try {
    const answer = await fetch("api/cameras");
    if (answer.status === 401) return location.reload();
    update(await answer.json());
  } catch {
    setText($("summary"), "reconnecting");
  }
  setTimeout(look, LIST_MS);
}

look();
