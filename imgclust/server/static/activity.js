// What happens: the page is read again when something changes, and its parts are replaced.

import { api, ask, byId, change, commands, keys, listeners, posted, request, send } from "./gallery.js";

// At most once in so many milliseconds; a running job is looked at without any event.
const PAUSE = 1000;
let waiting = null;
let read = 0;

function renew() {
  waiting ??= setTimeout(async () => {
    waiting = null;
    read = Date.now();
    const answer = await send(location.href).catch(() => null);
    if (!answer) return;
    const found = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("main section")) {
      const next = found.getElementById(part.id);
      // What a person is about to press stays, and so does what has not changed.
      if (!next || part.contains(document.activeElement) || part.textContent === next.textContent) continue;
      const open = part.querySelector("details[open]");
      part.replaceWith(document.adoptNode(next));
      if (open) byId(part.id).querySelector("details")?.setAttribute("open", "");
    }
    if (document.querySelector("[data-do=cancel]")) renew();
  }, Math.max(0, PAUSE - (Date.now() - read)));
}

listeners.push(() => {
  renew();
  return true;
});
setInterval(renew, 10_000);
if (document.querySelector("[data-do=cancel]")) renew();
document.addEventListener("focusout", renew);

async function pressed(button, work, said) {
  button?.blur();
  await change(work, said);
  renew();
}

Object.assign(commands, {
  pause: (button) => pressed(button, () => request("pause", {}), "paused: nothing is read until it is resumed"),
  resume: (button) => pressed(button, () => request("resume", {}), "resumed"),
  cancel: (button) => pressed(button, () => fetchJob(button.dataset.job), "asked to stop"),
  retry: (button) => pressed(button, () => request("quarantine/retry",
    { paths: button.dataset.path ? [button.dataset.path] : [] }), "read again"),
  async accept(button) {
    const images = Number(button.dataset.count).toLocaleString("en");
    if (!await ask(`Take ${images} missing out of the collection? Their names and corrections are lost.`)) return;
    await pressed(button, () => request("missing/accept", {}), "taken out");
  },
});
keys.p = () => document.querySelector("[data-do=pause], [data-do=resume]").click();

// The answer to this is a job that still runs: it is not waited for.
const fetchJob = (job) => send(`${api}/jobs/${job}/cancel`, posted({}));
