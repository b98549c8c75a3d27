// The map: points drawn into pixels by the processor, thumbnails and numbers over them.

import { api, ask, byId, called, change, collection, commands, fresh, keys, listeners, made, node, request, say, send, several, undoable } from "./gallery.js";

// Above so many points a part of them is drawn while the map moves.
const QUICK = 250_000;
const CELL = 92; // pixels that a thumbnail has for itself, at least
const [PICTURE, HINT] = [60, 160]; // sides of pictures, and of the one that is pointed at
const MOST_CHANGED = 10_000; // images of one command
const LIT_MS = 30_000;
// Flags of images, and the sign of each.
const SIGNS = [{ flag: 4, sign: "+", name: "corrected by a person" }, { flag: 1, sign: "×", name: "files that are missing" }];
const MOST_SIGNS = 5000; // in view, on one picture
const SHAPES = { circle: "M8 1a7 7 0 1 0 .1 0z", square: "M2 2H14V14H2z", triangle: "M8 1L15 14H1z",
  diamond: "M8 0L16 8L8 16L0 8z", down: "M1 2H15L8 15z" };
const INSIDE = {
  circle: (x, y, r) => x * x + y * y <= r * r + 0.5,
  square: () => true,
  triangle: (x, y, r) => Math.abs(x) <= (y + r) / 2 + 0.3,
  diamond: (x, y, r) => Math.abs(x) + Math.abs(y) <= r,
  down: (x, y, r) => Math.abs(x) <= (r - y) / 2 + 0.3,
};

// Columns of points: see the description of map/points in the OpenAPI document.
export function columns(buffer) {
  const head = new DataView(buffer);
  const n = head.getUint32(8, true);
  const at = (part) => 16 + 4 * n * part;
  return { n, last: head.getUint32(12, true), ids: new Uint32Array(buffer, at(0), n),
    x: new Float32Array(buffer, at(1), n), y: new Float32Array(buffer, at(2), n),
    clusters: new Int32Array(buffer, at(3), n), flags: new Uint8Array(buffer, at(4), n) };
}

function joined(one, other) {
  const whole = new one.constructor(one.length + other.length);
  whole.set(one);
  whole.set(other, one.length);
  return whole;
}

const within = (at, half, size) => Math.min(Math.max(at, half + 2), size - half - 2);
const packed = (text) => { // #rrggbb as a pixel of ImageData
  const value = parseInt(text.slice(1), 16);
  return (0xff000000 | (value & 255) << 16 | (value & 0xff00) | value >> 16) >>> 0;
};

customElements.define("image-map", class extends HTMLElement {
  async connectedCallback() {
    this.box = byId("map");
    this.canvas = byId("points");
    this.over = byId("over").getContext("2d");
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.pictures = new Map();
    this.lit = [];
    this.fetching = 0;
    [this.known, this.data] = await Promise.all([request("map"), this.load(0)]);
    this.chosen = new Uint8Array(this.data.n);
    this.assign();
    this.legend();
    this.listen();
    new ResizeObserver(() => this.resize()).observe(this.box);
    this.dark.addEventListener("change", () => { this.assign(); this.legend(); this.dirty(); });
  }

  async load(after) { return columns(await (await send(`${api}/map/points?after=${after}`)).arrayBuffer()); }

  // ---- Clusters: their colours, shapes and centres
  assign() {
    const list = this.known.clusters;
    this.place = new Map(list.map((one, at) => [one.id, at + 1]));
    const dark = this.dark.matches;
    const grey = dark ? "#9a9a9a" : "#8a8a8a";
    this.colours = [grey, ...list.map((one) => (dark ? one.on_dark : one.colour))];
    this.pixels = Uint32Array.from(this.colours, packed);
    this.shapes = ["circle", ...list.map((one) => one.shape)];
    const { n, clusters, x, y } = this.data;
    this.slots = Uint16Array.from(clusters, (one) => this.place.get(one) ?? 0);
    const sums = this.shapes.map(() => [0, 0, 0]);
    for (let i = 0; i < n; i += 1) {
      const sum = sums[this.slots[i]];
      sum[0] += x[i]; sum[1] += y[i]; sum[2] += 1;
    }
    this.counts = sums.map((sum) => sum[2]);
    this.centres = sums.map(([a, b, count]) => (count ? [a / count, b / count] : null));
  }

  label(slot) {
    const one = this.known.clusters[slot - 1];
    return one ? one.name ?? `Cluster ${one.id}` : "no cluster";
  }

  legend() {
    const buttons = this.known.clusters.map((one, at) => {
      const mark = byId("mark").content.firstElementChild.cloneNode(true);
      mark.firstElementChild.setAttribute("d", SHAPES[one.shape]);
      mark.firstElementChild.setAttribute("fill", this.colours[at + 1]);
      const words = `${one.id}${one.name ? ` ${one.name}` : ""} (${this.counts[at + 1].toLocaleString("en")})`;
      const onclick = () => { this.go(at + 1); this.box.scrollIntoView({ block: "nearest" }); };
      return node("li", {}, node("button", { type: "button", onclick }, mark, node("span", {}, words)));
    });
    const signs = SIGNS.map(({ flag, sign, name }) => {
      const count = this.data.flags.reduce((sum, one) => sum + (one & flag ? 1 : 0), 0);
      return count ? [node("li", {}, `${sign} ${name} (${count.toLocaleString("en")})`)] : [];
    });
    byId("legend").replaceChildren(...buttons, ...signs.flat());
  }

  // ---- The view: pixel = scale * (x, -y) + (left, top), in pixels of the device
  resize() {
    this.ratio = Math.min(devicePixelRatio || 1, 2);
    const width = Math.round(this.box.clientWidth * this.ratio);
    const height = Math.round(this.box.clientHeight * this.ratio);
    if (!width || !height || (width === this.width && height === this.height)) return;
    const first = !this.width;
    const middle = first ? null : this.at(this.width / 2, this.height / 2);
    [this.width, this.height] = [width, height];
    for (const one of [this.canvas, this.over.canvas]) Object.assign(one, { width, height });
    this.paper = this.canvas.getContext("2d");
    this.image = this.paper.createImageData(width, height);
    this.buffer = new Uint32Array(this.image.data.buffer);
    if (first) this.whole();
    else this.centre(...middle);
  }

  at(px, py) { return [(px - this.left) / this.scale, (this.top - py) / this.scale]; }

  centre(x, y) {
    this.left = this.width / 2 - this.scale * x;
    this.top = this.height / 2 + this.scale * y;
    this.moved();
  }

  fit(rows) {
    const { x, y } = this.data;
    let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
    rows((i) => {
      if (Number.isNaN(x[i])) return; // it has left
      [x0, x1, y0, y1] = [Math.min(x0, x[i]), Math.max(x1, x[i]), Math.min(y0, y[i]), Math.max(y1, y[i])];
    });
    if (x0 > x1) return;
    this.scale = 0.92 * Math.min(this.width / (x1 - x0 || 1), this.height / (y1 - y0 || 1));
    this.centre((x0 + x1) / 2, (y0 + y1) / 2);
  }

  whole() {
    this.fit((see) => { for (let i = 0; i < this.data.n; i += 1) see(i); });
    this.least = this.scale;
  }

  go(slot) {
    this.now = slot;
    this.fit((see) => { for (let i = 0; i < this.data.n; i += 1) if (this.slots[i] === slot) see(i); });
    this.scale = Math.min(this.scale, this.least * 40);
    if (this.centres[slot]) this.centre(...this.centres[slot]);
    byId("where").textContent = this.label(slot);
  }

  zoom(by, px = this.width / 2, py = this.height / 2) {
    const [x, y] = this.at(px, py);
    this.scale = Math.min(Math.max(this.scale * by, this.least / 4), this.least * 20_000);
    this.left = px - this.scale * x;
    this.top = py + this.scale * y;
    this.moved();
  }

  pan(dx, dy) { this.left += dx; this.top += dy; this.moved(); }

  moved() {
    this.moving = true;
    this.hinted = -1;
    clearTimeout(this.resting);
    this.resting = setTimeout(() => { this.moving = false; this.dirty(); }, 150);
    this.dirty();
  }

  dirty() { if (!this.drawing) this.drawing = requestAnimationFrame(() => { this.drawing = 0; this.draw(); }); }

  // ---- Drawing
  radius() {
    const { n } = this.data;
    const base = n > 300_000 ? 0 : n > 30_000 ? 0.5 : n > 3_000 ? 1.5 : 3;
    return Math.min(7, Math.round((base + Math.log2(Math.max(1, this.scale / this.least))) * this.ratio));
  }

  mask(shape, r) {
    const found = [];
    for (let y = -r; y <= r; y += 1) {
      for (let x = -r; x <= r; x += 1) if (r < 2 || INSIDE[shape](x, y, r)) found.push(y * this.width + x);
    }
    return Int32Array.from(found);
  }

  draw() {
    if (!this.width) return;
    const { n, x, y } = this.data;
    const { width, height, buffer, scale, left, top, slots, pixels, chosen } = this;
    const r = this.radius();
    const masks = this.shapes.map((shape) => this.mask(shape, r));
    const step = this.moving && n > QUICK ? Math.ceil(n / QUICK) : 1;
    const [right, bottom] = [width - r, height - r];
    buffer.fill(0);
    for (let i = 0; i < n; i += step) {
      const px = Math.round(scale * x[i] + left);
      const py = Math.round(top - scale * y[i]);
      if (px >= r && px < right && py >= r && py < bottom) {
        const slot = slots[i];
        const mask = masks[slot];
        const base = py * width + px;
        const pixel = pixels[slot];
        for (let m = 0; m < mask.length; m += 1) buffer[base + mask[m]] = pixel;
      }
    }
    if (this.count) { // above all others, in the colour of the text, and larger
      const ink = packed(this.dark.matches ? "#ffffff" : "#000000");
      const mask = this.mask("circle", r + 2);
      const edge = r + 2;
      for (let i = 0; i < n; i += 1) {
        if (!chosen[i]) continue;
        const px = Math.round(scale * x[i] + left);
        const py = Math.round(top - scale * y[i]);
        if (px < edge || py < edge || px >= width - edge || py >= height - edge) continue;
        for (let m = 0; m < mask.length; m += 1) buffer[py * width + px + mask[m]] = ink;
        for (const one of masks[slots[i]]) buffer[py * width + px + one] = pixels[slots[i]];
      }
    }
    this.paper.putImageData(this.image, 0, 0);
    if (!this.moving) this.shown = this.thumbnails();
    this.drawOver();
  }

  drawOver() {
    const { over, width, height, ratio } = this;
    over.clearRect(0, 0, width, height);
    const style = getComputedStyle(document.documentElement);
    const [ink, card, mark] = ["--ink", "--card", "--mark"].map((one) => style.getPropertyValue(one));
    for (const i of this.shown ?? []) this.picture(i);
    this.signs(ink, card);
    over.font = `600 ${12 * ratio}px system-ui, "DejaVu Sans", sans-serif`;
    over.textAlign = "center";
    over.textBaseline = "middle";
    const taken = [];
    for (let slot = 1; slot < this.centres.length && taken.length < 60; slot += 1) {
      if (!this.centres[slot]) continue;
      const [px, py] = this.pixel(...this.centres[slot]);
      const { id, name } = this.known.clusters[slot - 1];
      const text = name ? `${id} ${name.length > 24 ? `${name.slice(0, 23)}…` : name}` : String(id);
      const [w, h] = [over.measureText(text).width / 2 + 5 * ratio, 9 * ratio];
      if (px < -w || py < -h || px > width + w || py > height + h) continue;
      if (taken.some(([a, b, c]) => Math.abs(a - px) < c + w && Math.abs(b - py) < 2 * h)) continue;
      taken.push([px, py, w]);
      over.fillStyle = card;
      over.strokeStyle = this.colours[slot];
      over.lineWidth = 2 * ratio;
      over.beginPath();
      over.roundRect(px - w, py - h, 2 * w, 2 * h, h);
      over.fill();
      over.stroke();
      over.fillStyle = ink;
      over.fillText(text, px, py + ratio);
    }
    if (this.hinted >= 0) this.picture(this.hinted, HINT);
    this.light(mark);
    if (this.line) {
      over.strokeStyle = ink;
      over.lineWidth = 2 * ratio;
      over.setLineDash([6 * ratio, 4 * ratio]);
      over.beginPath();
      this.line.forEach(([a, b]) => over.lineTo(a, b));
      over.stroke();
      over.setLineDash([]);
    }
  }

  pixel(x, y) { return [this.scale * x + this.left, this.top - this.scale * y]; }

  // One picture a cell, the first of each; cells keep their places while the map is moved.
  thumbnails() {
    const { n, x, y } = this.data;
    const side = 2 ** Math.ceil(Math.log2((CELL * this.ratio) / this.scale));
    const [x0, y1] = this.at(0, 0);
    const [x1, y0] = this.at(this.width, this.height);
    const firsts = new Map();
    let visible = 0;
    for (let i = 0; i < n; i += 1) {
      if (x[i] < x0 || x[i] > x1 || y[i] < y0 || y[i] > y1) continue;
      visible += 1;
      const cell = Math.floor(x[i] / side) * 1e6 + Math.floor(y[i] / side);
      if (!firsts.has(cell)) firsts.set(cell, i);
    }
    if (visible > 12 * firsts.size) return []; // points tell more
    const found = [];
    for (const i of firsts.values()) {
      const apart = (other) => Math.max(Math.abs(x[i] - x[other]), Math.abs(y[i] - y[other])) * this.scale;
      if (found.every((other) => apart(other) > (PICTURE + 8) * this.ratio)) found.push(i);
    }
    return found;
  }

  picture(i, side = PICTURE) {
    const image = this.fetched(this.data.ids[i]);
    if (!image.complete || !image.naturalWidth) return;
    let [px, py] = this.pixel(this.data.x[i], this.data.y[i]);
    const most = Math.max(image.naturalWidth, image.naturalHeight) / (side * this.ratio);
    const [w, h] = [image.naturalWidth / most, image.naturalHeight / most];
    if (side === HINT) [px, py] = [within(px, w / 2, this.width), within(py, h / 2, this.height)];
    this.over.drawImage(image, px - w / 2, py - h / 2, w, h);
    this.over.strokeStyle = this.colours[this.slots[i]];
    this.over.lineWidth = 2 * this.ratio;
    this.over.strokeRect(px - w / 2, py - h / 2, w, h);
    if (this.chosen[i]) this.over.strokeRect(px - w / 2 - 5, py - h / 2 - 5, w + 10, h + 10);
  }

  // On its point, or in a corner of its picture.
  signs(ink, card) {
    const { over, ratio, data, width, height } = this;
    const pictures = new Set(this.shown ?? []);
    over.font = `700 ${15 * ratio}px system-ui, "DejaVu Sans", sans-serif`;
    over.textAlign = "center";
    over.textBaseline = "middle";
    over.lineWidth = 3 * ratio;
    over.strokeStyle = card;
    over.fillStyle = ink;
    let left = MOST_SIGNS;
    for (let i = 0; i < data.n && left; i += 1) {
      if (!(data.flags[i] & 5)) continue;
      let [px, py] = this.pixel(data.x[i], data.y[i]);
      if (!(px > 0 && py > 0 && px < width && py < height)) continue;
      left -= 1;
      const aside = pictures.has(i) ? (PICTURE / 2) * ratio : 0;
      [px, py] = [px + aside, py - aside];
      for (const { flag, sign } of SIGNS) {
        if (!(data.flags[i] & flag)) continue;
        over.strokeText(sign, px, py);
        over.fillText(sign, px, py);
        px -= 12 * ratio;
      }
    }
  }

  // A few at a time; what is out of sight by then is not asked for.
  fetched(id) {
    const there = this.pictures.get(id);
    if (there) return there;
    if (this.fetching >= 6) return { complete: false };
    if (this.pictures.size > 1500) this.pictures.clear();
    const image = new Image();
    this.fetching += 1;
    const done = () => { this.fetching -= 1; this.dirty(); };
    image.addEventListener("load", done);
    image.addEventListener("error", done);
    image.src = `${api}/images/${id}/thumbnail`;
    this.pictures.set(id, image);
    return image;
  }

  light(mark) {
    const now = performance.now();
    this.lit = this.lit.filter((one) => now - one.at < LIT_MS && one.row < this.data.n);
    if (!this.lit.length) return;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.over.strokeStyle = mark;
    this.over.lineWidth = 3 * this.ratio;
    for (const { row, at } of this.lit) {
      const [px, py] = this.pixel(this.data.x[row], this.data.y[row]);
      const wave = still ? 0 : 5 * Math.sin((now - at) / 180);
      this.over.beginPath();
      this.over.arc(px, py, (16 + wave) * this.ratio, 0, 2 * Math.PI);
      this.over.stroke();
    }
    setTimeout(() => this.dirty(), still ? 1000 : 40);
  }

  // ---- Mouse, fingers, keys
  listen() {
    const down = new Map();
    let from = null;
    const place = (event) => {
      const box = this.box.getBoundingClientRect();
      return [(event.clientX - box.left) * this.ratio, (event.clientY - box.top) * this.ratio];
    };
    this.box.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * 0.002), ...place(event));
    }, { passive: false });
    this.box.addEventListener("pointerdown", (event) => {
      this.box.setPointerCapture(event.pointerId);
      down.set(event.pointerId, place(event));
      from = place(event);
      if ((event.shiftKey || this.box.classList.contains("lasso")) && down.size === 1) this.line = [from];
    });
    this.box.addEventListener("pointermove", (event) => {
      const before = down.get(event.pointerId);
      const [px, py] = place(event);
      if (!before) { this.hint(this.nearest(px, py)); return; }
      if (this.line) { this.line.push([px, py]); this.dirty(); } else if (down.size === 2) {
        const [other] = [...down].filter(([id]) => id !== event.pointerId).map(([, one]) => one);
        const apart = (one) => Math.hypot(one[0] - other[0], one[1] - other[1]) || 1;
        this.zoom(apart([px, py]) / apart(before), (px + other[0]) / 2, (py + other[1]) / 2);
      } else this.pan(px - before[0], py - before[1]);
      down.set(event.pointerId, [px, py]);
    });
    const up = (event) => {
      const to = down.get(event.pointerId);
      down.delete(event.pointerId);
      if (!to) return;
      if (this.line) this.enclose();
      else if (Math.hypot(to[0] - from[0], to[1] - from[1]) < 5) this.point(...to);
      this.line = null;
      this.dirty();
    };
    this.box.addEventListener("pointerup", up);
    this.box.addEventListener("pointercancel", up);
    this.box.addEventListener("pointerleave", () => this.hint(-1));
    const next = (by) => () => {
      const all = this.known.clusters.length;
      if (all) this.go((((this.now ?? 0) - 1 + by + (this.now ? 0 : by < 0 ? 1 : 0)) % all + all) % all + 1);
    };
    const view = () => this.select((i) => {
      const [px, py] = this.pixel(this.data.x[i], this.data.y[i]);
      return px >= 0 && py >= 0 && px <= this.width && py <= this.height;
    });
    const lasso = () => { this.querySelector("[data-do=lasso]").ariaPressed = String(this.box.classList.toggle("lasso")); };
    Object.assign(commands, { closer: () => this.zoom(1.5), farther: () => this.zoom(1 / 1.5), lasso,
      whole: () => this.whole(), refit: () => draw({ dims: 2, refit: true }),
      none: () => this.select(() => false), move: () => this.move(), new: () => this.make() });
    const by = 80;
    Object.assign(keys, { ArrowLeft: () => this.pan(by, 0), ArrowRight: () => this.pan(-by, 0),
      ArrowUp: () => this.pan(0, by), ArrowDown: () => this.pan(0, -by), "+": commands.closer,
      "=": commands.closer, "-": commands.farther, 0: commands.whole, ".": next(1), ",": next(-1),
      l: lasso, v: view, m: commands.move, n: commands.new, Escape: commands.none,
      i: () => this.point(this.width / 2, this.height / 2, Infinity) });
    this.box.addEventListener("keydown", (event) => {
      const link = byId("shown").querySelector("a");
      if (event.key === "Enter" && !link.hidden) link.click();
    });
    listeners.push((change) => this.hear(change));
  }

  nearest(px, py, reach = 16 * this.ratio) {
    const { n, x, y } = this.data;
    const [at, down] = this.at(px, py);
    let [best, least] = [-1, (reach / this.scale) ** 2];
    for (let i = 0; i < n; i += 1) {
      const apart = (x[i] - at) ** 2 + (y[i] - down) ** 2;
      if (apart < least) [best, least] = [i, apart];
    }
    return best;
  }

  // The picture of this point is shown in its place, larger; none for -1.
  hint(row) { if (row !== this.hinted) { this.hinted = row; this.drawOver(); } }

  async point(px, py, reach) {
    const row = this.nearest(px, py, reach);
    const [link, id, flags] = [byId("shown").querySelector("a"), this.data.ids[row], this.data.flags[row]];
    this.hint(row);
    link.hidden = row < 0;
    if (row < 0) return;
    link.href = `/c/${collection}/images/${id}`;
    link.querySelector("img").src = `${api}/images/${id}/thumbnail`;
    const words = `${this.label(this.slots[row])}${flags & 1 ? ", missing" : ""}${flags & 4 ? ", corrected" : ""}`;
    const name = (await request(`images/${id}`).catch(() => null))?.path.split("/").at(-1) ?? `image ${id}`; // removed
    if (!link.href.endsWith(`/${id}`)) return; // another one was asked for meanwhile
    link.querySelector("span").textContent = `Open ${name}, ${words}`;
    byId("where").textContent = `${name}, ${words}`;
  }

  // ---- Selection
  enclose() {
    const line = this.line.filter((_, at) => at % Math.ceil(this.line.length / 200) === 0)
      .map(([px, py]) => this.at(px, py));
    if (line.length < 3) return;
    const { x, y } = this.data;
    const [x0, x1] = [Math.min(...line.map((one) => one[0])), Math.max(...line.map((one) => one[0]))];
    this.select((i) => {
      if (x[i] < x0 || x[i] > x1) return false;
      let inside = false;
      for (let a = 0, b = line.length - 1; a < line.length; b = a, a += 1) {
        const [ax, ay] = line[a];
        const [bx, by] = line[b];
        if ((ay > y[i]) !== (by > y[i]) && x[i] < ((bx - ax) * (y[i] - ay)) / (by - ay) + ax) inside = !inside;
      }
      return inside;
    });
  }

  select(test) {
    this.count = 0;
    for (let i = 0; i < this.data.n; i += 1) this.count += this.chosen[i] = Number(test(i));
    document.querySelector(".chosen").hidden = !this.count;
    const text = `${this.count.toLocaleString("en")} selected`;
    byId("count").textContent = text;
    byId("where").textContent = this.count ? text : "";
    const first = this.images(48);
    byId("grid").replaceChildren(...first.map((id) => made({ id, path: `image ${id}` })));
    clearTimeout(this.naming);
    this.naming = setTimeout(() => first.forEach(async (id) => { // once it stays
      const facts = await request(`images/${id}`).catch(() => null);
      if (facts) byId("grid").querySelector(`[data-image="${id}"]`)?.replaceWith(made(facts));
    }), 400);
    this.dirty();
  }

  images(most = Infinity) {
    const found = [];
    for (let i = 0; i < this.data.n && found.length < most; i += 1) if (this.chosen[i]) found.push(this.data.ids[i]);
    return found;
  }

  async move() {
    if (!this.may()) return;
    const to = await ask("Move to", "which");
    if (!to) return;
    const images = this.images();
    const done = await change(() => request(`clusters/${to}/move`, { images }));
    if (!done) return;
    undoable(`${several(images.length)} moved to ${called(to)}`, done);
    for (let i = 0; i < this.data.n; i += 1) if (this.chosen[i]) this.data.clusters[i] = Number(to);
    this.assign();
    this.legend();
    commands.none();
  }

  async make() { if (this.may()) await fresh(this.images()); }

  may() {
    if (!this.count) say("select images first");
    if (this.count > MOST_CHANGED) say(`Select at most ${MOST_CHANGED.toLocaleString("en")} images.`);
    return this.count > 0 && this.count <= MOST_CHANGED;
  }

  // ---- Arrivals
  hear({ event, image }) {
    if (event === "image_removed") {
      const row = this.data.ids.indexOf(image);
      if (row >= 0) this.data.x[row] = NaN;
      this.dirty();
      return true;
    }
    if (event !== "image_added") return false;
    this.waiting ??= setTimeout(() => this.arrive(), 400);
    return true;
  }

  async arrive() {
    this.waiting = null;
    const fresh = await this.load(this.data.last);
    const old = this.data;
    this.data = { n: old.n + fresh.n, last: fresh.last };
    for (const one of ["ids", "x", "y", "clusters", "flags"]) this.data[one] = joined(old[one], fresh[one]);
    this.chosen = joined(this.chosen, new Uint8Array(fresh.n));
    this.assign();
    this.legend();
    for (let row = old.n; row < this.data.n; row += 1) this.lit.push({ row, at: performance.now() });
    byId("where").textContent = `${this.lit.length} new`;
    this.dirty();
  }
});

async function draw(body) { if (await change(() => request("view", body), "the map is made")) location.reload(); }
commands.draw = () => draw({ dims: 2 });
