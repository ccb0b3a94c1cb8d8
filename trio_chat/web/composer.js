// The field for typing: sends, completes, and recalls earlier lines.

import { complete } from "./completion.js";
import { byId, isComposing, make } from "./dom.js";
import { isSecret } from "./typed.js";

const MOST_SENT = 100; // lines that can be called back
const MOST_LINES = 20; // messages that one text may become
const MOST_DRAFTS = 20; // unfinished texts that are kept over a reload, and the characters of each
const MOST_DRAFT = 10_000;
const WARN_AT = 0.9; // of the longest message: from there on it says how much is left

export class Composer {
  // `handlers`: `send(text)` returns a sentence if it fails. `words()` returns the words to complete,
  // and `limit()` the characters of a message. `scroll(pages)` scrolls the messages. `moves()` counts
  // how often the person went somewhere or asked to, and `isThere(place)` returns whether it is left.
  //
  // `kept` are the unsent texts from before a reload.
  constructor(handlers, kept = {}) {
    this.handlers = handlers;
    this.kept = kept;
    this.field = byId("line");
    this.choices = byId("choices");
    this.offer = null; // what is offered: { from, to, options }, and which is `chosen`
    this.sent = [];
    this.recalled = 0; // how far back
    this.drafts = new Map(); // by place
    this.place = null;
    this.edited = 0; // the `moves` at the last edit
    this.field.addEventListener("input", () => this.#edited());
    this.field.addEventListener("keydown", (event) => this.#key(event));
    this.field.addEventListener("blur", () => this.#close());
    // A click on a choice keeps the focus in the field.
    this.choices.addEventListener("mousedown", (event) => event.preventDefault());
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
  }

  // Each place has its own unsent text. But what somebody typed since they asked to go goes along: they
  // were only faster than the server.
  at(place) {
    if (place === this.place) {
      return;
    }
    const isAhead = this.edited === this.handlers.moves() && this.handlers.isThere(this.place);
    if ((isAhead || this.place === null) && this.field.value !== "") {
      this.place = place;
      return;
    }
    this.drafts.set(this.place, this.field.value);
    this.place = place;
    this.#set(this.drafts.get(place) ?? this.kept[nameOf(place)] ?? "");
    this.drafts.delete(place);
    delete this.kept[nameOf(place)];
    this.say("");
  }

  // The unsent texts, by place, as plain data.
  unfinished() {
    const texts = [...this.drafts, [this.place, this.field.value]]
      .filter(([place, text]) => place !== null && text !== "" && !isSecret(text))
      .map(([place, text]) => [nameOf(place), text.slice(0, MOST_DRAFT)]);
    return Object.fromEntries([...Object.entries(this.kept), ...texts].slice(-MOST_DRAFTS));
  }

  focus() {
    this.field.focus();
  }

  // Shows a sentence below the field.
  say(text, isWrong = false) {
    const note = byId("line-note");
    note.textContent = text;
    note.classList.toggle("error", isWrong);
  }

  #set(text) {
    this.field.value = text;
    this.field.setSelectionRange(text.length, text.length);
    this.#fit();
    this.#close();
  }

  #fit() {
    // Browsers without field-sizing get a row for each line, which is nearly right.
    this.field.rows = Math.min(6, this.field.value.split("\n").length);
  }

  #edited() {
    this.recalled = 0;
    this.edited = this.handlers.moves();
    this.#fit();
    const { value, selectionStart } = this.field;
    this.#show(complete(value, selectionStart, this.handlers.words(), false));
    this.#measure(value);
  }

  #measure(text) {
    const limit = this.handlers.limit();
    const longest = Math.max(...text.split("\n").map((line) => [...line].length));
    if (longest < limit * WARN_AT) {
      this.say("");
    } else if (longest <= limit) {
      this.say(`${limit - longest} characters left`);
    } else {
      this.say(`${longest - limit} characters too many`, true);
    }
  }

  // --- sending ----------------------------------------------------------------------------------

  #submit() {
    const lines = this.field.value.split("\n").map(asMeant).filter(Boolean);
    if (lines.length === 0) {
      return;
    }
    const problem = this.#send(lines);
    if (problem) {
      this.say(problem, true);
      return;
    }
    this.#set("");
    this.say("");
  }

  #send(lines) {
    const limit = this.handlers.limit();
    if (lines.length > MOST_LINES) {
      return `These are ${lines.length} messages; ${MOST_LINES} at once is the most.`;
    }
    if (lines.some((line) => [...line].length > limit)) {
      return `A message may have at most ${limit} characters.`;
    }
    for (const line of lines) {
      const problem = this.handlers.send(line);
      if (problem) {
        this.#set(lines.slice(lines.indexOf(line)).join("\n"));
        return problem;
      }
      this.sent = [...this.sent, line].filter((one) => !isSecret(one)).slice(-MOST_SENT);
    }
    return "";
  }

  #recall(by) {
    const back = Math.min(this.sent.length, Math.max(0, this.recalled + by));
    if (back === this.recalled) {
      return;
    }
    this.#set(back === 0 ? "" : this.sent.at(-back));
    this.recalled = back;
  }

  // --- keys -------------------------------------------------------------------------------------

  #key(event) {
    if (isComposing(event) || event.altKey || event.ctrlKey || event.metaKey) {
      return;
    }
    const action = this.offer ? this.#keyInOffer(event) : this.#keyAlone(event);
    if (action) {
      event.preventDefault();
      event.stopPropagation();
      action();
    }
  }

  #keyInOffer({ key, shiftKey }) {
    switch (key) {
      case "ArrowDown":
        return () => this.#choose(1);
      case "ArrowUp":
        return () => this.#choose(-1);
      case "Tab":
        return shiftKey ? null : () => this.#accept(this.offer.chosen ?? 0);
      case "Enter":
        return this.offer.chosen === null ? () => this.#submit() : () => this.#accept(this.offer.chosen);
      case "Escape":
        return () => this.#close();
      default:
        return null;
    }
  }

  #keyAlone({ key, shiftKey }) {
    const isRecalled = this.field.value === "" || this.recalled > 0;
    switch (key) {
      case "Enter":
        return shiftKey ? null : () => this.#submit();
      case "ArrowUp":
        return isRecalled ? () => this.#recall(1) : null;
      case "ArrowDown":
        return isRecalled ? () => this.#recall(-1) : null;
      case "PageUp":
        return () => this.handlers.scroll(-1);
      case "PageDown":
        return () => this.handlers.scroll(1);
      case "Tab":
        return shiftKey ? null : this.#tab();
      default:
        return null;
    }
  }

  // Tab completes a word. If there is nothing to complete, it moves to the next control.
  #tab() {
    const { value, selectionStart } = this.field;
    const offer = complete(value, selectionStart, this.handlers.words(), true);
    if (offer === null) {
      return null;
    }
    return () => {
      this.#show(offer);
      if (offer.options.length === 1) {
        this.#accept(0);
      }
    };
  }

  // --- completing -------------------------------------------------------------------------------

  #show(offer) {
    const typed = offer && this.field.value.slice(offer.from, offer.to);
    // A complete word needs no choices.
    if (offer === null || (offer.options.length === 1 && offer.options[0].insert.trim() === typed)) {
      this.#close();
      return;
    }
    this.offer = { chosen: null, ...offer };
    this.choices.replaceChildren(...offer.options.map((option, index) => this.#option(option, index)));
    this.choices.hidden = false;
    this.#showChosen();
  }

  #option({ label, hint }, index) {
    const node = make(
      "li",
      { id: `choice-${index}`, role: "option" },
      make("bdi", { className: "label" }, label),
      ...(hint ? [make("span", { className: "hint" }, hint)] : []),
    );
    node.setAttribute("aria-selected", "false");
    node.addEventListener("click", () => this.#accept(index));
    return node;
  }

  #choose(by) {
    const count = this.offer.options.length;
    const before = this.offer.chosen ?? (by > 0 ? -1 : count);
    this.offer.chosen = (before + by + count) % count;
    this.#showChosen();
  }

  #showChosen() {
    const { chosen } = this.offer;
    [...this.choices.children].forEach((node, index) => {
      node.setAttribute("aria-selected", `${index === chosen}`);
    });
    if (chosen === null) {
      this.field.removeAttribute("aria-activedescendant");
    } else {
      this.field.setAttribute("aria-activedescendant", `choice-${chosen}`);
      this.choices.children[chosen].scrollIntoView({ block: "nearest" });
    }
  }

  #accept(index) {
    const { from, to, options } = this.offer;
    this.field.setRangeText(options[index].insert, from, to, "end");
    this.#close();
    this.#edited();
  }

  #close() {
    this.offer = null;
    this.choices.hidden = true;
    this.choices.replaceChildren();
    this.field.removeAttribute("aria-activedescendant");
  }
}

// Indentation stays, but an indented command is not sent as a message.
const asMeant = (line) => (line.trimStart().startsWith("/") ? line.trim() : line.trimEnd());

const nameOf = (place) => (place === null ? "" : `${place.kind} ${place.key}`);
