// Counts unread messages, and finds mentions of our nick.

import { asWord } from "./words.js";

export class News {
  constructor(chat) {
    this.chat = chat;
  }

  // Count a new entry, and tell about it.
  count(place, entry) {
    if (!this.#isNews(place, entry)) {
      return;
    }
    const isForUs = this.#isForUs(place, entry);
    if (this.chat.handlers.isLookedAt(place)) {
      place.looked();
    } else {
      if (place.unread === 0) {
        place.firstUnread = place.numberOf(entry);
      }
      place.unread += 1;
      place.hasMention ||= isForUs;
    }
    this.chat.handlers.heard(place, entry, isForUs);
  }

  // Count the loaded entries that were unread before a reload.
  recount(place) {
    const news = place.items.filter((item) => this.#isNews(place, item));
    place.unread = news.length;
    place.hasMention = news.some((item) => this.#isForUs(place, item));
    place.firstUnread = news.length > 0 ? place.numberOf(news[0]) : null;
  }

  #isNews(place, { author, type, position }) {
    const isSpoken = type === "said" || type === "acted" || type === "told";
    return isSpoken && author !== "" && !this.chat.isMine(author) && (position ?? Infinity) > place.read;
  }

  #isForUs(place, { text }) {
    return place.kind === "talk" || this.mentions(text);
  }

  // Whether a text contains our nick as a word.
  mentions(text) {
    const { nick } = this.chat;
    if (nick === "" || nick === "anonymous") {
      return false;
    }
    if (nick !== this.nick) {
      this.nick = nick;
      this.pattern = asWord(nick);
    }
    return this.pattern.test(text);
  }
}
