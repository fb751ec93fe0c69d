// The fields of one zone or line.

import { el } from "./dom.js";

/** A name that no zone or line has yet. */
export function freshName(kind, annotations) {
  const names = new Set(annotations.map((one) => one.name));
  for (let n = 1; ; n++) if (!names.has(`${kind} ${n}`)) return `${kind} ${n}`;
}

/** The form of `annotation`; `commit(key, value)` gets each finished change, null where a field was cleared. */
export function form(annotation, hello, commit) {
  const parts = [field("annotation-name", "Name", "wide", input("annotation-name", { value: annotation.name, maxLength: 60, required: true }, (v) => commit("name", v)))];
  if (annotation.kind === "zone") parts.push(...zoneFields(annotation, commit));
  else parts.push(el("button", { type: "button", className: "wide", onclick: () => commit("points", [...annotation.points].reverse()) }, "Swap forward and backward"));
  if (hello.calibrated) parts.push(meters(annotation, commit));
  parts.push(points(annotation, commit));
  return el("form", { onsubmit: (event) => event.preventDefault() }, ...parts);
}

function zoneFields(annotation, commit) {
  const seconds = (key, label) =>
    field(`annotation-${key}`, label, "", input(`annotation-${key}`, { type: "number", min: 0, max: 86400, step: 0.5, value: annotation[key] ?? "", placeholder: "off" }, (v) => commit(key, v === "" ? null : Number(v))));
  const direction = input("annotation-direction", { type: "number", min: -360, max: 360, step: 5, value: annotation.direction ?? "", placeholder: "any" }, (v) => commit("direction", v === "" ? null : Number(v)));
  const label = annotation.ground ? "Allowed direction, degrees on the ground" : "Allowed direction, degrees (0 right, 90 down)";
  return [seconds("dwell_s", "Dwell event after (s)"), seconds("stopped_s", "Stopped event after (s)"), field("annotation-direction", label, "wide", direction)];
}

function meters(annotation, commit) {
  const box = el("input", { type: "checkbox", id: "annotation-ground", checked: annotation.ground, onchange: (event) => commit("ground", event.target.checked) });
  return el("label", { className: "check wide", htmlFor: "annotation-ground" }, box, "On the ground, in meters");
}

/** Points as text, for users who cannot drag. */
function points(annotation, commit) {
  const value = annotation.points.map(([x, y]) => `${x}, ${y}`).join("; ");
  const box = input("annotation-points", { value, spellcheck: false }, (text) => {
    const parsed = text.split(";").map((pair) => pair.split(",").map(Number)).filter((pair) => pair.length === 2);
    if (parsed.length && parsed.flat().every(Number.isFinite)) commit("points", parsed);
  });
  return field("annotation-points", "Points, in pixels: x, y; x, y", "wide", box);
}

function input(id, properties, commit) {
  return el("input", { id, autocomplete: "off", defaultValue: properties.value, ...properties, onchange: (event) => event.target.checkValidity() && commit(event.target.value.trim()) });
}

function field(id, label, className, node) {
  return el("div", { className }, el("label", { htmlFor: id }, label), node);
}
