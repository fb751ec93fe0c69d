// The labels: their text, and where there is room for them.

import { colorOf } from "./colors.js";
import { className, speedText, verdictsOf, verdictText } from "./format.js";

const PLATE = "rgb(13 15 18 / 0.86)";
const INK = "#ffffff";
const DIM = "#b9c1ca";

/** The lines of a label: [{text, abstained}]; small boxes show the name and what was emitted. */
export function lines(view, object, hello, unit, mode, chosen) {
  const name = { text: `${className(object)} ${object.id}`, abstained: false };
  if (mode === "name") return [name];
  const tall = (object.box[3] - object.box[1]) * view.scale;
  const speed = speedText(object, unit, hello.reasons);
  const verdicts = verdictsOf(object).map(([task, verdict]) => verdictText(task, verdict, hello.reasons));
  if ((mode === "short" || tall < 62 * view.unit) && !chosen) {
    if (speed && !speed.abstained) name.text += `  ${speed.text}`;
    return [name, ...verdicts.filter((one) => !one.abstained && mode !== "short")];
  }
  if (speed?.abstained) speed.text = `no speed: ${speed.text}`;
  return [name, ...verdicts, ...(speed ? [speed] : [])];
}

/**
 * Draws the labels of `objects`, the most important first. Where there is no room for all lines, the name
 * alone, with "…" for the others; where there is none for that, a white square: the list shows it.
 * `chosen(object)` is always drawn in full. `linesOf(object, mode)` gives the lines; `names` are covered already.
 */
export function drawLabels(view, objects, linesOf, chosen, names) {
  const taken = [...names];
  for (const object of objects) {
    const forms = [linesOf(object), linesOf(object, "name")];
    if (linesOf(object, "all").some((one, n) => n || one.text !== forms[1][0].text)) forms[1][0].text += " …";
    const found = forms.map((text) => placed(view, object, text, taken)).find((one) => one.free) ?? (chosen(object) && placed(view, object, forms[0], taken));
    if (found) {
      taken.push(found);
      plate(view, object, found);
    } else {
      view.ctx.fillStyle = INK;
      view.ctx.fillRect(object.box[0] * view.scale, object.box[1] * view.scale, 5 * view.unit, 5 * view.unit);
    }
  }
}

function style(view, text, line) {
  return `${line.abstained ? "italic " : ""}${line === text[0] ? "600 " : ""}${view.font}px ${view.family}`;
}

/** {x, y, wide, high, text, free}: next to the box where it covers no other label, else the first choice. */
function placed(view, object, text, taken) {
  const { ctx, scale, font, unit } = view;
  const widths = text.map((line) => ((ctx.font = style(view, text, line)), ctx.measureText(line.text).width));
  const wide = Math.max(...widths) + 10 * unit + 3;
  const high = font * 1.3 * text.length + 5 * unit;
  const [x1, y1, x2, y2] = object.box.map((v) => v * scale);
  const left = x1 - unit;
  const spots = [[left, y1 - high - unit], [left, y2 + 2], [left, y1 + 2], [x2 + 2, y1], [x1 - wide - 2, y1], [left, y2 - high - 2]];
  const visible = ([x, y]) => y >= 0 && y + high <= view.height && x > -wide / 3 && x < view.width - wide / 2;
  const inside = ([x, y]) => [Math.min(Math.max(0, x), Math.max(0, view.width - wide)), Math.min(Math.max(0, y), Math.max(0, view.height - high))];
  const shown = spots.filter(visible).map(inside);
  const free = ([x, y]) => taken.every((t) => x >= t.x + t.wide || t.x >= x + wide || y >= t.y + t.high || t.y >= y + high);
  const best = shown.find(free);
  const [x, y] = best ?? shown[0] ?? inside(spots[2]);
  return { x, y, wide, high, text, free: best !== undefined };
}

function plate(view, object, { x, y, wide, high, text }) {
  const { ctx, font, unit } = view;
  ctx.globalAlpha = object.detected ? 1 : 0.78;
  ctx.fillStyle = PLATE;
  ctx.beginPath();
  ctx.roundRect(x, y, wide, high, 3 * unit);
  ctx.fill();
  ctx.fillStyle = colorOf(object.id);
  ctx.fillRect(x, y, 3 * unit, high);
  ctx.textBaseline = "middle";
  text.forEach((line, n) => {
    ctx.font = style(view, text, line);
    ctx.fillStyle = line.abstained ? DIM : INK;
    ctx.fillText(line.text, x + 8 * unit, y + 2.5 * unit + font * 1.3 * (n + 0.5));
  });
  ctx.globalAlpha = 1;
}
