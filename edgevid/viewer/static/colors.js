// Colors of ids and stages. Those of ids equal edgevid/output/overlay.py: OKLab, equally light, golden angle.

const known = new Map();

/** "rgb(...)" of an id. */
export function colorOf(id) {
  let color = known.get(id);
  if (!color) {
    if (known.size > 4096) known.clear();
    color = computed(id);
    known.set(id, color);
  }
  return color;
}

function computed(id) {
  const hue = id * 2.399963;
  const [light, a, b] = [0.76, 0.14 * Math.cos(hue), 0.14 * Math.sin(hue)];
  const l = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (light - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const linear = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
  return `rgb(${linear.map((v) => Math.round(255 * Math.min(1, Math.max(0, v)) ** (1 / 2.2))).join(" ")})`;
}

const STAGES = { detect: "#4e9be8", track: "#e0a33a", recognize: "#b07fe0", policy: "#e0708f", speed: "#4bb98a" };

export function stageColor(stage) {
  return STAGES[stage] ?? "#8b95a1";
}
