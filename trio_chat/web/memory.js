// The browser's storage: this tab's client and what it has seen, and the last nick and rooms for all
// tabs.
//
// If nothing can be stored (a private window, a full disk), only these comforts are missing.

const TAB = "trio_chat.tab"; // in sessionStorage: gone with the tab
const LEFT = "trio_chat.left"; // in localStorage, for a minute: what a closed tab can come back with
const LAST = "trio_chat.last"; // in localStorage: the nick and rooms last used

export function read(storage, key) {
  try {
    return JSON.parse(window[storage].getItem(key)) ?? {};
  } catch {
    return {};
  }
}

export function write(storage, key, value) {
  try {
    window[storage].setItem(key, JSON.stringify(value));
  } catch {
    // The browser keeps nothing, as described above.
  }
}

export function remove(storage, key) {
  try {
    window[storage].removeItem(key);
  } catch {
    // The browser keeps nothing, as described above.
  }
}

// The state of this tab before a reload, or of a tab that was just closed.
export function recallTab() {
  const left = read("localStorage", LEFT);
  const tab = read("sessionStorage", TAB);
  if (tab.client === undefined && left.until > Date.now()) {
    remove("localStorage", LEFT);
    return left.tab;
  }
  if (tab.client === left.tab?.client) {
    remove("localStorage", LEFT);
  }
  return tab;
}

export function recallLast() {
  const { nick = "", rooms = [] } = read("localStorage", LAST);
  return { nick, rooms: Array.isArray(rooms) ? rooms : [] };
}

export function keepLast(change) {
  write("localStorage", LAST, { ...recallLast(), ...change });
}

const MOST_IDS = 10; // of those that this tab has had: by them it knows what it has said itself
const KEEP_EVERY = 500; // milliseconds between two times that the tab's state is kept

// Stores the state of the tab, a little after each change.
export class Keeper {
  // `unfinished()` returns the unsent texts.
  constructor(session, chat, unfinished) {
    this.session = session;
    this.chat = chat;
    this.unfinished = unfinished;
    this.timer = null;
    window.addEventListener("pagehide", () => this.#leave());
    // The tab was not closed: browsers keep pages for the Back button.
    window.addEventListener("pageshow", ({ persisted }) => persisted && remove("localStorage", LEFT));
  }

  soon() {
    this.timer ??= setTimeout(() => this.keep(), KEEP_EVERY);
  }

  keep() {
    clearTimeout(this.timer);
    this.timer = null;
    const { chat } = this;
    if (!chat.arrival.isEntered) {
      return;
    }
    if (chat.ownNick !== "") {
      keepLast({ nick: chat.ownNick, rooms: [...chat.rooms.values()].map(({ name }) => name) });
    }
    if (this.session.state.phase === "left") {
      remove("sessionStorage", TAB);
    } else {
      write("sessionStorage", TAB, this.#tab());
    }
  }

  #tab() {
    const { chat } = this;
    const seen = [...chat.rooms.values()].map((room) => {
      const { key, high, read } = room;
      return [key, { high, read, said: chat.outgoing.kept(room) }];
    });
    return {
      ...this.session.ticket,
      seen: Object.fromEntries(seen),
      log: chat.log,
      ids: [...chat.ids].slice(-MOST_IDS),
      current: chat.current?.key,
      talks: chat.talks.kept(),
      unfinished: this.unfinished(),
    };
  }

  // The tab may be closing or reloading. There is no way to tell.
  #leave() {
    this.keep();
    const grace = this.session.hello?.grace ?? 0;
    if (this.session.online && this.chat.arrival.isEntered && grace > 0) {
      write("localStorage", LEFT, { tab: this.#tab(), until: Date.now() + grace * 1000 });
    }
  }
}
