// The review page: items and decisions come from the server, queues and groups are made here.

import { el, setText, toast } from "./dom.js";

const $ = (id) => document.getElementById(id);
const NONE = "(none of these)";
const UNCLEAR = "(cannot tell)";
const POLL_MS = 2000;
const NEW_MS = 10_000; // between two looks for verdicts that a run has saved meanwhile
const BASE = location.pathname.replace(/\/$/, ""); // "/review" where this page is a tab of the viewer
const form = $("filters");
const KEY = "edgevid-reviewer";
const shown = (label) => ({ [NONE]: "None of these", [UNCLEAR]: "Cannot tell" })[label] ?? label;
const REASONS = { OK: "emitted", LOW_CONFIDENCE: "low confidence", LOW_MARGIN: "low margin", DISAGREEMENT: "observations disagree" };

let items = new Map(); // by id
let second = new Set(); // ids of the second pass
let decisions = new Map(); // of the server's log, by number
let votes = new Map(); // item -> reviewer and pass -> label
let own = new Map(); // labels of this session, which a blind answer does not repeat
let newest = 0;
let stale = true; // whether audit and agreement are older than the decisions
let toldAt = -POLL_MS;
let group = []; // the items that are shown
let at = 0; // the one that has the focus
let proposed = new Map(); // item -> label, "" where it is taken out
let moved = false; // whether an arrow was pressed in this group
let place = 0; // of the group in its queue
let unsent = []; // requests that the server has not answered, in their order
let sending = false;
let done = 0; // decisions that are on the disk
let operator = true; // whether this page may decide
let lookedAt = 0; // for new verdicts

const reviewer = () => $("reviewer").value.trim();
const chosen = () => Object.fromEntries(new FormData(form));
const isSecond = () => form.elements.queue.value === "second";
const isBlind = () => form.elements.blind.checked || isSecond() || form.elements.queue.value === "others";
const kindOf = (item) => (item.reason !== "OK" ? "abstained" : item.draw < item.rate ? "audit" : "low");
const answerOf = (item) => item.label || "";

// What the server knows.

async function get(name, query = {}) {
  const blind = isBlind() ? { blind: 1 } : {};
  const reply = await fetch(`${BASE}/api/review/${name}?${new URLSearchParams({ ...query, ...blind })}`);
  if (!reply.ok && name !== "audit") throw new Error(`${reply.status}`);
  return reply.json();
}

async function load() {
  try {
    operator = (await get("role")).operator;
    document.documentElement.dataset.operator = String(operator);
    await loadItems();
    decisions = new Map();
    votes = new Map();
    newest = 0;
    await update();
    fillChoices();
    show();
    problem("");
    document.documentElement.dataset.ready = "true";
  } catch {
    problem("The server does not answer. Is edgevid review still running?");
    setTimeout(load, POLL_MS);
  }
}

async function loadItems() {
  const rows = await get("items");
  for (const [n, row] of rows.entries()) {
    row.n = n;
    row.names = JSON.parse(row.names ?? "[]");
    row.scores = JSON.parse(row.scores ?? "[]");
  }
  items = new Map(rows.map((row) => [row.id, row]));
  lookedAt = performance.now();
  setText($("title"), [...new Set(rows.map((row) => row.camera))].slice(0, 3).join(", "));
}

/** Takes what a run has saved since, but not while a group is being labeled. */
async function takeNew() {
  if (proposed.size || unsent.length || performance.now() - lookedAt < NEW_MS) return;
  lookedAt = performance.now();
  if ((await get("count"))[0].items === items.size) return;
  await loadItems();
  fillChoices();
  stale = true;
  show();
}

/** Takes the decisions of all reviewers since the last time. */
async function update() {
  const rows = await get("decisions", { after: newest });
  for (const row of rows) {
    decisions.set(row.id, row);
    newest = Math.max(newest, row.id);
  }
  if (rows.length || !newest) {
    replay();
    stale = true;
    if (isSecond()) second = new Set((await get("second")).map((row) => row.id));
  }
  if (stale && performance.now() - toldAt > POLL_MS / 2) {
    stale = false;
    toldAt = performance.now();
    const [told, agreed] = [await get("audit"), await get("agreement")];
    setText($("audit"), told.error ? `${told.error[0].toUpperCase()}${told.error.slice(1)}.` : told);
    $("agreement").replaceChildren(...agreed.map((row) => el("li", {}, row.text)));
  }
  return rows.length;
}

/** The last word of each reviewer in each pass, as review.sql's view `votes`. */
function replay() {
  const undone = new Set([...decisions.values()].map((row) => row.undoes).filter(Boolean));
  votes = new Map();
  for (const row of decisions.values()) {
    if (row.undoes || undone.has(row.batch)) continue;
    if (!votes.has(row.item)) votes.set(row.item, new Map());
    votes.get(row.item).set(`${row.pass} ${row.reviewer}`, row.label);
  }
}

async function poll() {
  try {
    if (!sending && !unsent.length && (await update())) show();
    await takeNew();
    if (!unsent.length) problem("");
  } catch {
    problem("The server does not answer. Is edgevid review still running? Labels wait in this page.");
  }
  setTimeout(poll, POLL_MS);
}

/** Sends what was decided, again until the server has it: a batch that arrives twice counts once. */
async function send() {
  if (sending) return;
  sending = true;
  while (unsent.length) {
    showSaved();
    try {
      const reply = await fetch(`${BASE}/api/review`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(unsent[0]) });
      const answer = await reply.json();
      if (!reply.ok) {
        toast(answer.error ?? "not saved", 8);
      } else if (Array.isArray(answer)) {
        for (const item of answer) for (const key of [item, `2 ${item}`]) own.delete(key);
        toast(answer.length ? `Undone: ${answer.length === 1 ? "one label" : `${answer.length} labels`}` : "Nothing to undo");
      } else done += 1;
      const undo = unsent.shift();
      problem("");
      if (!undo.labels) {
        await update();
        show(Array.isArray(answer) ? answer[0] : null);
      }
    } catch {
      problem(`Not saved yet: ${unsent.length}. The server does not answer; this page tries again. Do not close it.`);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS / 2));
    }
  }
  sending = false;
  showSaved();
  update().catch(() => {});
}

function showSaved() {
  setText($("saved"), unsent.length ? `saving ${unsent.length}` : "saved");
  document.documentElement.dataset.saved = String(done);
}

function problem(text) {
  setText($("problem"), text);
  $("problem").hidden = !text;
}

// Queues and groups.

function inQueue(item) {
  const mine = votes.get(item.id);
  const has = (pass, who) => [...(mine?.keys() ?? [])].some((key) => key.startsWith(`${pass} `) && (!who || key === `${pass} ${who}`));
  switch (form.elements.queue.value) {
    case "open": return !has(1) && !own.has(item.id);
    case "others": return has(1) && !has(1, reviewer()) && !own.has(item.id);
    case "second": return second.has(item.id) && !has(2, reviewer()) && !own.has(`2 ${item.id}`);
    default: return has(1, reviewer()) || own.has(item.id);
  }
}

function passes(item) {
  const { kind, camera, label, reason, after, before } = chosen();
  if ((kind && kindOf(item) !== kind) || (camera && item.camera !== camera) || (reason && item.reason !== reason)) return false;
  if (label && !isBlind() && item.label !== label) return false;
  return !(after && item.utc < new Date(after).toISOString()) && !(before && item.utc >= new Date(before).toISOString());
}

/** Groups of the queue, in an order that begins elsewhere for each reviewer, so that two rarely meet. */
function queue() {
  const found = new Map();
  for (const item of items.values()) {
    if (!passes(item) || !inQueue(item)) continue;
    const alone = isSecond() || kindOf(item) === "audit";
    const key = alone ? item.id : (item.group ?? item.id);
    if (!found.has(key)) found.set(key, []);
    found.get(key).push(item);
  }
  let groups = [...found.values()];
  if (isSecond()) groups = groups.sort(([a], [b]) => hash(a.id) - hash(b.id));
  const start = form.elements.queue.value === "open" && items.size ? hash(reviewer()) % items.size : 0;
  const turn = groups.findIndex(([item]) => item.n >= start);
  return turn > 0 ? [...groups.slice(turn), ...groups.slice(0, turn)] : groups;
}

function hash(text) {
  let value = 7;
  for (const letter of text) value = (value * 31 + letter.codePointAt(0)) >>> 0;
  return value;
}

// What is shown.

/** The group at the place in the queue, or that of an item. */
function show(item = null) {
  const groups = queue();
  const same = groups.findIndex((some) => some.some((one) => one.id === (item ?? group[0]?.id)));
  if (same >= 0) place = same;
  place = Math.max(0, Math.min(place, groups.length - 1));
  const next = groups[place] ?? [];
  if (next.map((one) => one.id).join() !== group.map((one) => one.id).join()) {
    group = next;
    proposed = new Map([...proposed].filter(([id]) => group.some((one) => one.id === id)));
    at = 0;
    moved = false;
    if (!proposed.size) $("clip").pause();
  }
  paint(groups);
}

function paint(groups = queue()) {
  const item = group[at];
  const count = [...items.values()].filter(passes);
  const open = groups.reduce((sum, some) => sum + some.length, 0);
  const decided = count.filter((one) => votes.has(one.id) || own.has(one.id)).length;
  $("bar").value = count.length ? decided / count.length : 0;
  setText($("count"), `${decided} of ${count.length} tracks labeled, ${open} in this queue`);
  setText($("stage-title"), !item ? "Nothing to review" : group.length > 1 ? `${group.length} look-alikes` : `Track ${item.track}`);
  $("kind").hidden = !item;
  if (item) setText($("kind"), { abstained: "abstained", audit: "audit sample", low: "low confidence" }[kindOf(item)]);
  $("cards").className = `cards${group.length === 1 ? " one" : ""}`;
  keep($("cards"), group.map((one, n) => card(one, n)));
  $("none").hidden = Boolean(item);
  setText($("none"), items.size ? "This queue is empty with these filters." : lookedAt ? "No verdict to review yet. A track's verdict is saved when the track ends." : "Loading");
  $("answer").hidden = !item;
  showMedia(item);
  if (item) paintAnswer(item);
  document.documentElement.dataset.item = item?.id ?? "";
  document.documentElement.dataset.left = String(open);
  form.elements.label.disabled = isBlind();
}

/** Replaces children only where they changed, so that images do not flicker. */
function keep(box, nodes) {
  const same = box.children.length === nodes.length && nodes.every((node, n) => node.outerHTML === box.children[n].outerHTML);
  if (!same) box.replaceChildren(...nodes);
}

function card(item, n) {
  const label = proposed.get(item.id) ?? labelOf(item) ?? "";
  const out = proposed.get(item.id) === "";
  const text = out ? "taken out" : shown(label);
  const media = `${BASE}/media/crop/${encodeURIComponent(item.id)}`;
  const node = el("figure", { className: `card${out ? " out" : ""}` },
    el("img", { src: media, alt: `Track ${item.track}${item.camera ? ` of ${item.camera}` : ""}`, loading: "lazy" }),
    el("figcaption", {}, el("span", { className: "dim" }, group.length > 1 ? `track ${item.track}` : ""), el("b", {}, text)));
  node.setAttribute("aria-current", String(n === at && group.length > 1));
  node.dataset.n = n;
  return node;
}

function labelOf(item) {
  return own.get(isSecond() ? `2 ${item.id}` : item.id) ?? (isBlind() ? null : votes.get(item.id)?.get(`1 ${reviewer()}`));
}

function showMedia(item) {
  const id = item ? encodeURIComponent(item.id) : "";
  $("film").hidden = !item?.film;
  if (item?.film && $("film-image").dataset.id !== id) {
    $("film-image").dataset.id = id;
    $("film-image").src = `${BASE}/media/film/${id}`;
    $("film-image").alt = `Track ${item.track} at ${JSON.parse(item.times ?? "[]").length} moments`;
    $("film").scrollLeft = 0;
  }
  $("clip").hidden = !item?.clip;
  if (item?.clip && $("clip").dataset.id !== item.clip) {
    $("clip").dataset.id = item.clip;
    $("clip").src = `${BASE}/media/clip/${id}`;
  }
}

function paintAnswer(item) {
  const blind = isBlind();
  const names = item.names;
  const label = proposed.get(item.id) || labelOf(item);
  const row = (key, name, n, special) => {
    const score = blind || special || item.scores.length !== names.length ? null : item.scores[n];
    const bar = el("i", { ariaHidden: "true" });
    bar.style.width = `${100 * (score ?? 0)}%`;
    const node = el("button", { className: special ? "special" : "" }, key ? el("kbd", {}, key) : el("span"),
      el("span", { className: "word" }, shown(name)), el("span", { className: "share" }, score === null ? "" : `${Math.round(100 * score)} %`), bar);
    node.setAttribute("aria-pressed", String(label === name));
    node.dataset.label = name;
    return el("li", {}, node);
  };
  const rows = names.map((name, n) => row(n < 9 ? String(n + 1) : n === 9 ? "0" : "", name, n));
  keep($("classes"), [...rows, row("N", NONE, 0, true), row("X", UNCLEAR, 0, true)]);
  $("search").hidden = names.length <= 10;
  if (!$("search").hidden) keep($("words"), names.map((name) => el("option", { value: name })));
  const ready = group.some((one) => proposed.get(one.id));
  const right = group.length > 1 ? "Propose the model's answers" : "The model is right";
  setText($("confirm").firstElementChild, ready ? `Save ${countProposed()}` : right);
  $("confirm").disabled = !ready && (blind || !answerOf(item));
  const facts = {
    "Model's answer": blind ? "hidden" : item.label ? `${item.label}, ${Math.round(100 * item.confidence)} %` : "not known",
    Verdict: REASONS[item.reason] ?? item.reason.toLowerCase().replaceAll("_", " "),
    Task: item.task, Camera: item.camera, Track: item.track, Time: item.utc ? new Date(item.utc).toLocaleString() : item.time_s === null ? "-" : `${item.time_s.toFixed(1)} s`,
  };
  const hidden = blind ? ["Verdict"] : [];
  keep($("facts"), Object.entries(facts).filter(([key]) => !hidden.includes(key)).flatMap(([key, value]) => [el("dt", {}, key), el("dd", {}, String(value))]));
}

const countProposed = () => {
  const count = [...proposed.values()].filter(Boolean).length;
  return count === 1 ? "1 label" : `${count} labels`;
};

function fillChoices() {
  for (const name of ["camera", "label", "reason"]) {
    const menu = form.elements[name];
    const values = [...new Set([...items.values()].map((item) => item[name]).filter(Boolean))].sort();
    const before = menu.value;
    menu.replaceChildren(el("option", { value: "" }, "All"), ...values.map((value) => el("option", { value }, name === "reason" ? (REASONS[value] ?? value) : value)));
    if (values.includes(before)) menu.value = before;
  }
}

// What a reviewer does.

/** A digit: of one track, its label; of a group, the proposal for all, or after an arrow for one. */
function choose(label) {
  if (!group.length || !ready()) return;
  if (group.length === 1) {
    proposed.set(group[0].id, label);
    confirm();
    return;
  }
  const some = moved ? [group[at]] : group;
  for (const item of some) if (moved || proposed.get(item.id) !== "") proposed.set(item.id, label);
  paint();
}

function confirm() {
  if (!group.length || !ready()) return;
  if (!group.some((item) => proposed.get(item.id))) {
    if (isBlind() || !answerOf(group[at])) {
      toast("Choose a label first");
      return;
    }
    for (const item of group) if (answerOf(item) && proposed.get(item.id) !== "") proposed.set(item.id, answerOf(item));
    if (group.length > 1) {
      paint();
      return;
    }
  }
  const labels = Object.fromEntries(group.map((item) => [item.id, proposed.get(item.id)]).filter(([, label]) => label));
  for (const [id, label] of Object.entries(labels)) own.set(isSecond() ? `2 ${id}` : id, label);
  unsent.push({ batch: unique(), reviewer: reviewer(), labels, blind: isBlind(), second: isSecond() });
  const left = new Set(Object.keys(labels));
  const stays = form.elements.queue.value === "mine";
  proposed = new Map();
  moved = false;
  if (stays) place += 1;
  group = stays ? [] : group.filter((item) => !left.has(item.id));
  show();
  send();
}

function undo() {
  if (!ready()) return;
  if (proposed.size) {
    proposed = new Map();
    moved = false;
    paint();
    return;
  }
  unsent.push({ batch: unique(), reviewer: reviewer() });
  send();
}

function step(by) {
  if (group.length > 1 && at + by >= 0 && at + by < group.length) {
    at += by;
    moved = true;
    paint();
  } else turn(by);
}

function turn(by) {
  const groups = queue();
  const next = place + by;
  if (next < 0 || next >= groups.length) return;
  place = next;
  group = [];
  proposed = new Map();
  show(groups[next][0].id);
}

function takeOut() {
  if (group.length < 2) return;
  const id = group[at].id;
  if (proposed.get(id) === "") proposed.delete(id);
  else proposed.set(id, "");
  moved = moved || at > 0;
  paint();
}

/** Whether the reviewer's name is known; if not, it is requested. */
function ready() {
  if (!operator) {
    toast("You may look; deciding needs the operator's token");
    return false;
  }
  if (reviewer()) return true;
  $("reviewer").focus();
  toast("Type your name first");
  return false;
}

function unique() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function playClip() {
  const clip = $("clip");
  if (!clip.hidden) clip.paused ? clip.play() : clip.pause();
}

const KEYS = {
  n: () => choose(NONE), x: () => choose(UNCLEAR), u: undo, b: () => form.elements.blind.click(), v: playClip,
  Enter: confirm, " ": confirm, ArrowLeft: () => step(-1), ArrowRight: () => step(1), ArrowUp: () => turn(-1),
  ArrowDown: () => turn(1), Backspace: takeOut, "?": () => $("help").showModal(),
  "/": () => !$("search").hidden && $("word").focus(),
};

document.addEventListener("keydown", (event) => {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if ((event.ctrlKey || event.metaKey) && key === "z" && !event.target.closest("input, select")) {
    event.preventDefault();
    undo();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input:not([type=checkbox]), select, video, dialog[open]")) return;
  if (event.target.closest("button, input") && (key === " " || key === "Enter")) return;
  if (event.target.closest("#film") && key.startsWith("Arrow")) return;
  if (/^\d$/.test(key)) {
    const name = group[at]?.names[(Number(key) + 9) % 10];
    if (name) choose(name);
  } else if (KEYS[key]) KEYS[key]();
  else return;
  event.preventDefault();
});

$("classes").addEventListener("click", (event) => {
  const label = event.target.closest("button")?.dataset.label;
  if (event.detail) document.activeElement.blur(); // of a mouse: Enter then saves
  if (label) choose(label);
});
$("cards").addEventListener("click", (event) => {
  const node = event.target.closest(".card");
  if (!node || group.length < 2) return;
  at = Number(node.dataset.n);
  moved = true;
  paint();
});
$("confirm").addEventListener("click", (event) => {
  if (event.detail) document.activeElement.blur();
  confirm();
});
$("undo").addEventListener("click", undo);
$("help-open").addEventListener("click", () => $("help").showModal());
$("help-close").addEventListener("click", () => $("help").close());
$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const typed = $("word").value.trim().toLowerCase();
  const name = group[at]?.names.find((one) => one.toLowerCase().startsWith(typed));
  if (!typed || !name) toast("No class begins like that");
  else {
    $("word").value = "";
    $("word").blur();
    choose(name);
  }
});
$("who").addEventListener("submit", (event) => {
  event.preventDefault();
  $("reviewer").blur();
});
$("reviewer").addEventListener("change", () => {
  try {
    localStorage.setItem(KEY, reviewer());
  } catch {
    // A browser without storage asks again.
  }
  own = new Map();
  group = [];
  place = 0;
  show();
});
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("change", (event) => {
  group = [];
  place = 0;
  proposed = new Map();
  if (["queue", "blind"].includes(event.target.name)) load();
  else show();
});
window.addEventListener("beforeunload", (event) => {
  if (unsent.length) event.preventDefault();
});

try {
  $("reviewer").value = localStorage.getItem(KEY) ?? "";
} catch {
  // No storage: the name is typed each time.
}
$("more").open = window.innerWidth > 800;
if (BASE) { // the header of the viewer
  document.querySelector("h1").firstChild.data = "edgevid";
  document.querySelector(".top").classList.add("tabbed");
  $("tabs").hidden = false;
  $("tabs").after($("title"));
}
if (!reviewer()) $("reviewer").focus();
showSaved();
load().then(() => setTimeout(poll, POLL_MS));
