// A menu that a button opens, for a mouse, a finger or keys.

import { byId, make } from "./dom.js";

let opener = null; // the button whose menu is open
let seen = null; // where it was then

// Open the menu of a button, or close it. Each choice is `{ label, act, isGrave }`.
export function toggleMenu(button, choices) {
  if (opener === button) {
    closeMenu();
    return;
  }
  closeMenu();
  opener = button;
  const menu = byId("menu");
  menu.replaceChildren(...choices.map(choiceNode));
  menu.setAttribute("aria-label", button.getAttribute("aria-label"));
  button.setAttribute("aria-expanded", "true");
  menu.showPopover();
  putBeside(menu, button);
  menu.firstChild.focus({ preventScroll: true });
}

export function setUpMenu() {
  const menu = byId("menu");
  menu.addEventListener("keydown", (event) => key(event, menu));
  document.addEventListener("pointerdown", ({ target }) => {
    if (opener !== null && !menu.contains(target) && !opener.contains(target)) {
      closeMenu({ returns: false });
    }
  });
  // The button moves away from the menu. The event comes late: it may be about what moved before.
  const scrolled = ({ target }) => target.contains(opener) && hasMoved() && closeMenu();
  document.addEventListener("scroll", scrolled, { capture: true, passive: true });
  window.addEventListener("resize", () => closeMenu());
}

// Close the menu. The focus goes back to its button, or to the message if that button is gone.
function closeMenu({ returns = true } = {}) {
  if (opener === null) {
    return;
  }
  const button = opener;
  opener = null;
  button.setAttribute("aria-expanded", "false");
  byId("menu").hidePopover();
  if (returns) {
    (button.isConnected ? button : byId("line")).focus({ preventScroll: true });
  }
}

function choiceNode({ label, act, isGrave = false }) {
  const onclick = () => {
    closeMenu();
    act();
  };
  return make("button", { type: "button", role: "menuitem", tabIndex: -1, className: isGrave ? "grave" : "", onclick }, label);
}

function key(event, menu) {
  const nodes = [...menu.children];
  const at = nodes.indexOf(document.activeElement);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1 + nodes.length, Home: 0, End: nodes.length - 1 }[event.key];
  event.stopPropagation(); // a letter would go to the message
  if (to !== undefined) {
    event.preventDefault();
    nodes[to % nodes.length].focus();
  } else if (event.key === "Escape" || event.key === "Tab") {
    event.preventDefault();
    closeMenu();
  }
}

function hasMoved() {
  const { left, top } = opener.getBoundingClientRect();
  return left !== seen.left || top !== seen.top;
}

// Below the button, or above it if there is no space; its end stands below the button's end.
function putBeside(menu, button) {
  seen = button.getBoundingClientRect();
  const { left, right, top, bottom } = seen;
  const { offsetWidth: width, offsetHeight: height } = menu;
  const isRightToLeft = getComputedStyle(button).direction === "rtl";
  const x = isRightToLeft ? left : right - width;
  const y = bottom + height + EDGE > innerHeight ? top - height - GAP : bottom + GAP;
  menu.style.left = `${clamp(x, innerWidth - width)}px`;
  menu.style.top = `${clamp(y, innerHeight - height)}px`;
}

const GAP = 4; // pixels between the button and the menu
const EDGE = 8; // and between the menu and the window's edge

const clamp = (value, most) => Math.max(EDGE, Math.min(value, most - EDGE));
