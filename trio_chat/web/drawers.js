// The drawers with rooms and members on a narrow screen.

import { byId } from "./dom.js";

const DRAWERS = { "show-rooms": "rooms-drawer", "show-members": "members-drawer" };

export function setUpDrawers() {
  for (const button of Object.keys(DRAWERS)) {
    byId(button).onclick = () => toggle(button);
  }
  byId("shade").onclick = closeDrawers;
}

// Whether the drawers cover the messages. On a wide screen they are beside them.
export const isNarrow = () => getComputedStyle(byId("rooms-drawer")).position === "fixed";

function toggle(button) {
  const drawer = byId(DRAWERS[button]);
  const opens = !drawer.classList.contains("open");
  closeDrawers();
  if (!isNarrow()) {
    // On a wide screen the members are visible until they are hidden.
    document.body.classList.toggle("members-away");
    return;
  }
  if (opens) {
    drawer.classList.add("open");
    byId(button).setAttribute("aria-expanded", "true");
    byId("shade").hidden = false;
    drawer.querySelector("button")?.focus();
  }
}

// Returns whether one was open.
export function closeDrawers() {
  const open = Object.entries(DRAWERS).filter(([, drawer]) => byId(drawer).classList.contains("open"));
  for (const [button, drawer] of open) {
    byId(drawer).classList.remove("open");
    byId(button).setAttribute("aria-expanded", "false");
  }
  byId("shade").hidden = true;
  return open.length > 0;
}
