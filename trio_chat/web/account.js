// The account of the person at this page: what they do with it, and the token with which this browser
// stays logged in.

import { read, remove, write } from "./memory.js";
import { Refused } from "./session.js";

const KEY = "trio_chat.device"; // in localStorage, for all tabs: `{ token, number }`
const NEEDED = ["register", "login", "recover"]; // commands of a server that keeps accounts
const GONE = new Set(["bad_token", "no_such_account", "no_accounts"]); // codes: the token is void

// All methods that ask the server throw `Refused` or `Broken`.
export class Account {
  constructor(session, chat) {
    this.session = session;
    this.chat = chat;
    // Another tab has logged out.
    window.addEventListener("storage", ({ key, newValue }) => {
      if (key === KEY && newValue === null && chat.isLoggedIn) {
        session.request("logout").catch(() => {});
      }
    });
  }

  // Whether the server keeps accounts.
  get isOffered() {
    const names = new Set(this.session.hello?.commands.map(({ name }) => name));
    return NEEDED.every((name) => names.has(name));
  }

  // The number of this browser among the devices, or 0.
  get device() {
    return read("localStorage", KEY).number ?? 0;
  }

  // Log in as before, if this browser has a token. Returns a sentence if the server refuses.
  async authenticate() {
    const { token } = read("localStorage", KEY);
    if (token === undefined || !this.isOffered) {
      return "";
    }
    try {
      await this.session.request("authenticate", { token });
      return "";
    } catch (error) {
      if (!(error instanceof Refused)) {
        throw error;
      }
      if (GONE.has(error.code)) {
        remove("localStorage", KEY);
      }
      return error.message;
    }
  }

  logIn(name, password) {
    return this.#enter("login", { name, password });
  }

  async register(nick, password) {
    if (nick !== this.chat.nick || !this.chat.isNamed) {
      await this.chat.takeNick(nick);
    }
    return this.#enter("register", { password });
  }

  recover(name, code, password) {
    return this.#enter("recover", { name, code, password });
  }

  changePassword(old, fresh) {
    return this.#enter("change_password", { old, new: fresh });
  }

  async renewRecovery(password) {
    return this.session.request("renew_recovery", { password });
  }

  async #enter(type, fields) {
    const entered = await this.session.request(type, { ...fields, device: deviceName(navigator.userAgent) });
    write("localStorage", KEY, { token: entered.token, number: entered.number });
    return entered;
  }

  // Both requests go out in this step. So what is typed next comes after the logout.
  async logOut() {
    const revoked = this.device > 0 ? this.revoke(this.device) : undefined;
    await Promise.all([
      revoked?.catch((error) => {
        if (!(error instanceof Refused)) {
          throw error;
        }
        // The token is void already.
      }),
      this.session.request("logout"),
    ]);
    remove("localStorage", KEY);
  }

  async delete(password) {
    await this.session.request("delete_account", { password });
    remove("localStorage", KEY);
  }

  // A sentence about the account and its connections.
  async summary() {
    return (await this.session.request("show_account")).text;
  }

  async devices() {
    return (await this.session.request("list_devices")).devices;
  }

  revoke(number) {
    return this.session.request("revoke_device", { number });
  }

  // All that the server keeps of the account, as JSON.
  async exported() {
    return (await this.session.request("export_account")).data;
  }
}

// A few words for the list of devices. The first match counts: browsers claim to be others too.
const BROWSERS = { Edg: "Edge", OPR: "Opera", Firefox: "Firefox", FxiOS: "Firefox", CriOS: "Chrome", Chrome: "Chrome", Safari: "Safari" };
const SYSTEMS = { Android: "Android", iPhone: "iPhone", iPad: "iPad", Windows: "Windows", Macintosh: "macOS", CrOS: "ChromeOS", Linux: "Linux" };

function deviceName(agent) {
  const named = (names, otherwise) => Object.entries(names).find(([part]) => agent.includes(part))?.[1] ?? otherwise;
  return `${named(BROWSERS, "Browser")} on ${named(SYSTEMS, "another system")}`;
}
