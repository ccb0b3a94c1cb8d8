// What the browser keeps: for this tab, who it is and what it has seen; for all, a name and rooms.
//
// A browser that keeps nothing (a private window, a full disk) loses these comforts and no more.

const TAB = "trio_chat.tab"; // in sessionStorage: gone with the tab
const LEFT = "trio_chat.left"; // in localStorage, for a minute: what a closed tab can come back with
const LAST = "trio_chat.last"; // in localStorage: the nick and rooms last used, and the bell

function read(storage, key) {
  try {
    return JSON.parse(window[storage].getItem(key)) ?? {};
  } catch {
    return {};
  }
}

function write(storage, key, value) {
  try {
    window[storage].setItem(key, JSON.stringify(value));
  } catch {
    // As said above.
  }
}

function remove(storage, key) {
  try {
    window[storage].removeItem(key);
  } catch {
    // As said above.
  }
}

// What this tab was before it was loaded anew; or else what a tab was that has just been closed.
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
  const { nick = "", rooms = [], bell = false } = read("localStorage", LAST);
  return { nick, rooms: Array.isArray(rooms) ? rooms : [], bell };
}

export function keepLast(change) {
  write("localStorage", LAST, { ...recallLast(), ...change });
}

const MOST_IDS = 10; // of those that this tab has had: by them it knows what it has said itself
const KEEP_EVERY = 500; // milliseconds between two times that the tab's state is kept

// Keeps what the tab is, a little after each change of it.
export class Keeper {
  // `unfinished()` gives what one types.
  constructor(session, chat, unfinished) {
    this.session = session;
    this.chat = chat;
    this.unfinished = unfinished;
    this.timer = null;
    window.addEventListener("pagehide", () => this.#leave());
    // It was not: a browser may keep a page for who goes back to it.
    window.addEventListener("pageshow", ({ persisted }) => persisted && remove("localStorage", LEFT));
  }

  soon() {
    this.timer ??= setTimeout(() => this.keep(), KEEP_EVERY);
  }

  keep() {
    clearTimeout(this.timer);
    this.timer = null;
    const { chat } = this;
    if (!chat.isEntered) {
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

  // The tab may be going for good, or be loaded anew: one cannot tell.
  #leave() {
    this.keep();
    const grace = this.session.hello?.grace ?? 0;
    if (this.session.online && this.chat.isEntered && grace > 0) {
      write("localStorage", LEFT, { tab: this.#tab(), until: Date.now() + grace * 1000 });
    }
  }
}
