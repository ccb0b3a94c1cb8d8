// The buttons at the ends of messages. Tab reaches one of them, that of the newest message. From there
// the arrow keys go to the others.

import { byId, make } from "./dom.js";

let reachable = null;

// `open(button)` opens the button's menu.
export function moreButton(nick, open) {
  const button = make("button", { type: "button", className: "more", ariaLabel: `Actions for ${nick}`, ariaHasPopup: "menu", ariaExpanded: "false" });
  button.onclick = () => open(button);
  return button;
}

export function setUpRowButtons() {
  const rows = byId("log-rows");
  rows.addEventListener("keydown", (event) => {
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (by !== undefined && event.target.matches(".more")) {
      event.preventDefault();
      const all = [...rows.querySelectorAll(".more")];
      all[all.indexOf(event.target) + by]?.focus();
    }
  });
  rows.addEventListener("focusin", ({ target }) => target.matches(".more") && reach(target));
  // A finger has no hover: it picks a message first.
  rows.addEventListener("click", ({ target }) => {
    const row = target.closest(".row");
    if (target.closest("button, a") === null && getSelection().isCollapsed) {
      rows.querySelector(".picked")?.classList.remove("picked");
      row?.classList.add("picked");
    }
  });
}

// Let Tab reach the button of the newest message, unless one of the others has the focus.
export function keepReachable() {
  const rows = byId("log-rows");
  if (reachable !== null && reachable === document.activeElement && rows.contains(reachable)) {
    return;
  }
  const newest = [...(rows.lastElementChild?.querySelectorAll(".more") ?? [])].at(-1);
  if (newest !== undefined) {
    reach(newest);
  }
}

function reach(button) {
  if (button !== reachable) {
    if (reachable !== null) {
      reachable.tabIndex = -1;
    }
    button.tabIndex = 0;
    reachable = button;
  }
}
