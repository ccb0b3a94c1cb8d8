// What is on screen of a place: its rows, its scrolling, and what is new below.
//
// Rows stand in chunks. A browser lays out only the chunks that are on screen, so that ten thousand
// messages scroll like fifty.

import { byId, dayName, make, textNodes } from "./dom.js";
import { context, row } from "./rows.js";

const CHUNK = 50;
const NEAR_TOP = 800; // pixels from the top at which older messages are asked for
const AT_BOTTOM = 48;

export class Log {
  constructor(chat, choose) {
    this.chat = chat;
    this.choose = choose;
    this.scroller = byId("log");
    this.rows = byId("log-rows");
    this.place = null;
    this.isPinned = true; // at the bottom, and to stay there
    this.nodes = new Map(); // by item number
    this.chunks = []; // { node, first, last }
    this.scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    const resized = new ResizeObserver(() => this.#pin());
    resized.observe(this.scroller);
    resized.observe(this.rows);
    byId("earlier").onclick = () => chat.loadEarlier(this.place);
    byId("to-bottom").onclick = () => this.toBottom();
  }

  // Show this place as it is now.
  draw(place) {
    if (place !== this.place) {
      this.#begin(place);
    }
    if (place === null) {
      this.#drawTop({ isWhole: true, items: [] }, "You are in no room. Go into one by the + beside “Rooms”, or type /join ROOM.");
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
    this.#pin();
    this.#drawBelow();
    if (this.scroller.scrollTop < NEAR_TOP && place.items.length > 0 && !this.isPinned) {
      this.chat.loadEarlier(place);
    }
  }

  toBottom() {
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
    this.isPinned = true;
    this.unreadShown = null;
  }

  // --- rows -----------------------------------------------------------------------------------

  #row(number) {
    const { place } = this;
    const item = place.item(number);
    const around = context(place.item(number - 1), item);
    const isUnread = number === place.firstUnread;
    const node = row(item, around, { me: this.chat, isUnread, choose: this.choose });
    node.number = number;
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
    // Its end: a new day may come to stand in it, above what was said.
    const before = anchor?.getBoundingClientRect().bottom;
    const made = inChunks(first, top - 1).map((numbers) => this.#chunk(numbers));
    this.rows.prepend(...made.map(({ node }) => node));
    this.chunks.unshift(...made);
    // The row that was the first keeps its name above it, so that nothing below it moves.
    if (context(this.place.item(top - 1), this.place.item(top)).newDay) {
      this.#replace(top);
    }
    const kept = anchor?.isConnected ? anchor : this.nodes.get(top);
    if (before !== undefined) {
      this.scroller.scrollTop += kept.getBoundingClientRect().bottom - before;
    }
  }

  // The row that is to stay where it is while older ones come in above it.
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
    pending.replaceChildren(
      ...[...this.place.pending.values()].map(({ text }) =>
        make("li", { className: "row" }, make("p", { className: "text", dir: "auto" }, ...textNodes(text))),
      ),
    );
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
    this.isPinned = scrollHeight - scrollTop - clientHeight < AT_BOTTOM;
    if (this.isPinned !== wasPinned || scrollTop < NEAR_TOP) {
      this.chat.handlers.changed();
    }
  }

  #drawBelow() {
    const { unread } = this.place;
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

function beginning(place, isEmpty) {
  if (place.kind === "talk") {
    return `Only you and ${place.name} see this. It is kept in this tab, and nowhere else.`;
  }
  if (!place.synced) {
    return isEmpty ? "One moment…" : "";
  }
  if (isEmpty && place.isWhole) {
    return `Nothing has been said in ${place.name} yet. Say hello.`;
  }
  if (place.isFull) {
    return "This is as much as one page shows. Older messages: /history before ID N, or /search WORDS.";
  }
  if (!place.isWhole) {
    return "";
  }
  return place.low === 1 ? `This is where ${place.name} begins.` : "What was said before this is gone: a room keeps its newest messages.";
}
