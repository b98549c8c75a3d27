// The review: two pictures, one question; the next ones are asked for while a person looks.

import { api, byId, called, change, collection, commands, keys, listeners, request, TAKEN_BACK } from "./gallery.js";

const AHEAD = 5;
const times = (number) => `${number} time${number === 1 ? "" : "s"}`;

customElements.define("same-group", class extends HTMLElement {
  connectedCallback() {
    this.queue = [];
    this.skipped = [];
    this.done = [];
    Object.assign(commands, { same: () => this.answer(true), different: () => this.answer(false),
      skip: () => this.skip(), back: () => this.back() });
    Object.assign(keys, { y: commands.same, n: commands.different, s: commands.skip, u: commands.back });
    this.fill();
  }

  // What was skipped or waits in the queue is not asked again.
  async fill() {
    const passed = [...this.skipped, ...this.queue].map(({ image, other }) => `${image.id}-${other.id}`);
    const asked = new URLSearchParams({ count: AHEAD });
    for (const one of passed.slice(-150)) asked.append("skipped", one);
    try {
      const found = await request(`review?${asked}`);
      this.queue.push(...found.questions);
      this.count = { together: found.together, apart: found.apart };
      this.show();
    } catch (error) { byId("question").textContent = error.message; }
  }

  show() {
    const { together, apart } = this.count;
    byId("answers").textContent = together + apart ? `So far ${times(together)} the same, ${times(apart)} different.` : "";
    const now = this.queue[0];
    for (const one of ["same", "different", "skip"]) this.querySelector(`[data-do=${one}]`).disabled = !now;
    this.querySelector("[data-do=back]").disabled = !this.done.length;
    byId("pair").hidden = !now;
    if (!now) {
      byId("question").textContent = "There is nothing more to ask now. New images bring new questions.";
      return;
    }
    [now.image, now.other].forEach((one, at) => {
      const figure = byId("pair").children[at];
      const name = one.path.slice(one.path.lastIndexOf("/") + 1);
      figure.querySelector("a").href = `/c/${collection}/images/${one.id}`;
      picture(figure.querySelector("img"), one.id, name);
      const where = one.cluster === null ? "in no cluster" : one.name ?? `Cluster ${one.cluster}`;
      figure.querySelector("figcaption").textContent = `${name} – ${where}`;
    });
    byId("question").textContent = now.image.cluster === now.other.cluster
      ? "Both are in the same cluster now." : "They are in different clusters now.";
    const next = this.queue[1];
    if (next) for (const one of [next.image, next.other]) new Image().src = `${api}/images/${one.id}/preview`;
  }

  next() {
    const one = this.queue.shift();
    this.show();
    if (this.queue.length < 2) this.fill();
    return one;
  }

  async answer(same) {
    const now = this.queue[0];
    if (!now || this.busy) return;
    this.busy = true; // one answer for one question, however fast the keys are
    const body = { image: now.image.id, other: now.other.id, same };
    const ok = await change(async () => {
      const done = await request("review", body);
      this.done.push(done.correction);
      const found = done.moved ? await Promise.all([now.image, now.other].map(({ id }) => request(`images/${id}`))) : [];
      const went = found.filter((one, at) => one.cluster !== [now.image, now.other][at].cluster);
      return went.map((one) => `${one.path.slice(one.path.lastIndexOf("/") + 1)} went to ${called(one.cluster, one.name)}`);
    }, (went) => [`${same ? "together" : "apart"} from now on`, ...went].join("; "));
    this.busy = false;
    if (!ok) return this.skip();
    this.count[same ? "together" : "apart"] += 1;
    this.next();
  }

  skip() { if (this.queue.length && !this.busy) this.skipped.push(this.next()); }

  async back() {
    const last = this.done.pop();
    if (!last) return;
    if (!await change(() => request("corrections/remove", { corrections: [last] }), TAKEN_BACK)) return;
    this.queue.length = 0;
    this.fill();
  }
});
// The small picture is there at once; the large one takes its place when it has been made.
function picture(place, id, alt) {
  const small = `${api}/images/${id}/thumbnail`;
  Object.assign(place, { src: small, alt });
  const large = new Image();
  large.addEventListener("load", () => { if (place.getAttribute("src") === small) place.src = large.src; });
  large.src = `${api}/images/${id}/preview`;
}

// One's own answers change clusters: nothing is offered for that.
listeners.push(({ event }) => ["corrections_changed", "image_added"].includes(event));
