// Ratings of verdicts, right or wrong, on the cards of their events; stored with the decisions of the review page.

import { el, toast } from "./dom.js";
import { state } from "./state.js";

const WORDS = { "(right)": "Right", "(wrong)": "Wrong" };
const KEYS = { r: "(right)", w: "(wrong)" };
const known = new Map(); // item -> rating
const itemOf = (event) => `${event.id}~${event.task}~${event.track}~${event.label}`;

/** Takes the ratings that are stored already. */
export async function loadRatings() {
  const answer = await fetch("review/api/review/ratings").catch(() => null);
  for (const row of answer?.ok ? await answer.json() : []) known.set(row.item, row.label);
  document.querySelectorAll("#events .rating").forEach(paint);
}

/** What rates an event, null for one that emits no verdict, and without a folder for reviews. */
export function ratingOf(event) {
  if (!state.hello?.review || !["verdict", "verdict-changed"].includes(event.kind) || !event.label) return null;
  const node = el("span", { className: "rating" });
  node.dataset.item = itemOf(event);
  node.dataset.name = `${event.class_name || "object"} ${event.track}: ${event.label}`;
  paint(node);
  return node;
}

function paint(node) {
  const { item, name } = node.dataset;
  const rating = known.get(item);
  if (!state.hello?.operator) {
    const text = el("b", {}, WORDS[rating] ?? "");
    text.dataset.rating = rating ?? "";
    node.replaceChildren(...(rating ? ["Rated: ", text] : []));
    return;
  }
  if (!node.children.length) {
    node.append(...Object.entries(WORDS).map(([label, word]) => {
      const button = el("button", { type: "button", title: `${word} (${word[0]})`, onclick: () => rate(item, label) }, word);
      button.dataset.rating = label;
      button.setAttribute("aria-label", `${word}: ${name}`);
      return button;
    }));
  }
  for (const button of node.children) button.setAttribute("aria-pressed", String(button.dataset.rating === rating));
}

async function rate(item, label) {
  const sent = { batch: crypto.getRandomValues(new Uint32Array(4)).join("-"), reviewer: reviewer(), labels: { [item]: label } };
  const answer = await fetch("review/api/review", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(sent) }).catch(() => null);
  if (!answer?.ok) {
    const told = await answer?.json().catch(() => null);
    toast(told?.error ?? "The rating is not saved: the server did not take it. Try again.", 8);
    return;
  }
  known.set(item, label);
  for (const node of document.querySelectorAll("#events .rating")) if (node.dataset.item === item) paint(node);
}

/** The name that was typed on the review page. */
function reviewer() {
  try {
    return localStorage.getItem("edgevid-reviewer")?.trim() || "operator";
  } catch {
    return "operator";
  }
}

document.getElementById("events").addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !state.choices.keys || !state.hello?.operator) return;
  const label = KEYS[event.key.toLowerCase()];
  const item = event.target.closest("li")?.querySelector(".rating")?.dataset.item;
  if (!label || !item) return;
  event.preventDefault();
  rate(item, label);
});
