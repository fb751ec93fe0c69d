// The image with its handles, the grid and the loupe: pointers, touch and keys.

const SVG = "http://www.w3.org/2000/svg";
const LOUPE = 10; // times

/** Draws a model on the image and moves its handles. */
export class Stage {
  constructor(model, { selected, place }) {
    this.model = model;
    this.selected = selected; // called with the selected handle, or null
    this.place = place; // called with [u, v] where the image was clicked while placing
    this.stage = document.getElementById("stage");
    this.scroller = document.getElementById("scroller");
    this.image = document.getElementById("image");
    this.svg = document.getElementById("drawing");
    this.box = document.getElementById("handles");
    this.loupe = document.getElementById("loupe");
    this.zoom = 1;
    this.current = null;
    this.answer = null;
    this.placing = false;
    this.buttons = new Map();
    this.svg.setAttribute("preserveAspectRatio", "none");
    new ResizeObserver(() => this.fit()).observe(this.scroller);
    this.stage.addEventListener("pointerdown", (event) => this.#clicked(event));
    this.scroller.addEventListener("focusout", () => this.hideLoupe());
  }

  /** CSS pixels of one image pixel. */
  get scale() {
    return this.stage.clientWidth / this.model.size[0] || 1;
  }

  /** The image as large as fits, times the zoom. */
  fit() {
    const [w, h] = this.model.size;
    const narrow = matchMedia("(max-width: 900px)").matches;
    const wide = this.scroller.clientWidth;
    const high = narrow ? Math.max(160, innerHeight * 0.46) : this.scroller.clientHeight;
    if (!wide || !high) return;
    const fitted = Math.min(wide / w, high / h);
    this.stage.style.width = `${Math.floor(w * fitted * this.zoom)}px`;
    this.stage.style.height = `${Math.floor(h * fitted * this.zoom)}px`;
    this.stage.classList.toggle("near", fitted * this.zoom > 3);
    this.draw();
  }

  /** Enlarges around the selected handle, else around the middle. */
  enlarge(zoom) {
    const box = this.scroller;
    const middle = [(box.scrollLeft + box.clientWidth / 2) / this.scale, (box.scrollTop + box.clientHeight / 2) / this.scale];
    const at = this.#currentHandle()?.at ?? middle;
    this.zoom = zoom;
    this.fit();
    box.scrollLeft = at[0] * this.scale - box.clientWidth / 2;
    box.scrollTop = at[1] * this.scale - box.clientHeight / 2;
  }

  /** The server's answer for the current calibration (null while there is none). */
  show(answer) {
    this.answer = answer;
    this.stage.classList.remove("stale");
    this.draw();
  }

  /** The calibration changed; the grid is out of date. */
  stale() {
    this.stage.classList.add("stale");
    this.draw();
  }

  draw() {
    this.#drawHandles();
    this.#drawLines();
  }

  #drawHandles() {
    const present = new Set();
    this.stage.classList.toggle("crowded", this.model.handles().length > 8 && this.scale * this.model.size[0] < 600);
    for (const handle of this.model.handles()) {
      const key = `${handle.kind} ${handle.index}`;
      present.add(key);
      const button = this.buttons.get(key) ?? this.#makeHandle(key, handle.kind, handle.index);
      const [u, v] = handle.at;
      button.style.left = `${u * this.scale}px`;
      button.style.top = `${v * this.scale}px`;
      button.setAttribute("aria-label", `${handle.label}: ${u.toFixed(1)}, ${v.toFixed(1)}. Arrow keys move it.`);
      button.setAttribute("aria-current", String(this.current === key));
      const outlier = handle.kind !== "region" && this.answer?.outliers?.includes(handle.index);
      button.classList.toggle("outlier", Boolean(outlier));
    }
    for (const [key, button] of this.buttons) {
      if (present.has(key)) continue;
      button.remove();
      this.buttons.delete(key);
      if (this.current === key) this.select(null);
    }
  }

  #makeHandle(key, kind, index) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = kind === "region" ? "handle corner" : "handle";
    const number = document.createElement("b");
    number.textContent = String(index + 1);
    number.setAttribute("aria-hidden", "true");
    button.append(number);
    button.addEventListener("pointerdown", (event) => this.#grab(event, button, kind, index));
    button.addEventListener("keydown", (event) => this.#key(event, kind, index));
    button.addEventListener("focus", () => this.select(key));
    this.box.append(button);
    this.buttons.set(key, button);
    return button;
  }

  #drawLines() {
    const [w, h] = this.model.size;
    this.svg.setAttribute("viewBox", `0 0 ${w} ${h}`);
    const text = (points) => points.map((p) => p.join(",")).join(" ");
    const parts = [];
    const line = (kind, points, name) => {
      const one = document.createElementNS(SVG, kind);
      one.setAttribute("points", text(points));
      one.setAttribute("class", name);
      parts.push(one);
    };
    const { now } = this.model;
    const answer = this.answer?.ok ? this.answer : null;
    for (const one of answer?.grid ?? []) line("polyline", one.points, "grid-under");
    for (const one of answer?.grid ?? []) line("polyline", one.points, "grid-line");
    const region = now.region ?? answer?.region;
    if (region) line("polygon", region, "region-line");
    if (now.mode === "rectangle") line("polygon", now.rectangle, "quad");
    parts.push(...this.#labels(answer?.grid ?? []));
    this.svg.replaceChildren(...parts);
  }

  /** Labels that overlap neither each other nor a point's number, the near ones first. */
  #labels(grid) {
    const taken = this.model.handles().map((one) => [one.at[0] * this.scale + 14, one.at[1] * this.scale + 6]);
    const labels = [];
    for (const one of grid.filter((line) => line.label).sort((a, b) => b.at[1] - a.at[1])) {
      const at = one.at.map((v) => v * this.scale);
      if (taken.some(([x, y]) => Math.abs(x - at[0] - 14) < 34 && Math.abs(y - at[1] + 6) < 15)) continue;
      taken.push([at[0] + 14, at[1] - 6]);
      labels.push(this.#label(one));
    }
    return labels;
  }

  #label(one) {
    const text = document.createElementNS(SVG, "text");
    const size = 1 / this.scale; // the same on the screen at every zoom
    text.setAttribute("class", "grid-text");
    text.setAttribute("transform", `translate(${one.at[0] + 4 * size} ${one.at[1] - 4 * size}) scale(${size})`);
    text.textContent = one.label;
    return text;
  }

  /** Makes a handle ("kind index") the one that keys and nudges move; null for none. */
  select(key) {
    this.current = key;
    for (const [name, button] of this.buttons) button.setAttribute("aria-current", String(name === key));
    const handle = this.#currentHandle();
    this.selected(handle);
    if (handle) this.#magnify(handle.at);
    else this.hideLoupe();
  }

  focus(kind, index) {
    this.draw();
    this.buttons.get(`${kind} ${index}`)?.focus();
  }

  #currentHandle() {
    return this.model.handles().find((one) => `${one.kind} ${one.index}` === this.current) ?? null;
  }

  /** Moves the selected handle by a number of pixels. */
  nudge(dx, dy) {
    const handle = this.#currentHandle();
    if (!handle) return false;
    const at = [handle.at[0] + dx, handle.at[1] + dy];
    this.model.move(handle.kind, handle.index, at, `nudge ${this.current}`);
    this.selected(this.#currentHandle());
    this.#magnify(at);
    return true;
  }

  #key(event, kind, index) {
    const step = event.shiftKey ? 10 : event.altKey ? 0.1 : 1;
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const direction = steps[event.key];
    if (direction) {
      event.preventDefault();
      this.nudge(direction[0] * step, direction[1] * step);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      event.preventDefault();
      this.model.remove(kind, index);
    }
  }

  /** Image pixels under a pointer. */
  at(event) {
    const box = this.stage.getBoundingClientRect();
    return [(event.clientX - box.left) / this.scale, (event.clientY - box.top) / this.scale];
  }

  #grab(event, button, kind, index) {
    if (event.button > 0) return;
    event.stopPropagation();
    event.preventDefault();
    button.focus({ preventScroll: true });
    button.setPointerCapture(event.pointerId);
    const start = this.at(event);
    const handle = this.model.handles().find((one) => one.kind === kind && one.index === index);
    const offset = [handle.at[0] - start[0], handle.at[1] - start[1]]; // the pointer keeps its distance to the handle
    const key = `drag ${event.pointerId} ${event.timeStamp}`;
    const move = (moved) => {
      const [x, y] = this.at(moved);
      const at = [x + offset[0], y + offset[1]];
      this.model.last.time = performance.now(); // one drag is one undo step
      this.model.move(kind, index, at, key);
      this.selected(this.#currentHandle());
      this.#magnify(this.#currentHandle()?.at ?? at);
    };
    const done = () => {
      button.removeEventListener("pointermove", move);
      button.removeEventListener("pointerup", done);
      button.removeEventListener("pointercancel", done);
      this.hideLoupe();
    };
    button.addEventListener("pointermove", move);
    button.addEventListener("pointerup", done);
    button.addEventListener("pointercancel", done);
    this.#magnify(handle.at);
  }

  #clicked(event) {
    if (event.button > 0 || !this.placing) return;
    event.preventDefault();
    this.place(this.at(event));
  }

  /** While placing, a click on the image puts a point there. */
  setPlacing(on) {
    this.placing = on;
    this.stage.classList.toggle("placing", on);
  }

  /** The image around [u, v], pixels as squares, in the corner that is farther away. */
  #magnify([u, v]) {
    if (!this.image.complete || !this.image.naturalWidth) return;
    const c = this.loupe.getContext("2d");
    const { width: size } = this.loupe;
    const span = size / LOUPE;
    this.loupe.hidden = false;
    this.loupe.classList.toggle("left", u * this.scale - this.scroller.scrollLeft > this.scroller.clientWidth / 2);
    c.imageSmoothingEnabled = false;
    c.fillStyle = "#000";
    c.fillRect(0, 0, size, size);
    c.drawImage(this.image, u - span / 2, v - span / 2, span, span, 0, 0, size, size);
    for (const [color, wide] of [["rgba(0,0,0,0.8)", 5], ["#62d49a", 2]]) {
      c.strokeStyle = color;
      c.lineWidth = wide;
      c.beginPath();
      for (const [a, b] of [[0, size / 2 - 16], [size / 2 + 16, size]]) {
        c.moveTo(a, size / 2);
        c.lineTo(b, size / 2);
        c.moveTo(size / 2, a);
        c.lineTo(size / 2, b);
      }
      c.stroke();
    }
    c.fillStyle = "#fff";
    c.fillRect(size / 2 - 2, size / 2 - 2, 4, 4);
  }

  hideLoupe() {
    this.loupe.hidden = true;
  }
}
