// The calibration page: connects the model, the stage, the forms and the server.

import { Model, fromTables, missing, toTables, typed } from "/static/calibration_model.js";
import { Stage } from "/static/calibration_stage.js";
import { showReport } from "/static/calibration_report.js";

const $ = (id) => document.getElementById(id);
const FIELDS = { width: (s) => [s, "width"], length: (s) => [s, "length"], k1: (s) => [s.lens, "k1"], focal: (s) => [s.lens, "focal"] };
let model, stage, info, answer = null;

async function post(path, body) {
  const reply = await fetch(path, {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
  });
  return { status: reply.status, ...(await reply.json()) };
}

// Solving: one request at a time; changes in between are sent with the next one.

let waiting = false, again = false, timer = 0;

function changed() {
  stage.stale();
  fillForms();
  store();
  $("undo").disabled = !model.past.length;
  $("redo").disabled = !model.future.length;
  $("saved").textContent = "";
  clearTimeout(timer);
  timer = setTimeout(solve, 40);
}

async function solve() {
  if (waiting) {
    again = true;
    return;
  }
  waiting = true;
  try {
    answer = missing(model.now) ?? (await post("/api/solve", toTables(model.now)));
  } catch {
    answer = { ok: false, error: "The server does not answer. Is edgevid calibrate still running?" };
  }
  waiting = false;
  stage.show(answer);
  showReport(answer);
  fillErrors();
  $("save").disabled = !answer.ok;
  if (again) {
    again = false;
    solve();
  }
}

// Forms

function fillForms() {
  const s = model.now;
  for (const [id, place] of Object.entries(FIELDS)) {
    const [owner, key] = place(s);
    const field = $(id);
    if (typed(field.value) !== owner[key]) field.value = owner[key] ?? ""; // "30," stays while it is typed
  }
  for (const button of document.querySelectorAll("[data-mode]")) {
    button.setAttribute("aria-pressed", String(button.dataset.mode === s.mode));
  }
  $("rectangle-form").hidden = s.mode !== "rectangle";
  $("points-form").hidden = s.mode !== "points";
  $("region-make").hidden = Boolean(s.region);
  $("region-more").hidden = $("region-drop").hidden = !s.region;
  const lens = s.lens.k1 ? `k1 ${s.lens.k1}` : "";
  $("more-state").textContent = [s.region ? `region of ${s.region.length} corners` : "", lens].filter(Boolean).join(", ");
  fillPoints();
}

function fillPoints() {
  const body = $("points-table").tBodies[0];
  const { points } = model.now;
  while (body.rows.length > points.length) body.deleteRow(-1);
  while (body.rows.length < points.length) body.append(pointRow(body.rows.length));
  points.forEach((point, n) => {
    for (const key of ["x", "y"]) {
      const field = body.rows[n].querySelector(`[data-key="${key}"]`);
      if (typed(field.value) !== point[key]) field.value = point[key] ?? "";
    }
  });
  fillErrors();
}

function fillErrors() {
  [...$("points-table").tBodies[0].rows].forEach((row, n) => {
    const error = model.now.mode === "points" && answer?.ok ? answer.error_px[n] : null;
    row.cells[3].textContent = error == null || answer.error_px.length === 4 ? "" : error.toFixed(1);
    row.className = answer?.ok && answer.outliers.includes(n) ? "outlier" : "";
  });
}

function pointRow(n) {
  const row = document.createElement("tr");
  const number = document.createElement("td");
  number.textContent = String(n + 1);
  row.append(number);
  for (const key of ["x", "y"]) {
    const cell = document.createElement("td");
    const field = document.createElement("input");
    field.inputMode = "text"; // numbers with a minus sign
    field.dataset.key = key;
    field.autocomplete = "off";
    field.setAttribute("aria-label", `${key} of point ${n + 1} in meters`);
    field.addEventListener("input", () => model.edit(`${key}${n}`, (s) => (s.points[n][key] = typed(field.value))));
    cell.append(field);
    row.append(cell);
  }
  const error = document.createElement("td");
  error.className = "number";
  const last = document.createElement("td");
  const remove = document.createElement("button");
  remove.className = "icon quiet";
  remove.textContent = "\u00d7";
  remove.setAttribute("aria-label", `Remove point ${n + 1}`);
  remove.addEventListener("click", () => model.remove("points", n));
  last.append(remove);
  row.append(error, last);
  return row;
}

function addPoint([u, v]) {
  stage.setPlacing(false);
  $("add-hint").hidden = true;
  const index = model.now.points.length;
  model.edit("", (s) => s.points.push({ u: Math.round(u), v: Math.round(v), x: null, y: null }));
  stage.focus("points", index);
}

function wireForms() {
  for (const [id, place] of Object.entries(FIELDS)) {
    $(id).addEventListener("input", () =>
      model.edit(id, (s) => {
        const [owner, key] = place(s);
        owner[key] = typed($(id).value);
      }),
    );
  }
  for (const button of document.querySelectorAll("[data-mode]")) {
    button.addEventListener("click", () => model.setMode(button.dataset.mode));
  }
  $("add-point").addEventListener("click", () => {
    if (stage.placing) {
      addPoint([model.size[0] / 2, model.size[1] / 2]);
      return;
    }
    stage.setPlacing(true);
    $("add-hint").hidden = false;
  });
  $("region-make").addEventListener("click", () => model.makeRegion());
  $("region-more").addEventListener("click", () => stage.focus("region", model.splitRegion()));
  $("region-drop").addEventListener("click", () => model.edit("", (s) => (s.region = null)));
}

// The image

let frameTimer = 0;

function showFrame(seconds) {
  const time = Math.min(Math.max(seconds || 0, 0), info.duration || 0);
  $("slider").value = time;
  $("seconds").value = time.toFixed(2);
  clearTimeout(frameTimer);
  frameTimer = setTimeout(() => {
    $("wait").hidden = false;
    $("image").src = `/api/frame?t=${time.toFixed(3)}&n=${info.live ? Date.now() : 0}`;
  }, 120);
}

function wireImage() {
  const image = $("image");
  image.addEventListener("load", () => {
    $("wait").hidden = true;
    if (image.naturalWidth && image.naturalWidth !== model.size[0]) {
      model.size = [image.naturalWidth, image.naturalHeight];
      solve();
    }
    stage.fit();
  });
  image.addEventListener("error", () => {
    $("wait").hidden = false;
    $("wait").textContent = "This frame cannot be read. Choose another time.";
  });
  $("slider").max = info.duration || 0;
  $("slider").addEventListener("input", () => showFrame(Number($("slider").value)));
  $("seconds").addEventListener("change", () => showFrame(Number(typed($("seconds").value))));
  $("earlier").addEventListener("click", () => showFrame(Number($("slider").value) - 1));
  $("later").addEventListener("click", () => showFrame(Number($("slider").value) + 1));
  $("refresh").addEventListener("click", () => showFrame(0));
  $("times").hidden = info.live || !info.duration;
  $("refresh").hidden = !info.live;
  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => {
      stage.enlarge(Number(button.dataset.zoom));
      for (const other of document.querySelectorAll("[data-zoom]")) {
        other.setAttribute("aria-pressed", String(other === button));
      }
    });
  }
  for (const button of document.querySelectorAll("[data-nudge]")) {
    button.addEventListener("click", () => stage.nudge(...button.dataset.nudge.split(",").map(Number)));
  }
  showFrame(info.time);
}

function selected(handle) {
  $("selected").textContent = handle
    ? `${handle.label}: ${handle.at[0].toFixed(1)}, ${handle.at[1].toFixed(1)}`
    : "No point selected";
}

// Keys, saving, and the state that survives a reload

function wireKeys() {
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input, textarea");
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z" && !typing) {
      event.preventDefault();
      if (event.shiftKey) model.redo();
      else model.undo();
    } else if (event.key === "?" && !typing) {
      $("help-dialog").showModal();
    } else if (event.key === "Escape" && stage.placing) {
      stage.setPlacing(false);
      $("add-hint").hidden = true;
    }
  });
  $("undo").addEventListener("click", () => model.undo());
  $("redo").addEventListener("click", () => model.redo());
  $("help").addEventListener("click", () => $("help-dialog").showModal());
}

async function save(replace) {
  const status = $("saved");
  let reply;
  try {
    reply = await post("/api/save", {
      calibration: toTables(model.now), name: $("name").value.trim(), note: $("note").value, replace,
    });
  } catch {
    reply = { status: 0, error: "The server does not answer." };
  }
  if (reply.status === 409) {
    $("replace-path").textContent = reply.error;
    $("replace").returnValue = "";
    $("replace").showModal();
    return;
  }
  status.className = reply.status === 200 ? "small good" : "small bad";
  status.textContent = reply.status === 200 ? `Saved as ${reply.path}` : reply.error;
}

function wireSaving() {
  $("name").value = info.name;
  $("save-form").addEventListener("submit", (event) => {
    event.preventDefault();
    save(false);
  });
  $("replace").addEventListener("close", () => {
    if ($("replace").returnValue === "yes") save(true);
  });
}

const keyOf = () => `edgevid-calibration ${info.source} ${info.size.join("x")}`;

function store() {
  try {
    sessionStorage.setItem(keyOf(), JSON.stringify(model.now));
  } catch {
    // Without storage a reload starts again.
  }
}

function stored() {
  try {
    return JSON.parse(sessionStorage.getItem(keyOf()));
  } catch {
    return null;
  }
}

async function open() {
  info = await (await fetch("/api/start")).json();
  $("source").textContent = info.source;
  document.title = `Calibration of ${info.source} - edgevid`;
  model = new Model(info.size, stored() ?? fromTables(info.calibration), changed);
  stage = new Stage(model, { selected, place: addPoint });
  wireForms();
  wireImage();
  wireKeys();
  wireSaving();
  fillForms();
  stage.fit();
  await solve();
  document.documentElement.dataset.ready = "yes";
}

open();
