// The timeline: a file's length, or the hours of the recordings, with the events marked; seeking in both.

import { el, setText } from "./dom.js";
import { listedEvents, timeOfDay } from "./events.js";
import { clock } from "./format.js";
import { play, playing } from "./player.js";
import { state } from "./state.js";

const HOURS = { "Last 10 minutes": 1 / 6, "Last hour": 1, "Last 6 hours": 6, "Last 24 hours": 24, "Last 7 days": 168 };
const TAIL_S = 75; // a file of the continuous recording is taken for at most this long
const $ = (id) => document.getElementById(id);
const slider = $("timeline-at");
const menu = $("timeline-span");
const canvas = $("timeline-marks");
let files = []; // of the continuous recording, oldest first: {name, start, end} in ms
let seek = () => {};
let held = false; // while the user moves the handle
let current = null; // the file that plays

export function prepareTimeline(onSeek) {
  seek = onSeek;
  slider.addEventListener("input", () => {
    held = true;
    label(Number(slider.value));
  });
  slider.addEventListener("change", () => {
    held = false;
    go(Number(slider.value));
  });
  menu.addEventListener("change", () => load().then(draw));
  document.addEventListener("edgevid:events", draw);
  document.addEventListener("edgevid:live", () => (current = null));
  new ResizeObserver(draw).observe(canvas);
  setInterval(() => state.hello?.records && !document.hidden && load(), 10000);
}

/** The choices for this source; hidden where there is nothing to seek in. */
export function resetTimeline() {
  const file = !state.hello.live && state.hello.duration;
  const names = [...(file ? ["This file"] : []), ...(state.hello.records ? Object.keys(HOURS) : [])];
  menu.replaceChildren(...names.map((name) => el("option", {}, name)));
  menu.hidden = names.length < 2;
  $("timeline").hidden = !names.length;
  slider.disabled = isFile() && !state.hello.operator;
  load().then(draw);
}

function isFile() {
  return menu.value === "This file";
}

async function load() {
  if (!state.hello?.records) return;
  const rows = await fetch("api/recordings").then((answer) => answer.json()).catch(() => []);
  files = rows.filter((row) => row.kind === "segment").map((row) => ({ ...row, start: Date.parse(row.utc) })).sort((a, b) => a.start - b.start);
  files.forEach((one, n) => (one.end = Math.min(files[n + 1]?.start ?? Infinity, one.start + 1000 * TAIL_S)));
}

/** [begin, end]: seconds of the file, or ms since 1970. */
function span() {
  if (isFile()) return [0, state.hello.duration];
  const end = state.hello.live ? Date.now() : Math.max(files.at(-1)?.end ?? 0, Date.parse(listedEvents()[0]?.utc ?? 0) || 0) || Date.now();
  return [end - 3600000 * HOURS[menu.value], end];
}

/** Follows what is shown, at the pace of the page's other texts. */
export function showTimeline() {
  if ($("timeline").hidden || held || !state.record) return;
  const [begin, end] = span();
  const now = isFile() ? position(state.record.time_s) : current ? current.start + 1000 * playing() : end;
  slider.value = String(Math.round((10000 * (now - begin)) / (end - begin)));
  label(Number(slider.value));
  draw();
}

/** Where in the file a moment of the run is. */
function position(time) {
  const [begin, from] = state.rounds.findLast(([first]) => first <= time + 1e-6) ?? [0, 0];
  return time - begin + from;
}

function at(value) {
  const [begin, end] = span();
  return begin + ((end - begin) * value) / 10000;
}

function label(value) {
  const text = isFile() ? `${clock(at(value))} of ${clock(state.hello.duration)}` : timeOfDay(at(value));
  setText($("timeline-now"), text);
  slider.setAttribute("aria-valuetext", text);
}

function go(value) {
  if (isFile()) seek(at(value));
  else playAt(at(value));
}

/** Plays the recording from a moment on, file after file. */
export function playAt(ms) {
  const file = files.findLast((one) => one.start <= ms) ?? files[0];
  if (!file) return;
  current = file;
  const following = files[files.indexOf(file) + 1];
  play(file.name, `Recording · ${file.camera}`, Math.max(0, (ms - file.start) / 1000), () => following && playAt(following.start));
}

const COLORS = ["wrong-way", "speed-limit", "stream-lost", "camera-moved", "dwell", "stopped", "occupancy-above"];

function draw() {
  const { width, height } = canvas.getBoundingClientRect();
  if (!width || $("timeline").hidden || !state.hello) return;
  const dense = window.devicePixelRatio || 1;
  Object.assign(canvas, { width: width * dense, height: height * dense });
  const ctx = canvas.getContext("2d");
  ctx.scale(dense, dense);
  const style = getComputedStyle(document.documentElement);
  const [begin, end] = span();
  const x = (moment) => (width * (moment - begin)) / (end - begin);
  ctx.fillStyle = style.getPropertyValue("--edge");
  if (isFile()) ctx.fillRect(0, height - 4, width, 4);
  else for (const one of files) if (one.end > begin) ctx.fillRect(x(one.start), height - 4, Math.max(1, x(one.end) - x(one.start)), 4);
  for (const event of listedEvents()) {
    const moment = isFile() ? (event.run === state.run ? position(event.time_s) : NaN) : Date.parse(event.utc);
    if (!(moment >= begin && moment <= end)) continue;
    const alarm = COLORS.includes(event.kind);
    ctx.fillStyle = style.getPropertyValue(alarm ? "--warn" : "--accent");
    ctx.fillRect(Math.round(x(moment)) - 1, alarm ? 0 : 5, 2, height - (alarm ? 5 : 10));
  }
}

