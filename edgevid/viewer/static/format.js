// Values as text, with a true minus and plus-minus and narrow spaces.

const NARROW = "\u202f";
const SCALE = { "km/h": 3.6, mph: 2.2369363, "m/s": 1 };

/** "52 ± 2 km/h" of a record's speed, with the age of a smoothed one; the standard error is rounded up. */
export function formatSpeed(speed, unit) {
  const scale = SCALE[unit];
  const digits = unit === "m/s" ? 1 : 0;
  const step = 10 ** -digits;
  const error = Math.ceil((scale * speed.sigma_mps) / step - 1e-9) * step;
  const age = speed.kind === "smoothed" ? `, ${duration(speed.age_s)} ago` : "";
  return `${number(scale * speed.mps, digits)}${NARROW}±${NARROW}${number(error, digits)}${NARROW}${unit}${age}`;
}

/** A speed in m/s in `unit`. */
export function inUnit(mps, unit) {
  return mps * SCALE[unit];
}

export function number(value, digits = 0) {
  return value.toFixed(digits).replace("-", "\u2212");
}

export function percent(share) {
  return `${Math.round(100 * share)}${NARROW}%`;
}

export function ms(value) {
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)}${NARROW}ms`;
}

/** "1:02.4" of seconds on the stream's clock, hours where there are some. */
export function clock(seconds) {
  const whole = Math.floor(Math.max(0, seconds));
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  const rest = `${String(whole % 60).padStart(2, "0")}.${Math.floor((Math.max(0, seconds) % 1) * 10)}`;
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

export function duration(seconds) {
  if (seconds < 60) return `${seconds.toFixed(1)}${NARROW}s`;
  return `${Math.floor(seconds / 60)}${NARROW}min ${Math.round(seconds % 60)}${NARROW}s`;
}

/** The class of an object: the verdict where there is a class policy, "unknown" where that abstains. */
export function className(object) {
  const verdict = object.verdicts?.class;
  return verdict ? (verdict.label ?? "unknown") : object.class;
}

/** {text, abstained} of one verdict. */
export function verdictText(task, verdict, reasons) {
  if (verdict.label !== undefined) return { text: `${verdict.label} ${percent(verdict.confidence)}`, abstained: false };
  const lead = task === "action" ? "abstained" : `${task} abstained`;
  return { text: `${lead}: ${reasons[verdict.reason] ?? verdict.reason}`, abstained: true };
}

/** {text, abstained} of a speed, or null where none is measured. */
export function speedText(object, unit, reasons) {
  const speed = object.speed;
  if (!speed) return null;
  if (speed.reason) return { text: reasons[speed.reason] ?? speed.reason, abstained: true };
  return { text: formatSpeed(speed, unit), abstained: false };
}

/** The verdicts of an object, its class and what no recognizer covers left out, as [task, verdict]. */
export function verdictsOf(object) {
  return Object.entries(object.verdicts ?? {}).filter(([task, verdict]) => task !== "class" && verdict.reason !== "NOT_MEASURED");
}

const COMPASS = ["→", "↘", "↓", "↙", "←", "↖", "↑", "↗"];

/** An arrow for a heading on the ground: x to the right, y away from the camera. */
export function headingArrow(degrees) {
  const eighth = Math.round(-degrees / 45);
  return COMPASS[((eighth % 8) + 8) % 8];
}
