// The choice of k: the elbow curve, and the clusters of the k that is pointed at.

import { api, ask, byId, change, commands, home, keys, listeners, node, request, send, several } from "./gallery.js";

const numbers = (text) => text.split(" ").filter(Boolean).map(Number);

customElements.define("choose-k", class extends HTMLElement {
  connectedCallback() {
    this.all = numbers(this.dataset.k);
    this.kept = numbers(this.dataset.kept);
    this.present = Number(this.dataset.present);
    this.points = new Map([...this.querySelector("polyline").points].map((one, at) => [this.all[at], one]));
    this.slider = byId("k");
    this.slider.addEventListener("input", () => this.show());
    const step = (by) => () => this.go(this.k + by);
    Object.assign(commands, { less: step(-1), more: step(1),
      apply: () => this.k !== this.present && apply({ k: this.k }, `Make ${this.k} clusters?`) });
    Object.assign(keys, { ArrowLeft: step(-1), ArrowRight: step(1), a: commands.apply,
      s: () => this.go(Number(this.dataset.chosen)) });
    this.querySelector("svg").addEventListener("pointerdown", (event) => this.point(event));
    this.querySelector("svg").addEventListener("pointermove", (event) => event.buttons && this.point(event));
    this.show();
  }

  get k() { return Number(this.slider.value); }

  go(k) { this.slider.value = k; this.show(); }

  point(event) {
    const at = new DOMPoint(event.clientX, event.clientY)
      .matrixTransform(event.currentTarget.getScreenCTM().inverse());
    const nearest = [...this.points].sort((a, b) => Math.abs(a[1].x - at.x) - Math.abs(b[1].x - at.x))[0];
    this.go(nearest[0]);
  }

  show() {
    const at = this.points.get(this.k);
    if (at) byId("cursor").setAttribute("transform", `translate(${at.x} 0)`);
    if (at) byId("cursor").querySelector("circle").setAttribute("cy", at.y);
    const now = this.k === this.present;
    byId("now").textContent = `${this.k} cluster${this.k === 1 ? "" : "s"} (k = ${this.k})${now ? ", as now" : ""}`;
    this.querySelector("[data-do=apply]").disabled = now;
    byId("applied").textContent = this.k;
    this.slider.setAttribute("aria-valuetext", `${this.k} clusters`);
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.ask(), 120);
  }

  // Only the newest answer is shown: the slider may be elsewhere when another one comes.
  async ask() {
    const near = (one) => Math.abs(one - this.k);
    const k = this.kept.reduce((best, one) => (near(one) < near(best) ? one : best), this.kept[0]);
    if (k === undefined) {
      byId("about").textContent = "No pictures: the clusters of the curve are not kept. Draw the curve again to see them.";
      return;
    }
    this.stopped?.abort();
    this.stopped = new AbortController();
    try {
      this.draw(await (await send(`${api}/sweep/${k}`, { signal: this.stopped.signal })).json());
    } catch (error) { if (error.name !== "AbortError") byId("about").textContent = error.message; }
  }

  draw(found) {
    const sizes = found.clusters.map((one) => one.images);
    const shown = found.k === this.k ? "" : `shown: ${found.k}, the nearest k whose clusters are kept; `;
    const part = found.sampled < found.distinct ? `, by ${found.sampled.toLocaleString("en")} of them` : "";
    byId("about").textContent = `${shown}${sizes.length} clusters of ${Math.min(...sizes).toLocaleString("en")} `
      + `to ${Math.max(...sizes).toLocaleString("en")} images${part}`;
    const list = byId("preview");
    while (list.children.length > found.clusters.length) list.lastChild.remove();
    found.clusters.forEach((one, at) => {
      if (!list.children[at]) list.append(card());
      fill(list.children[at], one);
    });
  }
});

const card = () => node("li", {}, node("div", { className: "card" }, node("span", { className: "four" }),
  node("span", { className: "name" }), node("span", { className: "soft" })));

// What is shown already stays: pictures do not flicker while the slider moves.
function fill(item, one) {
  const [four, size, whence] = item.firstChild.children;
  one.representatives.forEach((image, at) => {
    const src = `${api}/images/${image}/thumbnail`;
    const there = four.children[at];
    if (there?.getAttribute("src") === src) return;
    const picture = node("img", { src, alt: "", width: 120, height: 120, loading: "lazy", decoding: "async" });
    if (there) there.replaceWith(picture);
    else four.append(picture);
  });
  while (four.children.length > one.representatives.length) four.lastChild.remove();
  size.textContent = several(one.images);
  whence.textContent = one.cluster === null ? ""
    : `${Math.round(100 * one.share)} % from ${one.name ?? `Cluster ${one.cluster}`}`;
}

async function apply(body, question) {
  if (!await ask(question)) return;
  const result = await change(() => request("cluster", body));
  if (!result) return;
  home(result.sentence || `${result.k} clusters`);
}

Object.assign(commands, {
  coarser: () => apply({ step: "coarser" }, "Unite the clusters that are most alike? You can go back."),
  finer: () => apply({ step: "finer" }, "Split the clusters that hold the most differences? You can go back."),
  async sweep() { if (await change(() => request("sweep", {}), "the curve is drawn")) location.reload(); },
});
Object.assign(keys, { f: () => document.querySelector("[data-do=finer]")?.click(),
  c: () => document.querySelector("[data-do=coarser]")?.click() });
// The curve of this page is of the images of its time: it says so itself when it is read again.
listeners.push((change) => change.event === "image_added");
