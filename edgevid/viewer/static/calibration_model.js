// The calibration and its undo history, without any page.

/** A new calibration of an image of `size`: a rectangle in its middle, without meters. */
export function fresh(size) {
  const [w, h] = size;
  const at = (x, y) => [Math.round(w * x), Math.round(h * y)];
  return {
    mode: "rectangle",
    rectangle: [at(0.3, 0.82), at(0.7, 0.82), at(0.6, 0.5), at(0.4, 0.5)],
    width: null,
    length: null,
    points: [],
    region: null,
    lens: { k1: null, focal: null },
  };
}

/** What is still empty, or no number, as an answer of /api/solve; null where all is there. */
export function missing({ mode, points, width, length, lens }) {
  const fields = [["k1", lens.k1], ["focal length", lens.focal]];
  if (mode === "rectangle") fields.push(["width", width], ["length", length]);
  else points.forEach(({ x, y }, n) => fields.push([`point ${n + 1}`, x], [`point ${n + 1}`, y]));
  const wrong = fields.find(([, value]) => typeof value === "string");
  if (wrong) return { ok: false, error: `Expected a number for ${wrong[0]}, got '${wrong[1]}'` };
  const empty = (error) => ({ ok: false, incomplete: true, error });
  if (mode === "rectangle") {
    return width === null || length === null ? empty("Enter the rectangle's width and length in meters") : null;
  }
  const lacking = points.map(({ x, y }, n) => (x === null || y === null ? n + 1 : 0)).filter(Boolean);
  const whole = points.length - lacking.length;
  const more = lacking.length ? `; ${lacking.length} without meters` : "";
  if (whole < 4) return empty(`Expected at least 4 points with meters, got ${whole}${more}`);
  return lacking.length ? empty(`Enter the meters of point ${lacking[0]}, or remove it`) : null;
}

/** The calibration as the tables of its file. */
export function toTables({ mode, rectangle, width, length, points, region, lens }) {
  return {
    lens: { k1: lens.k1 ?? 0, focal_px: lens.focal ?? 0 },
    ...(region && { region: { pixels: region } }),
    ...(mode === "rectangle"
      ? { rectangle: { pixels: rectangle, width_m: width, length_m: length } }
      : { points: points.map(({ u, v, x, y }) => ({ pixel: [u, v], meter: [x, y] })) }),
  };
}

/** The calibration of the tables of a file; null without. */
export function fromTables(tables) {
  if (!tables) return null;
  const { lens, region, rectangle, points } = tables;
  return {
    lens: { k1: lens?.k1 ?? null, focal: lens?.focal_px ?? null },
    region: region?.pixels ?? null,
    ...(rectangle
      ? { mode: "rectangle", rectangle: rectangle.pixels, width: rectangle.width_m, length: rectangle.length_m }
      : { mode: "points", points: points.map(({ pixel: [u, v], meter: [x, y] }) => ({ u, v, x, y })) }),
  };
}

/** Holds the calibration and its undo history; `changed` is called after each change. */
export class Model {
  constructor(size, existing, changed) {
    this.size = size;
    this.now = { ...fresh(size), ...(existing ?? {}) };
    this.changed = changed;
    this.past = [];
    this.future = [];
    this.last = { key: "", time: 0 };
  }

  /** Changes the calibration by `edit(calibration)`. Edits of one `key` in a row, close in time, are one undo step. */
  edit(key, edit) {
    const before = JSON.stringify(this.now);
    edit(this.now);
    if (JSON.stringify(this.now) === before) return;
    const time = performance.now();
    if (!(key && key === this.last.key && time - this.last.time < 900)) {
      this.past.push(before);
      if (this.past.length > 200) this.past.shift();
    }
    this.last = { key, time };
    this.future = [];
    this.changed();
  }

  undo() {
    this.#swap(this.past, this.future);
  }

  redo() {
    this.#swap(this.future, this.past);
  }

  #swap(from, to) {
    if (!from.length) return;
    to.push(JSON.stringify(this.now));
    this.now = JSON.parse(from.pop());
    this.last = { key: "", time: 0 };
    this.changed();
  }

  /** Every handle on the image: {kind, index, at: [u, v], label}. */
  handles() {
    const s = this.now;
    const names = ["near left", "near right", "far right", "far left"];
    const main =
      s.mode === "rectangle"
        ? s.rectangle.map((at, index) => ({ kind: "rectangle", index, at, label: `Corner ${index + 1}, ${names[index]}` }))
        : s.points.map((p, index) => ({ kind: "points", index, at: [p.u, p.v], label: `Point ${index + 1}` }));
    const region = (s.region ?? []).map((at, index) => ({ kind: "region", index, at, label: `Region corner ${index + 1}` }));
    return [...main, ...region];
  }

  /** Puts a handle at [u, v], inside the image, to a hundredth of a pixel. */
  move(kind, index, at, key) {
    const [u, v] = at.map((value, n) => Math.round(Math.min(Math.max(value, 0), this.size[n]) * 100) / 100);
    this.edit(key, (s) => {
      if (kind === "points") Object.assign(s.points[index], { u, v });
      else s[kind][index] = [u, v];
    });
  }

  /** Removes a point or a corner of the region; whether there was one. */
  remove(kind, index) {
    if (kind === "points") this.edit("", (s) => s.points.splice(index, 1));
    else if (kind === "region" && this.now.region.length > 3) this.edit("", (s) => s.region.splice(index, 1));
    else if (kind === "region") this.edit("", (s) => (s.region = null));
    else return false;
    return true;
  }

  /** Rectangle or points; the first time, the rectangle's corners become points. */
  setMode(mode) {
    this.edit("", (s) => {
      if (mode === "points" && !s.points.length) {
        const { width: w, length: l } = s;
        const x = [0, w, w, 0];
        const y = [0, 0, l, l];
        s.points = s.rectangle.map(([u, v], n) => ({ u, v, x: x[n], y: y[n] }));
      }
      s.mode = mode;
    });
  }

  /** A region around the calibrated points: their bounding box with a margin. */
  makeRegion() {
    const at = this.handles().filter((one) => one.kind !== "region").map((one) => one.at);
    const [w, h] = this.size;
    const range = (n, size) => {
      const values = at.map((p) => p[n]);
      const pad = 0.04 * size;
      return [Math.max(0, Math.min(...values) - pad), Math.min(size, Math.max(...values) + pad)];
    };
    const [[x1, x2], [y1, y2]] = at.length ? [range(0, w), range(1, h)] : [[0.2 * w, 0.8 * w], [0.5 * h, 0.95 * h]];
    this.edit("", (s) => (s.region = [[x1, y2], [x2, y2], [x2, y1], [x1, y1]].map((p) => p.map(Math.round))));
  }

  /** One more corner, in the middle of the region's longest side; its index. */
  splitRegion() {
    const r = this.now.region;
    const length = r.map((p, n) => Math.hypot(p[0] - r[(n + 1) % r.length][0], p[1] - r[(n + 1) % r.length][1]));
    const n = length.indexOf(Math.max(...length));
    const next = r[(n + 1) % r.length];
    const middle = [0, 1].map((k) => Math.round((r[n][k] + next[k]) / 2));
    this.edit("", (s) => s.region.splice(n + 1, 0, middle));
    return n + 1;
  }
}

/** A typed number, with a decimal point or comma; null for an empty field, the text where it is not a number. */
export function typed(text) {
  const plain = text.trim().replace(",", ".");
  const number = Number(plain);
  return plain === "" ? null : Number.isFinite(number) ? number : text;
}
