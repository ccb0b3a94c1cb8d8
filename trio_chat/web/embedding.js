// A site that shows this page in a frame logs its people in: the page asks it for a token.
//
// Messages count only from the page around this one, and only if its origin is one that the operator
// has named. A token is kept nowhere.

import { Refused } from "./session.js";

const PATIENCE = 3_000; // milliseconds for the first token
const BAD = "trio_chat:refused";

export class Embedding {
  constructor(session) {
    this.session = session;
    this.arrived = () => {};
    window.addEventListener("message", (event) => this.#hear(event));
  }

  // The sites that may log people in here.
  get #origins() {
    return window.parent === window ? [] : (this.session.hello?.embed_origins ?? []);
  }

  // Have the site log its person in, if there is a site. Returns a sentence if that fails.
  async authenticate() {
    if (this.#origins.length === 0) {
      return "";
    }
    const came = new Promise((resolve) => (this.arrived = resolve));
    this.ask();
    const late = new Promise((resolve) => setTimeout(resolve, PATIENCE, ""));
    return Promise.race([came, late]);
  }

  // Ask the site for a token. A browser gives the question to that origin only.
  ask() {
    this.#tell({ type: "trio_chat:token_wanted" });
  }

  #tell(message) {
    this.#origins.forEach((origin) => window.parent.postMessage(message, origin));
  }

  async #hear({ source, origin, data }) {
    if (source !== window.parent || !this.#origins.includes(origin)) {
      return;
    }
    if (data?.type !== "trio_chat:token" || typeof data.token !== "string") {
      return;
    }
    try {
      await this.session.request("authenticate", { token: data.token });
      this.arrived("");
    } catch (error) {
      // Without a connection, the page asks again once it has one.
      if (error instanceof Refused) {
        this.#tell({ type: BAD, code: error.code });
        this.arrived(error.message);
      }
    }
  }
}
