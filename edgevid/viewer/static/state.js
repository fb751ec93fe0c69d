// What the page knows and what its user chose; choices are stored in this browser.

const KEY = "edgevid-viewer";
const CHOICES = { boxes: true, labels: "all", trails: true, grid: false, annotations: true, unit: null, keys: true };

export const state = {
  hello: null, // the server's first message
  record: null, // the displayed frame's record
  bitmap: null, // and its image
  paused: false,
  away: false, // whether the camera's stream is lost
  frozen: false, // whether this page has frozen a live image
  selected: null, // id of an object
  hovered: null,
  editing: false,
  annotations: [],
  version: 0,
  stats: {},
  run: null, // name of the run, and where its rounds of a file begin: [time, position]
  rounds: [[0, 0]],
  trails: new Map(), // id -> [{time, x, y}]
  choices: { ...CHOICES, ...stored() },
};

function stored() {
  try {
    const found = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return Object.fromEntries(Object.entries(found).filter(([key]) => key in CHOICES));
  } catch {
    return {};
  }
}

export function choose(key, value) {
  state.choices[key] = value;
  try {
    localStorage.setItem(KEY, JSON.stringify(state.choices));
  } catch {
    // Chosen for this visit only.
  }
}

/** The unit of speeds: this browser's choice, else the server's. */
export function unit() {
  return state.choices.unit ?? state.hello?.unit ?? "km/h";
}

const TRAIL_S = 2;

/** Takes a frame's record: remembers where each object was. */
export function remember(record) {
  if (state.record && record.time_s < state.record.time_s) state.trails.clear();
  const present = new Set();
  for (const object of record.objects) {
    present.add(object.id);
    const [x1, , x2, y2] = object.box;
    const trail = state.trails.get(object.id) ?? [];
    if (trail.at(-1)?.time !== record.time_s) trail.push({ time: record.time_s, x: (x1 + x2) / 2, y: y2 });
    while (trail.length && record.time_s - trail[0].time > TRAIL_S) trail.shift();
    state.trails.set(object.id, trail);
  }
  for (const id of state.trails.keys()) if (!present.has(id)) state.trails.delete(id);
  state.record = record;
}
