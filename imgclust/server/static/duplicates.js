// Duplicates: look for them, dismiss a group, the list for the shell.

import { api, byId, change, commands, keys, request, say } from "./gallery.js";

Object.assign(commands, {
  async find() {
    if (await change(() => request("duplicates", {}), "done")) location.href = location.pathname;
  },

  async dismiss(button) {
    const group = button.closest(".group");
    const images = group.dataset.images.split(" ").map(Number);
    if (!await change(() => request("duplicates/dismiss", { images }), "dismissed: not shown again")) return;
    const place = document.createComment("");
    const next = group.nextElementSibling ?? group.previousElementSibling;
    group.replaceWith(place);
    count(-1);
    next?.querySelector("a").focus();
    const back = document.createElement("button");
    back.type = "button";
    back.textContent = "Undo";
    const line = say("This group is dismissed. ", { keep: true });
    line.append(back);
    setTimeout(() => line.remove(), 20_000);
    back.addEventListener("click", async () => {
      if (!await change(() => request("duplicates/dismiss", { images, undo: true }), "back")) return;
      place.replaceWith(group);
      count(1);
      line.remove();
      group.querySelector("a").focus();
    });
  },

  async list(button) {
    const list = byId("list");
    list.hidden = !list.hidden;
    button.setAttribute("aria-expanded", String(!list.hidden));
    if (list.hidden) return;
    const answer = await fetch(`${api}/duplicates/list`);
    list.querySelector("textarea").value = await answer.text();
    list.querySelector("textarea").focus();
  },

  async copy() {
    const text = byId("list").querySelector("textarea");
    text.select();
    try {
      await navigator.clipboard.writeText(text.value);
      say("copied");
    } catch { // a place without a clipboard: over HTTP from another machine
      say("selected; copy it with Ctrl+C");
    }
  },
});

function count(by) {
  byId("groups").textContent = (Number(byId("groups").textContent.replaceAll(",", "")) + by).toLocaleString("en");
}

keys.d = () => document.activeElement.closest(".group")?.querySelector("[data-do=dismiss]").click();
keys.l = () => document.querySelector("[data-do=list]")?.click();
