// A panel beside the messages, such as the search: a button opens and closes it.

import { byId } from "./dom.js";

export class SidePanel {
  // `name` is the id of the panel, and begins those of its buttons. `opens()` is called before it opens,
  // and `leave()` when it closes. A kind of panel has `open()`, which calls `show()`.
  constructor(name, { opens, leave }) {
    this.name = name;
    this.opens = opens;
    this.leave = leave;
    byId(`${name}-button`).onclick = () => (this.isOpen ? this.close() : this.open());
    byId(`${name}-close`).onclick = () => this.close();
  }

  get isOpen() {
    return !byId(this.name).hidden;
  }

  show() {
    this.opens();
    this.#turn(true);
  }

  // Returns whether it was open.
  close() {
    const wasOpen = this.isOpen;
    if (wasOpen) {
      this.#turn(false);
      this.leave();
    }
    return wasOpen;
  }

  #turn(isOpen) {
    byId(this.name).hidden = !isOpen;
    byId(`${this.name}-button`).setAttribute("aria-expanded", `${isOpen}`);
    document.body.classList.toggle("beside", isOpen);
  }
}
