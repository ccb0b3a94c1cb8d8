// What is unread, and which of it is for us.

export class News {
  constructor(chat) {
    this.chat = chat;
  }

  // Count an entry that has just come in, and tell of it.
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

  // Count what is at hand, which had been unread before the page was loaded anew.
  recount(place) {
    const news = place.items.filter((item) => this.#isNews(place, item));
    place.unread = news.length;
    place.hasMention = news.some((item) => this.#isForUs(place, item));
    place.firstUnread = news.length > 0 ? place.numberOf(news[0]) : null;
  }

  #isNews(place, { author, type, position }) {
    const isSpoken = type === "said" || type === "acted" || type === "told";
    return isSpoken && !this.chat.ids.has(author) && (position ?? Infinity) > place.read;
  }

  #isForUs(place, { text }) {
    return place.kind === "talk" || this.mentions(text);
  }

  // Whether our nick stands in a text, as a word.
  mentions(text) {
    const { nick } = this.chat;
    if (nick === "" || nick === "anonymous") {
      return false;
    }
    const at = text.toLowerCase().indexOf(nick.toLowerCase());
    return at >= 0 && !isWordAt(text, at - 1) && !isWordAt(text, at + nick.length);
  }
}

const isWordAt = (text, at) => /[\p{L}\p{N}_]/u.test(text.charAt(at));
