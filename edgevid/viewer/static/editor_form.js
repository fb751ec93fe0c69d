// The fields of one zone or line.

import { el } from "./dom.js";

/** A name that no place has yet. */
export function freshName(kind, places) {
  const names = new Set(places.map((place) => place.name));
  for (let n = 1; ; n++) if (!names.has(`${kind} ${n}`)) return `${kind} ${n}`;
}

/** The form of `place`; `commit(key, value)` takes each finished change, null where a field was emptied. */
export function form(place, hello, commit) {
  const parts = [field("place-name", "Name", "wide", input("place-name", { value: place.name, maxLength: 60, required: true }, (v) => commit("name", v)))];
  if (place.kind === "zone") parts.push(...zoneFields(place, commit));
  else parts.push(el("button", { type: "button", className: "wide", onclick: () => commit("points", [...place.points].reverse()) }, "Swap forward and backward"));
  if (hello.calibrated) parts.push(meters(place, commit));
  parts.push(points(place, commit));
  return el("form", { onsubmit: (event) => event.preventDefault() }, ...parts);
}

function zoneFields(place, commit) {
  const seconds = (key, words) =>
    field(`place-${key}`, words, "", input(`place-${key}`, { type: "number", min: 0, max: 86400, step: 0.5, value: place[key] ?? "", placeholder: "off" }, (v) => commit(key, v === "" ? null : Number(v))));
  const way = input("place-direction", { type: "number", min: -360, max: 360, step: 5, value: place.direction ?? "", placeholder: "any" }, (v) => commit("direction", v === "" ? null : Number(v)));
  const words = place.ground ? "Allowed way, degrees on the ground" : "Allowed way, degrees (0 right, 90 down)";
  return [seconds("dwell_s", "Tell stays over (s)"), seconds("stopped_s", "Tell standing over (s)"), field("place-direction", words, "wide", way)];
}

function meters(place, commit) {
  const box = el("input", { type: "checkbox", id: "place-ground", checked: place.ground, onchange: (event) => commit("ground", event.target.checked) });
  return el("label", { className: "check wide", htmlFor: "place-ground" }, box, "On the ground, in meters");
}

/** Points as text: what cannot drag can type. */
function points(place, commit) {
  const value = place.points.map(([x, y]) => `${x}, ${y}`).join("; ");
  const box = input("place-points", { value, spellcheck: false }, (text) => {
    const given = text.split(";").map((pair) => pair.split(",").map(Number)).filter((pair) => pair.length === 2);
    if (given.length && given.flat().every(Number.isFinite)) commit("points", given);
  });
  return field("place-points", "Points, in pixels: x, y; x, y", "wide", box);
}

function input(id, properties, commit) {
  return el("input", { id, autocomplete: "off", defaultValue: properties.value, ...properties, onchange: (event) => event.target.checkValidity() && commit(event.target.value.trim()) });
}

function field(id, words, className, node) {
  return el("div", { className }, el("label", { htmlFor: id }, words), node);
}
