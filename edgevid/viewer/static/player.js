// The player of clips and recordings in the place of the live image, and an object's best moment.

import { el, setText, toast } from "./dom.js";

const $ = (id) => document.getElementById(id);
const video = $("video");
const WRITTEN_S = 15; // a clip is being written for so long
let next = null; // called at the end of a recording's file
let load = null; // loads what plays, again while it is not there yet
let until = 0; // ms since 1970 when it is there

/** Plays a file of the recordings from `seconds` on; `onEnd` names what follows; `written`: when it is complete, at the latest. */
export function play(name, title, seconds = 0, onEnd = null, written = 0) {
  [next, until] = [onEnd, written];
  setText($("player-title"), title);
  $("player-save").href = `media/${name}?download`;
  $("player").hidden = false;
  $("screen").hidden = true;
  video.onloadedmetadata = () => (video.currentTime = Math.min(seconds, Math.max(0, (video.duration || seconds) - 0.2)));
  load = () => {
    video.src = `media/${name}`;
    video.play().catch(() => {}); // the browser may want a click first
  };
  load();
  $("player").scrollIntoView({ block: "nearest" });
  video.focus({ preventScroll: true });
}

/** Plays an event's clip from some seconds before it: several events share one, whose name has the first one's time. */
export function playClip(event, title) {
  const [, y, mo, d, h, mi, s] = event.clip.match(/-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z/) ?? [];
  const at = Date.parse(event.utc);
  play(event.clip, title, Math.max(0, (at - Date.UTC(y, mo - 1, d, h, mi, s)) / 1000 - 1) || 0, null, at + 1000 * WRITTEN_S);
}

export function stopPlaying() {
  if ($("player").hidden) return false;
  load = null;
  video.removeAttribute("src");
  video.load();
  $("player").hidden = true;
  $("screen").hidden = false;
  document.dispatchEvent(new Event("edgevid:live"));
  return true;
}

/** Seconds into the file that plays, null while the live image is shown. */
export function playing() {
  return $("player").hidden ? null : video.currentTime;
}

/** An event's object at its best moment, large. */
export function showMoment(event) {
  setText($("moment-title"), `${event.class_name || "object"} ${event.track}`);
  const plain = `media/${event.snapshot}`;
  const drawn = plain.replace(/\.jpg$/, "-drawn.jpg");
  const image = el("img", { src: drawn, alt: `${event.class_name || "object"} ${event.track} at its best moment` });
  image.onerror = () => (image.src.endsWith("-drawn.jpg") ? (image.src = plain) : image.remove());
  const save = (href, text) => el("a", { href: `${href}?download`, download: "", className: "button" }, text);
  const clip = event.clip ? el("button", { type: "button", onclick: () => ($("moment").close(), playClip(event, $("moment-title").textContent)) }, "▸ Clip") : null;
  const draw = el("button", { type: "button" }, "Without drawing");
  draw.setAttribute("aria-pressed", "false");
  draw.onclick = () => {
    const bare = draw.getAttribute("aria-pressed") === "false";
    draw.setAttribute("aria-pressed", String(bare));
    image.src = bare ? plain : drawn;
  };
  $("moment").querySelector(".body").replaceChildren(image, el("p", { className: "actions" }, clip, draw, save(plain, "Save"), save(drawn, "Save with drawing")));
  $("moment").showModal();
}

video.addEventListener("ended", () => next?.());
video.addEventListener("error", () => {
  const again = load;
  if (!again) return;
  if (Date.now() < until) return setTimeout(() => load === again && again(), 1000);
  toast("This browser cannot play it, or it was deleted for newer ones. Save plays elsewhere.");
});
$("player-close").onclick = stopPlaying;
$("moment-close").onclick = () => $("moment").close();
$("moment").addEventListener("click", (event) => {
  if (event.target === $("moment")) $("moment").close();
});
