// The gallery: keys, selection, commands, changes as they come. No library, no request elsewhere.
// Pages with much of their own have a file each, which takes what it needs from here.

export const collection = document.body.dataset.collection;
export const api = `/api/v1/collections/${collection}`;
const grid = document.getElementById("grid");
export const byId = (id) => document.getElementById(id);

// ---- Saying and asking

export function say(text, { keep = false } = {}) {
  const line = document.createElement("div");
  line.textContent = text;
  byId("status").append(line);
  if (!keep) setTimeout(() => line.remove(), 6000);
  return line;
}

// What the page before had to say.
const said = sessionStorage.getItem("imgclust said");
sessionStorage.removeItem("imgclust said");
if (said) say(said);

export function offer(text, label, action) {
  if (byId("offer")) return;
  const line = say(`${text} `, { keep: true });
  line.id = "offer";
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = label;
  button.addEventListener("click", action);
  line.append(button);
}

export async function request(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
  };
  const answer = await fetch(path.startsWith("/") ? path : `${api}/${path}`, options);
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error.message);
  return answer.status === 202 && found.state ? finished(found) : found;
}

async function finished(job) {
  const line = say(`${job.command}: started`, { keep: true });
  try {
    let now = job;
    while (now.state === "running") {
      await new Promise((resolve) => setTimeout(resolve, 300));
      now = await (await fetch(`${api}/jobs/${job.id}`)).json();
      if (now.progress?.step) line.textContent = `${job.command}: ${now.progress.step}`;
    }
    if (now.state !== "done") throw new Error(now.result.error.message);
    return now.result;
  } finally {
    line.remove();
  }
}

export function ask(title, field) {
  const dialog = byId("ask");
  byId("ask-title").textContent = title;
  byId("ask-text").hidden = field !== "text";
  byId("ask-which").hidden = field !== "which";
  const input = field === "text" ? byId("ask-text").querySelector("input")
    : field === "which" ? byId("ask-which").querySelector("select") : null;
  if (field === "text") input.value = "";
  dialog.returnValue = "no";
  dialog.showModal();
  input?.focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes" ? (input ? input.value.trim() : true) : null);
    }, { once: true });
  });
}

// ---- Changes as they come: one connection for all tabs, as browsers open few to one place

const channel = new BroadcastChannel(`imgclust ${collection}`);
channel.addEventListener("message", (message) => heard(message.data));

function connect() {
  const last = document.body.dataset.last;
  const source = new EventSource(`${api}/events?after=${encodeURIComponent(last)}`);
  const kinds = ["reset", "image_added", "image_removed", "image_changed", "image_missing",
    "image_back", "cluster_changed", "clusters_published", "corrections_changed",
    "quarantine_changed", "roots_changed", "note"];
  for (const kind of kinds) {
    source.addEventListener(kind, (event) => {
      const change = { ...JSON.parse(event.data), event: kind };
      channel.postMessage(change);
      heard(change);
    });
  }
}

if (navigator.locks) navigator.locks.request(`imgclust ${collection}`, () => {
  connect();
  return new Promise(() => {}); // until this tab is closed: then another one connects
});
else connect();

// What a page does about a change; true: nothing else is to be done.
export const listeners = [];

function heard(change) {
  if (listeners.some((one) => one(change))) return;
  const again = () => location.reload();
  if (change.event === "image_added") return arrived(change);
  if (change.event === "image_removed") return left(change.image);
  if (["clusters_published", "reset"].includes(change.event)) {
    offer("The clusters have changed.", "Show them", again);
  } else if (change.event === "cluster_changed" || change.event === "corrections_changed") {
    if (!busy && concerns(change.cluster)) offer("This has changed.", "Show it", again);
  }
}

let busy = false; // a command of this page changes what the events tell of
const concerns = (cluster) => {
  const here = grid?.dataset.cluster ?? byId("cluster")?.dataset.cluster;
  return !here || Number(here) === cluster;
};

async function arrived({ image, cluster }) {
  const size = document.querySelector(`.wall [data-cluster="${cluster}"] .size`);
  if (size) {
    size.textContent = Number(size.textContent.replaceAll(",", "")) + 1;
    mark(size.closest("li"));
    count(size.closest("li"), 1);
  }
  if (grid?.dataset.cluster && Number(grid.dataset.cluster) === cluster) {
    if (grid.querySelector(`[data-image="${image}"]`)) return;
    const facts = await request(`images/${image}`);
    const card = made(facts);
    grid.prepend(card);
    mark(card);
    total(1);
  }
}

function left(image) {
  const card = grid?.querySelector(`[data-image="${image}"]`);
  if (card && grid.dataset.cluster) {
    card.remove();
    total(-1);
  }
}

function mark(item) {
  item.classList.add("arrived");
  setTimeout(() => item.classList.remove("arrived"), 8000);
}

function total(more) {
  const shown = byId("total");
  if (shown) shown.textContent = Number(shown.textContent.replaceAll(",", "")) + more;
}

// ---- The wall: what is new since the last visit

function count(item, more) {
  const place = item.querySelector(".new");
  const before = Number(place.dataset.count ?? 0) + more;
  place.dataset.count = before;
  place.textContent = before ? `${before} new` : "";
}

async function news() {
  const key = `imgclust ${collection} seen`;
  const seen = Number(localStorage.getItem(key) ?? -1);
  const found = await request(`news?after=${seen < 0 ? Number.MAX_SAFE_INTEGER : seen}`);
  localStorage.setItem(key, found.last);
  if (seen < 0) return;
  for (const { cluster, images } of found.clusters) {
    const item = grid.querySelector(`[data-cluster="${cluster}"]`);
    if (item) count(item, images);
  }
}

if (document.querySelector(".wall")) news().catch(() => {});

// ---- Pictures: cards, focus, selection

export function made(facts) {
  const item = document.createElement("li");
  item.dataset.image = facts.id;
  item.draggable = Boolean(grid.dataset.cluster);
  const name = facts.path.slice(facts.path.lastIndexOf("/") + 1);
  const card = document.createElement("a");
  card.className = "card";
  card.href = `/c/${collection}/images/${facts.id}`;
  const picture = document.createElement("img");
  Object.assign(picture, { src: `${api}/images/${facts.id}/thumbnail`, alt: name, width: 160,
    height: 160, loading: "lazy", decoding: "async" });
  const caption = document.createElement("span");
  caption.className = "caption";
  caption.textContent = name;
  const soft = document.createElement("span");
  soft.className = "soft";
  soft.textContent = facts.similarity !== undefined && facts.similarity !== null && !grid.dataset.cluster
    ? `similarity ${facts.similarity.toFixed(2)}` : (facts.taken ?? "").slice(0, 10);
  if (facts.missing) soft.textContent += " · missing";
  card.append(picture, caption, soft);
  item.append(card);
  if (grid.dataset.cluster) {
    const box = document.createElement("input");
    Object.assign(box, { type: "checkbox", tabIndex: -1 });
    box.setAttribute("aria-label", `Select ${name}`);
    item.append(box);
  }
  return item;
}

const cards = () => [...(grid?.querySelectorAll("li") ?? [])];
const selected = () => cards().filter((one) => one.classList.contains("selected"));
let anchor = null;

function select(item, on) {
  item.classList.toggle("selected", on);
  item.querySelector("input").checked = on;
}

function toggle(item, { range = false } = {}) {
  const on = !item.classList.contains("selected");
  if (range && anchor?.isConnected) {
    const all = cards();
    const [from, to] = [all.indexOf(anchor), all.indexOf(item)].sort((a, b) => a - b);
    all.slice(from, to + 1).forEach((one) => select(one, true));
  } else {
    select(item, on);
  }
  anchor = item;
  show();
}

function none() {
  selected().forEach((one) => select(one, false));
  show();
}

function show() {
  const number = selected().length;
  if (!document.querySelector(".chosen")) return; // the page of one image
  document.querySelector(".chosen").hidden = !number;
  byId("count").textContent = `${number} selected`;
}

// After "back" the browser has ticked the boxes again.
addEventListener("pageshow", () => {
  if (!grid?.dataset.cluster) return;
  cards().forEach((one) => select(one, one.querySelector("input").checked));
  show();
});

grid?.addEventListener("click", (event) => {
  const item = event.target.closest("li");
  if (!item) return;
  if (event.target.matches("input") || (grid.dataset.cluster && event.shiftKey)) {
    if (!event.target.matches("input")) event.preventDefault();
    toggle(item, { range: event.shiftKey });
  } else if (event.target.closest("a")) {
    const ids = cards().map((one) => one.dataset.image).filter(Boolean);
    sessionStorage.setItem("imgclust order", JSON.stringify(ids.slice(0, 5000)));
  }
});

// ---- Commands of a cluster

const cluster = grid?.dataset.cluster;
// The image of the page that shows one: commands are about it.
const image = document.querySelector(".large [data-image]")?.dataset.image;
const MOST_ASKED = 1000;
const ids = () => (image ? [Number(image)] : selected().map((one) => Number(one.dataset.image)));

export async function change(work, said) {
  busy = true;
  const line = say("One moment…", { keep: true });
  try {
    await work();
    say(said);
    return true;
  } catch (error) {
    say(error.message);
    return false;
  } finally {
    line.remove();
    setTimeout(() => { busy = false; }, 1500);
  }
}

function away(images, said) {
  if (image) {
    sessionStorage.setItem("imgclust said", said);
    location.reload();
  }
  for (const image of images) left(image);
  show();
}

async function move(images, to) {
  if (!images.length || !to) return;
  const work = () => request(`clusters/${to}/move`, { images });
  const said = images.length === 1 ? "moved; it stays there" : `${images.length} moved; they stay there`;
  if (await change(work, said)) away(images, said);
}

export const commands = {
  async move() { if (ids().length) await move(ids(), await ask("Move to", "which")); },
  async new() {
    const images = ids();
    const name = images.length ? await ask("Name of the new cluster", "text") : null;
    if (name && await change(() => request("clusters", { name, images }), `moved to ${name}`)) away(images, `moved to ${name}`);
  },
  async exclude() {
    const images = ids();
    if (!images.length) return;
    const from = cluster ?? byId("cluster").dataset.cluster;
    const work = () => request(`clusters/${from}/exclude`, { images });
    const said = `${images.length} taken out; ${images.length === 1 ? "it does" : "they do"} not come back`;
    if (await change(work, said)) away(images, said);
  },
  async forget(button) {
    const work = () => request("corrections/remove", { corrections: [Number(button.dataset.number)] });
    if (await change(work, "taken back")) away([], "taken back");
  },
  similar() {
    const all = ids();
    // An address holds so many; what a thousand have in common, all of them have.
    const some = all.length <= MOST_ASKED ? all : Array.from({ length: MOST_ASKED }, (_, place) => all[Math.floor(place * all.length / MOST_ASKED)]);
    if (all.length) location.href = `/c/${collection}/search?${some.map((one) => `image=${one}`).join("&")}&of=${all.length}`;
  },
  async rename() {
    const name = await ask("Name of the cluster; its images stay in it", "text");
    if (name === null) return;
    const work = () => request(`clusters/${cluster}/name`, { name });
    if (await change(work, "renamed")) byId("title").textContent = name || `Cluster ${cluster}`;
  },
  async split() {
    if (!await ask("Split this cluster? Undo goes back.")) return;
    if (await change(() => request(`clusters/${cluster}/split`, {}), "split")) location.href = `/c/${collection}/`;
  },
  async merge() {
    const other = await ask("Merge with; the larger one stays", "which");
    if (!other) return;
    const work = () => request("merge", { clusters: [Number(cluster), Number(other)] });
    if (await change(work, "merged")) location.href = `/c/${collection}/`;
  },
  async undo() {
    if (!await ask("Go back to the clusters before?")) return;
    if (await change(() => request("undo", {}), "undone")) location.href = `/c/${collection}/`;
  },
  none,
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (button) commands[button.dataset.do](button);
});

// Drag a picture, or all that are selected, to another cluster.
grid?.addEventListener("dragstart", (event) => {
  const item = event.target.closest("li");
  if (!cluster || !item) return;
  const images = item.classList.contains("selected") ? ids() : [Number(item.dataset.image)];
  event.dataTransfer.setData("application/x-imgclust", JSON.stringify(images));
  event.dataTransfer.effectAllowed = "move";
  document.body.classList.add("dragging");
});
grid?.addEventListener("dragend", () => document.body.classList.remove("dragging"));
document.querySelectorAll("#targets li").forEach((target) => {
  const over = (on) => (event) => {
    event.preventDefault();
    target.classList.toggle("over", on);
  };
  target.addEventListener("dragover", over(true));
  target.addEventListener("dragleave", over(false));
  target.addEventListener("drop", (event) => {
    over(false)(event);
    const given = event.dataTransfer.getData("application/x-imgclust");
    if (given) move(JSON.parse(given), target.dataset.target);
  });
});

byId("more")?.addEventListener("click", async () => {
  const { order, since, until } = grid.dataset;
  const asked = new URLSearchParams({ order, offset: cards().length, limit: 200 });
  if (since) asked.set("since", since);
  if (until) asked.set("until", until);
  const page = await request(`clusters/${cluster}/images?${asked}`);
  grid.append(...page.images.map(made));
  byId("more").hidden = !page.images.length || cards().length >= page.total;
});

// ---- One image: the next and the previous of the list that it was opened from

if (image) {
  const order = JSON.parse(sessionStorage.getItem("imgclust order") ?? "[]");
  const at = order.indexOf(image);
  for (const [id, other] of [["previous", order[at - 1]], ["next", order[at + 1]]]) {
    if (at < 0 || other === undefined) continue;
    byId(id).href = `/c/${collection}/images/${other}`;
    byId(id).hidden = false;
  }
}

// ---- Keys

// Those of a page: what each does.
export const keys = {};

function step(event) {
  const all = cards();
  const links = all.map((one) => one.querySelector("a"));
  const at = links.indexOf(document.activeElement);
  if (!links.length) return;
  const top = all[0].getBoundingClientRect().top;
  const columns = Math.max(1, all.findIndex((one) => one.getBoundingClientRect().top > top + 4));
  const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
  const to = at < 0 ? 0 : at + by;
  if (to < 0 || to >= links.length) return;
  event.preventDefault();
  links[to].focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.matches("input:not([type=checkbox], [type=range]), select, textarea")) return;
  const item = document.activeElement?.closest("#grid li");
  const go = (path) => { location.href = `/c/${collection}/${path}`; };
  const letters = { m: "move", n: "new", e: "exclude", s: "similar", ...(cluster && { r: "rename" }) };
  const place = document.querySelectorAll("header nav:first-child a")[Number(event.key) - 1];
  if (keys[event.key]) { event.preventDefault(); keys[event.key](event); }
  else if (event.key.startsWith("Arrow")) step(event);
  else if (event.key === "?") byId("keys").showModal();
  else if (event.key === "g") go("");
  else if (place) place.click();
  else if (event.key === "/") { event.preventDefault(); go("search"); }
  else if (cluster && item && (event.key.toLowerCase() === "x" || event.key === " ")) {
    event.preventDefault();
    toggle(item, { range: event.shiftKey });
  } else if (cluster && event.key === "a") { cards().forEach((one) => select(one, true)); show(); }
  else if (cluster && event.key === "Escape") none();
  else if ((cluster || byId("cluster")) && letters[event.key]) { event.preventDefault(); commands[letters[event.key]](); }
  else if (event.key === "j" && byId("next") && !byId("next").hidden) byId("next").click();
  else if (event.key === "k" && byId("previous") && !byId("previous").hidden) byId("previous").click();
  else if (image && event.key === "c") byId("cluster")?.click();
});
byId("help").addEventListener("click", () => byId("keys").showModal());

// ---- Search by a picture

customElements.define("image-search", class extends HTMLElement {
  connectedCallback() {
    const drop = byId("drop");
    byId("file").addEventListener("change", (event) => this.take(event.target.files));
    for (const kind of ["dragover", "dragleave", "drop"]) {
      document.addEventListener(kind, (event) => {
        event.preventDefault();
        drop.classList.toggle("over", kind === "dragover");
        if (kind === "drop") this.take(event.dataTransfer.files);
      });
    }
    document.addEventListener("paste", (event) => this.take(event.clipboardData.files));
    this.draw();
  }

  take(files) {
    if (!files.length) return;
    this.files = [...files];
    const several = this.files.length > 1;
    const together = byId("together");
    for (const one of document.querySelectorAll("#shown, #together img")) URL.revokeObjectURL(one.src);
    together.replaceChildren(...(several ? this.files : []).map((file) => {
      const item = document.createElement("li");
      const small = item.appendChild(document.createElement("img"));
      Object.assign(small, { src: URL.createObjectURL(file), alt: file.name, width: 96, height: 96 });
      return item;
    }));
    if (!several) byId("shown").src = URL.createObjectURL(this.files[0]);
    byId("asked").hidden = several;
    together.hidden = !several;
    byId("region").hidden = true;
    this.find();
  }

  draw() {
    const frame = byId("frame");
    const region = byId("region");
    let from = null;
    const place = (event) => {
      const box = frame.getBoundingClientRect();
      const within = (value, size) => Math.min(Math.max(value / size, 0), 1);
      return [within(event.clientX - box.left, box.width), within(event.clientY - box.top, box.height)];
    };
    frame.addEventListener("dragstart", (event) => event.preventDefault());
    frame.addEventListener("pointerdown", (event) => {
      from = place(event);
      frame.setPointerCapture(event.pointerId);
    });
    frame.addEventListener("pointermove", (event) => {
      if (!from) return;
      const to = place(event);
      this.part = [Math.min(from[0], to[0]), Math.min(from[1], to[1]),
        Math.abs(from[0] - to[0]), Math.abs(from[1] - to[1])];
      const [x, y, width, height] = this.part.map((one) => `${one * 100}%`);
      Object.assign(region.style, { left: x, top: y, width, height });
      region.hidden = false;
    });
    frame.addEventListener("pointerup", () => {
      if (from && this.part) {
        const small = this.part[2] < 0.02 || this.part[3] < 0.02;
        region.hidden = small;
        this.find(small ? null : this.part);
      }
      from = this.part = null;
    });
  }

  async find(part = null) {
    const asked = new URLSearchParams({ n: 40 });
    if (this.files.length > 1) asked.set("sizes", this.files.map((one) => one.size).join());
    if (part) asked.set("region", part.map((one) => one.toFixed(4)).join(","));
    const line = say("searching", { keep: true });
    try {
      const answer = await fetch(`${api}/query?${asked}`, {
        method: "POST", headers: { "content-type": "application/octet-stream" }, body: new Blob(this.files),
      });
      const found = await answer.json();
      if (!answer.ok) throw new Error(found.error.message);
      grid.replaceChildren(...found.neighbours.map(made));
    } catch (error) {
      say(error.message);
    } finally {
      line.remove();
    }
  }
});
