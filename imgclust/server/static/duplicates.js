// Duplicates: look for them, dismiss a group, the list for the shell.

import { api, bump, byId, change, commands, keys, request, say, send } from "./gallery.js";

Object.assign(commands, {
  async find() { if (await change(() => request("duplicates", {}), "done")) location.href = location.pathname; },

  async dismiss(button) {
    const group = button.closest(".group");
    const images = group.dataset.images.split(" ").map(Number);
    if (!await change(() => request("duplicates/dismiss", { images }))) return;
    const place = document.createComment("");
    const next = group.nextElementSibling ?? group.previousElementSibling;
    group.replaceWith(place);
    count(-1);
    next?.querySelector("a").focus();
    say("dismissed: not shown again", { label: "Undo", async action() {
      if (!await change(() => request("duplicates/dismiss", { images, undo: true }), "back")) return;
      place.replaceWith(group);
      count(1);
      group.querySelector("a").focus();
    } });
  },

  async list(button) {
    const list = byId("list");
    list.hidden = !list.hidden;
    button.setAttribute("aria-expanded", String(!list.hidden));
    if (list.hidden) return;
    list.querySelector("textarea").value = await (await send(`${api}/duplicates/list`)).text();
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

const count = (by) => bump(byId("groups"), by);

keys.d = () => document.activeElement.closest(".group")?.querySelector("[data-do=dismiss]").click();
keys.l = () => document.querySelector("[data-do=list]")?.click();
