// The list of objects: the content of the image as text, for keyboard and screen reader too.

import { colorOf } from "./colors.js";
import { el, setText } from "./dom.js";
import { className, speedText, verdictsOf, verdictText } from "./format.js";
import { state, unit } from "./state.js";

const MAX_ROWS = 80;
const table = document.getElementById("objects");
const body = table.tBodies[0];
const rows = new Map();

/** Brings the list up to date; rows stay in place, so that the keyboard focus is kept. */
export function showObjects(select) {
  const { record, hello } = state;
  if (!record || !hello) return;
  const objects = [...record.objects].sort((a, b) => a.id - b.id).slice(0, MAX_ROWS);
  const present = new Set(objects.map((object) => object.id));
  for (const [id, row] of rows) {
    if (present.has(id)) continue;
    row.line.remove();
    rows.delete(id);
  }
  for (const object of objects) fill(rows.get(object.id) ?? addRow(object.id, select), object, hello);
  columns(objects);
  document.getElementById("objects-none").hidden = objects.length > 0;
  table.hidden = !objects.length;
  setText(document.getElementById("objects-count"), String(record.objects.length));
}

function addRow(id, select) {
  const swatch = el("span", { className: "swatch" });
  swatch.style.background = colorOf(id);
  const name = el("span");
  const button = el("button", { className: "quiet", type: "button", onclick: () => select(id) }, swatch, name);
  const [verdict, speed] = [el("td"), el("td", { className: "number" })];
  const line = el("tr", {}, el("td", {}, button), verdict, speed);
  const row = { line, name, button, verdict, speed };
  const before = [...rows.keys()].filter((other) => other < id); // in no order: lost tracks are found again
  if (before.length) rows.get(Math.max(...before)).line.after(line);
  else body.prepend(line);
  rows.set(id, row);
  return row;
}

function fill(row, object, hello) {
  setText(row.name, `${className(object)} ${object.id}`);
  row.line.classList.toggle("selected", object.id === state.selected);
  row.button.setAttribute("aria-pressed", String(object.id === state.selected));
  row.line.dataset.coasting = String(!object.detected);
  const verdicts = verdictsOf(object).map(([task, verdict]) => verdictText(task, verdict, hello.reasons));
  setCell(row.verdict, verdicts[0]);
  setCell(row.speed, speedText(object, unit(), hello.reasons));
}

function setCell(cell, one) {
  setText(cell, one?.text ?? "");
  cell.classList.toggle("abstained", Boolean(one?.abstained));
}

/** An empty column is hidden. */
function columns(objects) {
  const filled = { verdict: objects.some((o) => verdictsOf(o).length), speed: objects.some((o) => o.speed) };
  table.querySelectorAll("th[data-column]").forEach((head) => (head.hidden = !filled[head.dataset.column]));
  for (const row of rows.values()) {
    row.verdict.hidden = !filled.verdict;
    row.speed.hidden = !filled.speed;
  }
}

/** The id after (or before) the selected one, in the list's order. */
export function neighbor(step) {
  const ids = (state.record?.objects ?? []).map((object) => object.id).sort((a, b) => a - b);
  if (!ids.length) return null;
  const at = ids.indexOf(state.selected);
  return ids[at < 0 ? (step > 0 ? 0 : ids.length - 1) : (at + step + ids.length) % ids.length];
}
