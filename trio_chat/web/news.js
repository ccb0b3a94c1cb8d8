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
    if (nick !== this.nick) {
      this.nick = nick;
      this.pattern = asWord(nick);
    }
    return this.pattern.test(text);
  }
}

// Scripts that put no spaces between words: of these each character is a word.
const SPELLS = String.raw`[[\p{L}\p{M}\p{N}_]--[\p{sc=Han}\p{sc=Hira}\p{sc=Kana}\p{sc=Thai}\p{sc=Laoo}\p{sc=Khmr}\p{sc=Mymr}]]`;
const ENDS_IN_WORD = new RegExp(`${SPELLS}$`, "v");
const BEGINS_WORD = new RegExp(`^${SPELLS}`, "v");

// A pattern that finds a nick where no word goes on before it or behind it.
function asWord(nick) {
  const before = BEGINS_WORD.test(nick) ? `(?<!${SPELLS})` : "";
  const behind = ENDS_IN_WORD.test(nick) ? `(?!${SPELLS})` : "";
  const literal = [...nick].map((char) => `\\u{${char.codePointAt(0).toString(16)}}`).join("");
  return new RegExp(`${before}${literal}${behind}`, "iv");
}
