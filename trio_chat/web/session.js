// The connection to the server, which reconnects after a break and resumes the client
// (docs/websocket.md).

const FIRST_DELAY = 500; // milliseconds until the second attempt; doubled with each one after it
const LONGEST_DELAY = 30_000;
const SETTLED = 10_000; // a connection that has lasted so long is a good one
const OPENING = 10_000; // until an attempt is given up
const QUIET = 25_000; // without a word from the server: ask whether it is there
const ANSWER = 15_000; // until it is taken not to be

const TAKEN_OVER = 1008;
const KICKED = 4003;
const NORMAL = 1000;
const CANNOT_WRITE = "cannot_write"; // a code of refusals

export class Refused extends Error {
  constructor({ reason, code }) {
    super(reason);
    this.code = code;
  }
}
export class Broken extends Error {}

// For a request whose failure needs no word.
export function ignoreBroken(error) {
  if (!(error instanceof Broken || error instanceof Refused)) {
    throw error;
  }
}

// It calls `onState(state)`, and `onEvent(document)` for each event. Once connected, it calls
// `onResumed(document)` or `onFresh(hello)`. `positions()` returns the newest position of each room.
export class Session {
  state = { phase: "connecting" };
  hello = null;
  // The client id and token for resuming.
  ticket = null;

  constructor(url, handlers, ticket = null) {
    this.url = url;
    this.handlers = handlers;
    this.ticket = ticket;
    this.socket = null;
    this.attempts = 0;
    this.lastId = 0;
    this.requests = new Map();
    this.since = null; // when the connection became a good one
    this.ends = null; // the server's last word on a connection that it ended
    setInterval(() => this.#look(), QUIET / 5);
    window.addEventListener("online", () => this.retry());
    document.addEventListener("visibilitychange", () => document.hidden || this.retry());
  }

  get online() {
    return this.state.phase === "online";
  }

  // Whether the session has ended until `reopen`.
  get isOver() {
    return this.state.phase === "left" || this.state.phase === "elsewhere";
  }

  open() {
    clearTimeout(this.timer);
    this.#change({ phase: "connecting" });
    const socket = new WebSocket(this.url);
    this.socket = socket;
    this.heard = performance.now();
    this.asked = null;
    this.timer = setTimeout(() => socket.readyState === WebSocket.CONNECTING && this.#drop(), OPENING);
    socket.onmessage = ({ data }) => socket === this.socket && this.#hear(JSON.parse(data));
    socket.onclose = ({ code }) => socket === this.socket && this.#closed(code);
  }

  // Reconnect now instead of waiting.
  retry() {
    if (this.state.phase === "waiting") {
      this.open();
    }
  }

  // Connect again after a `quit`, or after another tab has taken over.
  reopen() {
    if (this.isOver) {
      this.attempts = 0;
      this.open();
    }
  }

  newId() {
    this.lastId += 1;
    return `${this.lastId}`;
  }

  send(command) {
    if (this.socket?.readyState !== WebSocket.OPEN) {
      return false;
    }
    this.socket.send(JSON.stringify(command));
    return true;
  }

  // Send a command. Returns its answer, or throws `Refused` or `Broken`.
  request(type, fields = {}, id = this.newId()) {
    return new Promise((resolve, reject) => {
      if (this.send({ type, ...fields, id })) {
        this.requests.set(id, { resolve, reject });
      } else {
        reject(new Broken());
      }
    });
  }

  #hear(event) {
    this.heard = performance.now();
    this.asked = null;
    if (event.type === "hello") {
      this.#greeted(event);
      return;
    }
    if (event.type === "ended" || event.type === "stopping" || event.type === "goodbye") {
      this.ends = event;
    }
    const request = this.requests.get(event.id);
    this.requests.delete(event.id);
    if (request && event.type === "refusal") {
      request.reject(new Refused(event));
      return;
    }
    this.handlers.onEvent(event);
    request?.resolve(event);
  }

  async #greeted(hello) {
    clearTimeout(this.timer);
    this.hello = hello;
    this.ends = null;
    this.since = performance.now();
    let resumed = null;
    if (this.ticket?.token) {
      try {
        resumed = await this.request("resume", { ...this.ticket, positions: this.handlers.positions() });
      } catch (error) {
        if (error instanceof Broken) {
          return; // the ticket is good still
        }
        if (error.code === CANNOT_WRITE) {
          // The server is cut off from its store, and cannot know the ticket now.
          const socket = this.socket;
          this.ends = { type: "ended", reason: error.message };
          this.#closed(0);
          socket.close(NORMAL); // so that the server keeps nothing of this attempt
          return;
        }
      }
    }
    // No event came since the answer: promise callbacks run before the next event.
    if (resumed) {
      this.#change({ phase: "online" });
      this.handlers.onResumed(resumed);
    } else {
      this.ticket = { client: hello.client, token: hello.token };
      this.#change({ phase: "online" });
      this.handlers.onFresh(hello);
    }
  }

  #closed(code) {
    clearTimeout(this.timer);
    this.socket = null;
    for (const request of this.requests.values()) {
      request.reject(new Broken());
    }
    this.requests.clear();
    if (this.ends?.type === "ended" && code === TAKEN_OVER) {
      this.#change({ phase: "elsewhere" });
    } else if (this.ends?.type === "ended" && code === KICKED) {
      this.ticket = null;
      this.#change({ phase: "left", reason: this.ends.reason });
    } else if (this.ends?.type === "goodbye" || code === NORMAL) {
      this.ticket = null;
      this.#change({ phase: "left" });
    } else {
      this.#wait();
    }
  }

  #wait() {
    if (this.since !== null && performance.now() - this.since > SETTLED) {
      this.attempts = 0;
    }
    // A full server ends the connection before the browser can read why.
    const unheard = this.since !== null ? "" : "the server is stopped, full or out of reach";
    this.since = null;
    const delay = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** this.attempts);
    this.attempts += 1;
    // A random delay, so that clients do not all reconnect at the same moment.
    const spread = delay * (0.75 + Math.random() / 2);
    this.timer = setTimeout(() => this.open(), spread);
    const { type, reason, restarting } = this.ends ?? {};
    const why = { ended: reason, stopping: restarting ? "the server is being restarted" : "the server has been shut down" };
    this.#change({ phase: "waiting", reason: why[type] ?? unheard });
  }

  // Find out whether the server is gone, as a broken network may not tell.
  #look() {
    const now = performance.now(); // no clock that someone sets
    if (!this.online || now - this.heard < QUIET) {
      return;
    }
    if (this.asked === null) {
      this.asked = now;
      this.request("ping").catch(() => {});
    } else if (now - this.asked > ANSWER) {
      this.#drop();
    }
  }

  #drop() {
    const socket = this.socket;
    this.#closed(0);
    socket?.close(3000);
  }

  #change(state) {
    this.state = state;
    this.handlers.onState(state);
  }
}
