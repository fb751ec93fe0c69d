// Values as words. Numbers are set as a typographer would: a true minus and plus-minus, narrow spaces.

const NARROW = "\u202f";
const SCALE = { "km/h": 3.6, mph: 2.2369363, "m/s": 1 };

/** "52 ± 2 km/h" of a record's speed, with the age of a smoothed one; the error is rounded up, never down to 0. */
export function speedWords(speed, unit) {
  const scale = SCALE[unit];
  const digits = unit === "m/s" ? 1 : 0;
  const step = 10 ** -digits;
  const error = Math.ceil((scale * speed.sigma_mps) / step - 1e-9) * step;
  const age = speed.age_s >= 0.1 ? `, ${duration(speed.age_s)} ago` : "";
  return `${number(scale * speed.mps, digits)}${NARROW}±${NARROW}${number(error, digits)}${NARROW}${unit}${age}`;
}

/** What a speed in m/s is in `unit`. */
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

/** What an object is called: its class as judged where there is a judge, "unsure" where that is silent. */
export function kind(object) {
  const judged = object.verdicts?.class;
  return judged ? (judged.label ?? "unsure") : object.class;
}

/** {words, silent} of one verdict. */
export function verdictWords(task, verdict, reasons) {
  if (verdict.label !== undefined) return { words: `${verdict.label} ${percent(verdict.confidence)}`, silent: false };
  const lead = task === "action" ? "unsure" : `${task} unsure`;
  return { words: `${lead}: ${reasons[verdict.reason] ?? verdict.reason}`, silent: true };
}

/** {words, silent} of a speed, or null where none is measured. */
export function speedSaid(object, unit, reasons) {
  const speed = object.speed;
  if (!speed) return null;
  if (speed.reason) return { words: reasons[speed.reason] ?? speed.reason, silent: true };
  return { words: speedWords(speed, unit), silent: false };
}

/** The verdicts of an object, its class left out, as [task, verdict]. */
export function verdictsOf(object) {
  return Object.entries(object.verdicts ?? {}).filter(([task]) => task !== "class");
}

const COMPASS = ["→", "↘", "↓", "↙", "←", "↖", "↑", "↗"];

/** An arrow for a heading on the ground: x to the right, y away from the camera. */
export function headingArrow(degrees) {
  const eighth = Math.round(-degrees / 45);
  return COMPASS[((eighth % 8) + 8) % 8];
}
