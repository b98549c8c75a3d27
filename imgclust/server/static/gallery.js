// The gallery: keys, selection, commands, changes as they come. No library, no request elsewhere.
// Pages with much of their own have a file each, which takes what it needs from here.

export const collection = document.body.dataset.collection;
export const api = `/api/v1/collections/${collection}`;
const grid = document.getElementById("grid");
export const byId = (id) => document.getElementById(id);

// A new element with its properties and what is in it.
export function node(tag, properties = {}, ...inside) {
  const one = Object.assign(document.createElement(tag), properties);
  one.append(...inside);
  return one;
}

const button = (label, action) => node("button", { type: "button", textContent: label, onclick: action });

// ---- Saying and asking
export function say(text, { keep = false, fault = false, label, action } = {}) {
  const line = node("div", { className: fault ? "fault" : "" }, fault ? `⚠ ${text}` : text);
  if (label) line.append(" ", button(label, () => { line.remove(); action(); }));
  byId("status").append(line);
  if (!keep) setTimeout(() => line.remove(), label ? 20_000 : 6000);
  return line;
}

// What the page before had to say, and what it did that can be undone.
export function home(text) { later(text); location.href = `/c/${collection}/`; }
export function later(text, done = null) { sessionStorage.setItem("imgclust said", JSON.stringify({ text, done })); }

// Above the page, where it covers nothing, until it is closed.
function notice(...inside) {
  const line = node("div", {}, ...inside);
  byId("notice").append(line);
  return line;
}

function offer(text, label, action) {
  if (byId("offer")) return;
  const close = node("button", { type: "button", ariaLabel: "Close", onclick: () => line.remove() }, "×");
  const line = Object.assign(notice(text, " ", button(label, action), " ", close), { id: "offer" });
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
let looking = false;

// Until the service answers again, all tabs say that it does not.
async function lost() {
  if (looking) return;
  looking = true;
  let line;
  while (!await fetch("/livez").then(() => true, () => false)) {
    line ??= notice("imgclust is not running any more: start it again with imgclust serve; this page goes on by itself.");
    await pause(2000);
  }
  line?.remove();
  looking = false;
}

export async function send(path, options) {
  const answer = await fetch(path, options).catch((error) => {
    if (error.name === "AbortError") throw error;
    lost();
    throw new Error("imgclust did not answer");
  });
  if (!answer.ok) throw new Error((await answer.json()).error.message);
  return answer;
}

export const posted = (body) => ({ method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

export async function request(path, body) {
  const answer = await send(path.startsWith("/") ? path : `${api}/${path}`, body && posted(body));
  const found = await answer.json();
  return answer.status === 202 && found.state ? finished(found) : found;
}

const steps = JSON.parse(document.body.dataset.steps);

async function finished(job) {
  const line = Object.assign(say("started", { keep: true }), { className: "job" });
  try {
    let now = job;
    while (now.state === "running") {
      await pause(300);
      now = await (await send(`${api}/jobs/${job.id}`)).json();
      const { step, done, total } = now.progress ?? {};
      if (step) line.textContent = `${steps[step] ?? step}${total ? `: ${done.toLocaleString("en")} of ${total.toLocaleString("en")}` : ""}`;
    }
    if (now.state !== "done") throw new Error(now.result.error.message);
    return now.result;
  } finally { line.remove(); }
}

// The answer of a person, null for none. `work` gets it: what it refuses is asked again.
export function ask(title, field, { value = "", work } = {}) {
  const dialog = byId("ask");
  const form = dialog.querySelector("form");
  byId("ask-title").textContent = title;
  byId("ask-why").textContent = "";
  for (const one of ["text", "which"]) byId(`ask-${one}`).hidden = byId(`ask-${one}`).disabled = field !== one;
  const input = field ? byId(`ask-${field}`).querySelector("input") : null;
  if (field) input.value = value;
  if (field === "which") { filter(""); input.oninput = () => filter(input.value); }
  dialog.showModal();
  input?.focus();
  input?.select();
  return new Promise((resolve) => {
    let answer = null;
    dialog.onclose = () => resolve(answer);
    form.onsubmit = async (event) => {
      event.preventDefault();
      const given = event.submitter?.value === "no" ? null : field === "which" ? form.elements.which.value : input ? input.value.trim() : true;
      try {
        form.inert = true; // one answer, however fast the keys are
        if (given !== null) await work?.(given);
        answer = given;
        dialog.close();
      } catch (error) { byId("ask-why").textContent = `⚠ ${error.message}`; }
      form.inert = false;
      if (dialog.open) input?.focus();
    };
  });
}

// Shows the clusters that have this in their name or number, and chooses it where that is one.
function filter(text) {
  const [wanted, all] = [text.trim().toLowerCase(), [...document.querySelectorAll("#ask-which label")]];
  const fits = (one) => one.control.value === wanted || one.querySelector("span").textContent.toLowerCase().includes(wanted);
  const first = all.find((one) => one.control.value === wanted) ?? (all.filter(fits).length === 1 ? all.find(fits) : null);
  for (const one of all) [one.hidden, one.control.checked] = [!fits(one), wanted !== "" && one === first];
}

// ---- Changes as they come: one connection for all tabs, as browsers open few to one place
const channel = new BroadcastChannel(`imgclust ${collection}`);
channel.addEventListener("message", (message) => heard(message.data));

function connect() {
  const last = document.body.dataset.last;
  const source = new EventSource(`${api}/events?after=${encodeURIComponent(last)}`);
  source.addEventListener("error", () => { channel.postMessage({ event: "lost" }); lost(); });
  const kinds = ["reset", "image_added", "image_removed", "image_changed", "image_missing", "image_back", "cluster_changed",
    "clusters_published", "corrections_changed", "quarantine_changed", "roots_changed", "note"];
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
  if (change.event === "lost") return lost();
  if (listeners.some((one) => one(change))) return;
  const again = () => location.reload();
  if (change.event === "image_added") return arrived(change);
  if (change.event === "image_removed") return left(change.image);
  if (["clusters_published", "reset"].includes(change.event) && !document.querySelector("#status .job")) { // its own job
    if (byId("reading") && !grid.children.length) return again(); // the first clusters
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
  const item = document.querySelector(`.wall [data-cluster="${cluster}"]`);
  if (item) { bump(item.querySelector(".size"), 1); mark(item); count(item, 1); }
  if (grid?.dataset.cluster && Number(grid.dataset.cluster) === cluster) {
    if (grid.querySelector(`[data-image="${image}"]`)) return;
    const card = made(await request(`images/${image}`));
    grid.prepend(card);
    mark(card);
    bump(byId("total"), 1);
  }
}

function left(image) {
  const card = grid?.dataset.cluster && grid.querySelector(`[data-image="${image}"]`);
  if (card) bump(byId("total"), -1);
  card?.remove();
}

function mark(item) { item.classList.add("arrived"); setTimeout(() => item.classList.remove("arrived"), 8000); }

const number = (element) => Number(element?.textContent.replaceAll(",", ""));
export function bump(element, by) { if (element) element.textContent = (number(element) + by).toLocaleString("en"); }

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
  // All is new on a first visit: that tells nothing.
  const size = (one) => number(grid.querySelector(`[data-cluster="${one.cluster}"] .size`));
  if (seen < 0 || found.clusters.every((one) => one.images === size(one))) return;
  for (const { cluster, images } of found.clusters) {
    const item = grid.querySelector(`[data-cluster="${cluster}"]`);
    if (item) count(item, images);
  }
}

// How many files are read: from the page itself.
async function reading() {
  const now = new DOMParser().parseFromString(await (await send(location.href)).text(), "text/html");
  byId("reading").replaceWith(document.adoptNode(now.getElementById("reading")));
  if (Number(byId("reading").dataset.pending)) setTimeout(() => reading().catch(() => {}), 2000);
}

if (byId("reading") && grid.children.length) news().catch(() => {}); // a visit without clusters is none
if (Number(byId("reading")?.dataset.pending)) setTimeout(() => reading().catch(() => {}), 2000);

// ---- Pictures: cards, focus, selection
export function made(facts) {
  const name = facts.path.slice(facts.path.lastIndexOf("/") + 1);
  const about = facts.similarity !== undefined && facts.similarity !== null && !grid.dataset.cluster
    ? `similarity ${facts.similarity.toFixed(2)}` : (facts.taken ?? "").slice(0, 10);
  const item = node("li", { draggable: Boolean(grid.dataset.cluster) },
    node("a", { className: "card", href: `/c/${collection}/images/${facts.id}` },
      node("img", { src: `${api}/images/${facts.id}/thumbnail`, alt: name, width: 160, height: 160,
        loading: "lazy", decoding: "async" }),
      node("span", { className: "caption" }, name),
      node("span", { className: "soft" }, about, facts.missing ? " · missing" : "")));
  item.dataset.image = facts.id;
  if (grid.dataset.cluster) {
    item.append(node("input", { type: "checkbox", tabIndex: -1, ariaLabel: `Select ${name}` }));
  } else if (facts.cluster !== null && facts.cluster !== undefined) {
    item.append(node("a", { className: "home", href: `/c/${collection}/clusters/${facts.cluster}` },
      facts.name ?? `Cluster ${facts.cluster}`));
  }
  return item;
}

const cards = () => [...(grid?.querySelectorAll("li") ?? [])];
const selected = () => cards().filter((one) => one.classList.contains("selected"));
let anchor = null;

function select(item, on) { item.querySelector("input").checked = item.classList.toggle("selected", on); }

function toggle(item, { range = false } = {}) {
  const on = !item.classList.contains("selected");
  if (range && anchor?.isConnected) {
    const all = cards();
    const [from, to] = [all.indexOf(anchor), all.indexOf(item)].sort((a, b) => a - b);
    all.slice(from, to + 1).forEach((one) => select(one, true));
  } else { select(item, on); }
  anchor = item;
  show();
}

function none() { selected().forEach((one) => select(one, false)); show(); }

function show() {
  const count = selected().length;
  if (!document.querySelector(".chosen")) return; // the page of one image
  document.querySelector(".chosen").hidden = !count;
  byId("count").textContent = `${count} selected`;
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
    const all = cards().map((one) => one.dataset.image).filter(Boolean);
    sessionStorage.setItem("imgclust order", JSON.stringify(all.slice(0, 5000)));
  }
});

// ---- Commands of a cluster
const cluster = grid?.dataset.cluster;
// The image of the page that shows one: commands are about it.
const image = document.querySelector(".large [data-image]")?.dataset.image;
const MOST_ASKED = 1000;
const ids = () => (image ? [Number(image)] : selected().map((one) => Number(one.dataset.image)));

async function busily(work) {
  busy = true;
  return work().finally(() => setTimeout(() => { busy = false; }, 1500));
}

// What was done, null if it failed. `said` may tell it from that; empty: something else says it.
export async function change(work, said = "") {
  const line = Object.assign(say("One moment…", { keep: true }), { className: "moment" });
  try {
    const done = await busily(work) ?? true;
    const text = typeof said === "function" ? said(done) : said;
    if (text) say(text);
    return done;
  } catch (error) {
    say(error.message, { fault: true });
    return null;
  } finally { line.remove(); }
}

export const several = (number) => `${number.toLocaleString("en")} image${number === 1 ? "" : "s"}`;
export const called = (id, name = document.querySelector(`#ask-which [value="${id}"]`)?.dataset.name) => (
  name ? `${name} (cluster ${id})` : `cluster ${id}`);
export const TAKEN_BACK = "taken back; it stays where it is until the next clustering";

// Where images went; `done` is what the service said of it.
function went(done) {
  const homes = [...new Set(done.images.map((one) => one.after))].filter((one) => one !== null);
  const number = several(done.images.length);
  return done.kind === "in" ? `${number} moved to ${called(done.cluster, done.name ?? undefined)}`
    : `${number} taken out, now in ${homes.map((one) => called(one)).join(", ")}; not put back by itself`;
}

export function undoable(text, done) { say(text, { label: "Undo", action: () => unmove(done) }); }

// Where they were; what a person had said of them before counts again.
async function unmove({ kind, cluster: about, images, corrections, fresh: made }) {
  if (!await change(() => request("corrections/undo", { kind, cluster: about, images, corrections, unname: made || null }))) return;
  later(`${several(images.length)} moved back`);
  location.reload();
}

const said = JSON.parse(sessionStorage.getItem("imgclust said") ?? "null");
sessionStorage.removeItem("imgclust said");
if (said?.done) undoable(said.text, said.done);
else if (said) say(said.text);

// Images have left this page.
function away(images, text, done = null) {
  if (image) { later(text, done); return location.reload(); }
  if (done) undoable(text, done);
  else say(text);
  for (const one of images) left(one);
  for (const { after } of done?.images ?? []) bump(document.querySelector(`#targets [data-target="${after}"] .soft`), 1);
  show();
}

async function moved(path, body) {
  const done = await change(() => request(path, body));
  if (done) away(body.images, went(done), done);
}

const chosen = () => { if (!ids().length) say("select images first"); return ids(); };

// A new cluster of these images; the page is read again, so that more can be moved to it.
export const fresh = (images) => ask("Name of the new cluster", "text", { async work(name) {
  if (!name) throw new Error("Give the new cluster a name.");
  const done = await busily(() => request("clusters", { name, images }));
  later(went(done), { ...done, fresh: done.name });
  location.reload();
} });

// What became of a cluster, said on the page of all of them.
function told(what, { sizes }, all) {
  const has = (one) => `${one === cluster ? byId("title").textContent : called(one)} has ${several(sizes[one])}`;
  home(`${what}: ${all.filter((one) => sizes[one]).map(has).join(", ")}`);
}

export const commands = {
  async move() {
    const images = chosen();
    const to = images.length ? await ask("Move to", "which") : null;
    if (to) await moved(`clusters/${to}/move`, { images });
  },
  async new() { if (chosen().length) await fresh(ids()); },
  async exclude() {
    const images = chosen();
    if (images.length) await moved(`clusters/${cluster ?? byId("cluster").dataset.cluster}/exclude`, { images });
  },
  async forget(button) {
    if (await change(() => request("corrections/remove", { corrections: [Number(button.dataset.number)] }))) away([], TAKEN_BACK);
  },
  similar() {
    const all = chosen();
    // An address holds so many; what a thousand have in common, all of them have.
    const some = all.length <= MOST_ASKED ? all : Array.from({ length: MOST_ASKED }, (_, place) => all[Math.floor(place * all.length / MOST_ASKED)]);
    if (all.length) location.href = `/c/${collection}/search?${some.map((one) => `image=${one}`).join("&")}&of=${all.length}`;
  },
  async rename() {
    const before = byId("title").dataset.name;
    const give = (name) => busily(() => request(`clusters/${cluster}/name`, { name }));
    const name = await ask("Name of the cluster; from then on its images stay in it", "text",
      { value: before, work: (name) => name && name !== before && give(name) });
    if (name === null || name === before) return;
    if (!name && !(await ask("Remove the name?") && await change(() => give("")))) return;
    later(name ? `the name is ${name} now` : "the name is removed");
    location.reload();
  },
  async split() {
    const done = await ask("Split this cluster into groups that differ? You can go back on the page Clusters.")
      && await change(() => request(`clusters/${cluster}/split`, {}));
    if (done && !done.new.length) say("not split: its images show no groups");
    else if (done) told("split", done, [cluster, ...done.new]);
  },
  async merge() {
    const other = await ask("Merge with; the larger one stays", "which");
    const done = other && await change(() => request("merge", { clusters: [Number(cluster), Number(other)] }));
    if (done) told("merged", done, [cluster, other]);
  },
  async undo(button) {
    const [before, again] = [`the ${button.dataset.before} clusters before`, `to have ${button.dataset.now} again`];
    if (!await ask(`Go back to ${before}? Names stay, and no image leaves a named cluster; ${again}, make new ones on Choose k.`)
      || !await change(() => request("undo", {}))) return;
    home(`back at ${before}; ${again}, apply that number on Choose k`);
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
  const over = (on) => (event) => { event.preventDefault(); target.classList.toggle("over", on); };
  target.addEventListener("dragover", over(true));
  target.addEventListener("dragleave", over(false));
  target.addEventListener("drop", (event) => {
    over(false)(event);
    const given = event.dataTransfer.getData("application/x-imgclust");
    if (given) moved(`clusters/${target.dataset.target}/move`, { images: JSON.parse(given) });
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
  else if (event.key === "u") [...document.querySelectorAll("#status button")].at(-1)?.click();
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
    byId("shown").addEventListener("error", () => { byId("asked").hidden = true; });
    this.draw();
    if (history.state?.neighbours) this.put(history.state); // after "back"
  }

  take(files) {
    if (!files.length) return;
    this.files = [...files];
    byId("file").value = ""; // the same one can be chosen again
    const many = this.files.length > 1;
    const together = byId("together");
    for (const one of document.querySelectorAll("#shown, #together img")) URL.revokeObjectURL(one.src);
    together.replaceChildren(...(many ? this.files : []).map((file) => node("li", {},
      node("img", { src: URL.createObjectURL(file), alt: file.name, width: 96, height: 96 }))));
    if (!many) byId("shown").src = URL.createObjectURL(this.files[0]);
    byId("asked").hidden = many;
    together.hidden = !many;
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
    frame.addEventListener("pointerdown", (event) => { from = place(event); frame.setPointerCapture(event.pointerId); });
    frame.addEventListener("pointermove", (event) => {
      if (!from) return;
      const to = place(event);
      this.rectangle = [Math.min(from[0], to[0]), Math.min(from[1], to[1]),
        Math.abs(from[0] - to[0]), Math.abs(from[1] - to[1])];
      const [x, y, width, height] = this.rectangle.map((one) => `${one * 100}%`);
      Object.assign(region.style, { left: x, top: y, width, height });
      region.hidden = false;
    });
    frame.addEventListener("pointerup", () => {
      if (from && this.rectangle) {
        const small = this.rectangle[2] < 0.02 || this.rectangle[3] < 0.02;
        region.hidden = small;
        this.find(small ? null : this.rectangle);
      }
      from = this.rectangle = null;
    });
  }

  async find(part = null) {
    const asked = new URLSearchParams({ n: 40 });
    if (this.files.length > 1) asked.set("sizes", this.files.map((one) => one.size).join());
    if (part) asked.set("region", part.map((one) => one.toFixed(4)).join(","));
    const line = say("searching", { keep: true });
    let found = { neighbours: [] };
    try {
      const answer = await send(`${api}/query?${asked}`, { method: "POST",
        headers: { "content-type": "application/octet-stream" }, body: new Blob(this.files) });
      found = { neighbours: (await answer.json()).neighbours, names: this.files.map((one) => one.name).join(", ") };
      history.replaceState(found, "");
    } catch (error) {
      byId("asked").hidden = byId("together").hidden = true;
      history.replaceState(null, "");
      say(error.message, { fault: true });
    }
    line.remove();
    this.put(found);
  }

  put({ neighbours, names }) {
    byId("by").textContent = names ? `Most similar to ${names}:` : "";
    grid.replaceChildren(...neighbours.map(made));
  }
});
