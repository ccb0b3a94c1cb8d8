// The messages on screen: the rows of a place, its scrolling, and the count of new messages below.
//
// Rows are in chunks. A browser lays out only the chunks on screen, so ten thousand messages scroll
// like fifty.

import { byId, make } from "./dom.js";
import { message } from "./markup.js";
import { becomePart, loadLater, pastAround, reachesRoom } from "./past.js";
import { keepReachable } from "./row-buttons.js";
import { context, namesFor, row } from "./rows.js";
import { ignoreBroken } from "./session.js";
import { dayName } from "./times.js";

const CHUNK = 50;
const NEAR_END = 800; // pixels from an end at which the messages beyond it are asked for
const AT_BOTTOM = 48;

export class Log {
  constructor(chat, choose) {
    this.chat = chat;
    this.choose = choose;
    this.scroller = byId("log");
    this.rows = byId("log-rows");
    this.place = null; // what is shown: where we are, or a stretch of its past
    this.past = null;
    this.wanted = null; // the entry that was asked for last: { room, position }
    this.reach = null; // the one to scroll to, once it is drawn
    this.isPinned = true; // at the bottom, and to stay there
    this.nodes = new Map(); // by item number
    this.chunks = []; // { node, first, last }
    this.scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    const resized = new ResizeObserver(() => this.#pin());
    resized.observe(this.scroller);
    resized.observe(this.rows);
    byId("earlier").onclick = () => chat.history.loadEarlier(this.place);
    byId("to-bottom").onclick = () => this.toBottom();
  }

  // Show a place as it is now, or the stretch of its past that was opened.
  draw(current) {
    if (this.past?.of !== current || this.past?.log !== this.chat.session.hello?.log) {
      this.past = null;
    }
    const place = this.past ?? current;
    if (place !== this.place) {
      this.#begin(place);
    }
    if (place === null) {
      this.#drawTop({ isWhole: true, items: [] }, nowhere(this.chat.session));
      return;
    }
    if (this.isPinned) {
      place.shorten();
    }
    this.#dropOld();
    this.#drawOlder();
    this.#drawNewer();
    this.#drawChanged();
    this.#drawTop(place, beginning(place, place.items.length === 0));
    this.#drawPending();
    keepReachable();
    this.#scrollToEntry();
    this.#pin();
    this.#drawBelow();
    if (this.scroller.scrollTop < NEAR_END && place.items.length > 0 && !this.isPinned) {
      this.chat.history.loadEarlier(place);
    }
    if (this.past !== null) {
      this.#drawLater();
    }
  }

  // Show a message of a room's history. Throws `Refused` or `Broken`.
  async goTo(room, position) {
    const isAtHand = position >= room.low && position <= room.high;
    const wanted = { room, position };
    Object.assign(this, { wanted, reach: null });
    const past = isAtHand ? null : await pastAround(this.chat.session, room, position);
    // The person may have gone to another message meanwhile, to another room, or to the bottom.
    if (wanted === this.wanted && room === this.chat.current) {
      Object.assign(this, { past, reach: wanted });
      this.chat.handlers.changed();
    }
  }

  toBottom() {
    Object.assign(this, { past: null, wanted: null, reach: null });
    this.isPinned = true;
    this.#pin();
    this.chat.handlers.changed();
  }

  page(by) {
    this.scroller.scrollBy({ top: by * this.scroller.clientHeight * 0.85 });
  }

  #begin(place) {
    this.place = place;
    this.rows.replaceChildren();
    byId("pending").replaceChildren();
    this.nodes.clear();
    this.chunks = [];
    this.isPinned = this.past === null;
    this.unreadShown = null;
  }

  // The place itself, which knows its members.
  get #whole() {
    return this.past?.of ?? this.place;
  }

  // --- rows -----------------------------------------------------------------------------------

  #row(number) {
    const { place } = this;
    const item = place.item(number);
    const around = context(place.item(number - 1), item, this.nodes.get(number - 1)?.run);
    const isUnread = number === place.firstUnread;
    const node = row(item, around, { me: this.chat, place: this.#whole, isUnread, choose: this.choose });
    node.number = number;
    node.run = around.run;
    this.nodes.set(number, node);
    return node;
  }

  #chunk(numbers) {
    const node = make("ol", { className: "rows chunk" }, ...numbers.map((number) => this.#row(number)));
    return { node, first: numbers[0], last: numbers.at(-1) };
  }

  #replace(number) {
    const old = this.nodes.get(number);
    if (old !== undefined) {
      old.replaceWith(this.#row(number));
    }
  }

  #dropOld() {
    const { first } = this.place;
    let dropped = false;
    while (this.chunks.length > 0 && this.chunks[0].first < first) {
      const chunk = this.chunks[0];
      while (chunk.first < first && chunk.first <= chunk.last) {
        this.nodes.get(chunk.first).remove();
        this.nodes.delete(chunk.first);
        chunk.first += 1;
        dropped = true;
      }
      if (chunk.first > chunk.last) {
        chunk.node.remove();
        this.chunks.shift();
      }
    }
    if (dropped && this.chunks.length > 0) {
      this.#replace(first);
    }
  }

  #drawOlder() {
    if (this.chunks.length === 0) {
      return;
    }
    const { first } = this.place;
    const top = this.chunks[0].first;
    if (top <= first) {
      return;
    }
    const anchor = this.#anchor();
    // The bottom edge: the row may get the heading of a day above its text.
    const before = anchor?.getBoundingClientRect().bottom;
    const made = inChunks(first, top - 1).map((numbers) => this.#chunk(numbers));
    this.rows.prepend(...made.map(({ node }) => node));
    this.chunks.unshift(...made);
    // The first row keeps its author's name, so that nothing below it moves.
    if (context(this.place.item(top - 1), this.place.item(top)).newDay) {
      this.#replace(top);
    }
    const kept = anchor?.isConnected ? anchor : this.nodes.get(top);
    if (before !== undefined) {
      this.scroller.scrollTop += kept.getBoundingClientRect().bottom - before;
    }
  }

  // The row that must not move while older rows come in above it.
  #anchor() {
    const { top } = this.scroller.getBoundingClientRect();
    const chunk = this.chunks.find(({ node }) => node.getBoundingClientRect().bottom > top);
    return [...(chunk?.node.children ?? [])].find((node) => node.getBoundingClientRect().bottom > top);
  }

  #drawNewer() {
    const { first, last } = this.place;
    let next = this.chunks.length > 0 ? this.chunks.at(-1).last + 1 : first;
    const open = this.chunks.at(-1);
    while (open && next <= last && open.last - open.first + 1 < CHUNK) {
      open.node.append(this.#row(next));
      open.last = next;
      next += 1;
    }
    const made = inChunks(next, last).map((numbers) => this.#chunk(numbers));
    this.rows.append(...made.map(({ node }) => node));
    this.chunks.push(...made);
  }

  #drawChanged() {
    const { changed, firstUnread } = this.place;
    if (firstUnread !== this.unreadShown) {
      changed.add(this.unreadShown).add(firstUnread);
      this.unreadShown = firstUnread;
    }
    for (const number of changed) {
      this.#replace(number);
    }
    changed.clear();
  }

  #drawTop({ isWhole, isFull, synced, items }, text) {
    byId("earlier").hidden = isWhole || isFull || !synced;
    byId("beginning").hidden = text === "";
    byId("beginning").textContent = text;
    byId("join-here").hidden = this.place !== null || !this.chat.session.online;
    const [oldest] = items;
    byId("first-day").hidden = oldest === undefined;
    byId("first-day-name").textContent = oldest ? dayName(oldest.time) : "";
  }

  #drawPending() {
    const pending = byId("pending");
    const ids = [...this.place.pending.keys()].join();
    if (pending.ids === ids && pending.place === this.place) {
      return;
    }
    pending.ids = ids;
    pending.place = this.place;
    const names = namesFor(this.chat, this.place, this.choose);
    pending.replaceChildren(
      ...[...this.place.pending.values()].map(({ text }) =>
        make("li", { className: "row" }, make("div", { className: "text", dir: "auto" }, ...message(text, names))),
      ),
    );
  }

  // --- the past -------------------------------------------------------------------------------

  #scrollToEntry() {
    const { reach } = this;
    this.reach = null;
    if (reach === null || reach.room !== this.#whole) {
      return;
    }
    const node = this.nodes.get(this.place.numberOf(reach));
    if (node !== undefined) {
      this.isPinned = false;
      node.scrollIntoView({ block: "center" });
      node.classList.add("reached");
      node.tabIndex = -1;
      node.focus({ preventScroll: true });
    }
  }

  // Load messages below a stretch of the past, until it reaches the loaded end of its room.
  #drawLater() {
    const { past, scroller } = this;
    if (reachesRoom(past)) {
      this.#leavePast();
    } else if (scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_END) {
      loadLater(this.chat.session, past)
        .then(() => this.chat.handlers.changed())
        .catch(ignoreBroken); // the next scroll asks again
    }
  }

  // The stretch is a part of its room now. The rows on screen do not move.
  // Messages of a room were removed: a stretch of its past may have them, too.
  removed(room, event) {
    if (this.past?.of === room) {
      this.past.remove(event);
    }
  }

  #leavePast() {
    const { past } = this;
    const anchor = this.#anchor();
    const { position } = this.place.item(anchor.number);
    const { top } = anchor.getBoundingClientRect();
    becomePart(past);
    this.#begin(past.of);
    this.past = null;
    this.#drawNewer();
    const node = this.nodes.get(past.of.numberOf({ position }));
    this.scroller.scrollTop += node.getBoundingClientRect().top - top;
    this.chat.handlers.changed();
  }

  // --- scrolling ------------------------------------------------------------------------------

  #pin() {
    if (this.isPinned) {
      this.scroller.scrollTop = this.scroller.scrollHeight;
    }
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    const wasPinned = this.isPinned;
    const below = scrollHeight - scrollTop - clientHeight;
    this.isPinned = this.past === null && below < AT_BOTTOM;
    if (this.isPinned !== wasPinned || scrollTop < NEAR_END || (this.past !== null && below < NEAR_END)) {
      this.chat.handlers.changed();
    }
  }

  #drawBelow() {
    const { unread } = this.#whole;
    byId("to-bottom").hidden = this.isPinned;
    byId("to-bottom-text").textContent = unread > 0 ? `${unread} new` : "Newest";
  }
}

function inChunks(first, last) {
  const chunks = [];
  for (let at = first; at <= last; at += CHUNK) {
    chunks.push(Array.from({ length: Math.min(CHUNK, last - at + 1) }, (_, index) => at + index));
  }
  return chunks;
}

function nowhere({ online }) {
  return online
    ? "You are in no room. Press the button to join one, or type /join ROOM."
    : "Your rooms will be here as soon as there is a connection.";
}

function beginning(place, isEmpty) {
  if (place.kind === "talk") {
    return `Only you and ${place.nick} can read this. It is kept in this tab alone.`;
  }
  if (!place.synced) {
    return isEmpty ? "Loading…" : "";
  }
  if (isEmpty && place.isWhole) {
    return `Nothing has been said in ${place.name} yet. Say hello.`;
  }
  if (place.isFull) {
    return "The page shows no more than this. For older messages: /history before ID N, or /search WORDS.";
  }
  if (!place.isWhole) {
    return "";
  }
  return place.low === 1 ? `This is where ${place.name} begins.` : "What was said before this is gone: a room keeps its newest messages.";
}
