// Ctrl-K: finds a room or a person by a part of the name.

import { byId, isComposing, make } from "./dom.js";

const MOST = 12; // choices shown at once

export class Finder {
  // `choices()` returns everything that the page knows, as `{ name, hint, go, isPerson }`.
  // `otherwise(text)` returns a choice for a room that the page does not know. `refresh()` makes the
  // page ask the server for more.
  constructor({ choices, otherwise, refresh }) {
    this.choices = choices;
    this.otherwise = otherwise;
    this.refresh = refresh;
    this.field = byId("finder-words");
    this.list = byId("finder-choices");
    this.field.addEventListener("input", () => this.#show());
    this.field.addEventListener("keydown", (event) => this.#key(event));
    byId("finder-button").onclick = () => this.open();
    byId("finder-form").onsubmit = (event) => {
      event.preventDefault();
      this.#choose(this.chosen);
    };
  }

  async open() {
    this.field.value = "";
    byId("finder").showModal();
    this.#show();
    await this.refresh();
    this.#show(this.shown[this.chosen]);
  }

  // Show the choices for the typed text, with this one chosen or the first.
  #show(chosen) {
    const text = this.field.value.trim();
    const all = this.choices();
    this.shown = matching(all, text).slice(0, MOST);
    const isRoomName = !text.startsWith("@") && text !== "#";
    if (text !== "" && isRoomName && !all.some(({ name }) => isSame(name, text))) {
      this.shown.push(this.otherwise(text));
    }
    this.list.replaceChildren(...this.shown.map((choice, index) => this.#option(choice, index)));
    this.#mark(Math.max(0, this.shown.findIndex(({ name }) => name === chosen?.name)));
  }

  #option({ name, hint }, index) {
    return make(
      "li",
      { id: `finder-${index}`, role: "option", onclick: () => this.#choose(index) },
      make("bdi", {}, name),
      " ",
      make("span", { className: "hint" }, hint),
    );
  }

  #mark(index) {
    this.chosen = index;
    [...this.list.children].forEach((node, at) => node.setAttribute("aria-selected", `${at === index}`));
    this.field.setAttribute("aria-activedescendant", this.shown.length > 0 ? `finder-${index}` : "");
    this.list.children[index]?.scrollIntoView({ block: "nearest" });
  }

  #key(event) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by !== undefined && !isComposing(event) && this.shown.length > 0) {
      event.preventDefault();
      this.#mark((this.chosen + by + this.shown.length) % this.shown.length);
    }
  }

  #choose(index) {
    const choice = this.shown[index];
    if (choice) {
      byId("finder").close();
      choice.go();
    }
  }
}

const isSame = (one, other) => one.toLowerCase() === other.toLowerCase();

// The choices whose names contain a text. Names that begin with it come first. Before a nick, the text
// may have the @ of a mention.
function matching(choices, text) {
  const typed = text.toLowerCase();
  const place = ({ name, isPerson }) => {
    const folded = name.toLowerCase();
    const wanted = isPerson ? typed.replace(/^@/, "") : typed;
    return folded.startsWith(wanted) || folded.startsWith(`#${wanted}`) ? 0 : folded.includes(wanted) ? 1 : 2;
  };
  return choices.filter((choice) => place(choice) < 2).toSorted((one, other) => place(one) - place(other));
}
