// How one is told of what one does not look at: the title, notifications, and words for ears.

import { byId, make } from "./dom.js";

const MOST_SPOKEN = 4; // messages read out one by one; more of them at once are counted
const KEPT_SPOKEN = 12;

export class Attention {
  constructor(chat, go, wantsBell) {
    this.chat = chat;
    this.go = go;
    this.wantsBell = wantsBell;
    this.toSay = [];
  }

  title(place) {
    const { unread } = this.chat;
    const count = unread > 0 ? `(${unread}) ` : "";
    const title = `${count}${place ? `${place.name} · ` : ""}trio_chat`;
    if (document.title !== title) {
      document.title = title;
    }
  }

  // Someone said something.
  heard(place, entry, isForUs) {
    if (document.hidden) {
      if (isForUs && this.hasBell) {
        this.#notify(place, entry);
      }
    } else if (place === this.chat.current) {
      this.toSay.push(`${entry.nick}: ${entry.text}`);
    } else if (isForUs) {
      this.toSay.push(`${place.name}: a message for you from ${entry.nick}`);
    }
  }

  // The chat has answered us.
  answered(text) {
    if (!document.hidden) {
      this.toSay.push(text);
    }
  }

  draw() {
    byId("bell-button").setAttribute("aria-pressed", `${this.hasBell}`);
    this.#speak();
  }

  // Give a screen reader what has come since. The list on screen is no live region: older messages
  // come into it too, and would be read out.
  #speak() {
    const texts = this.toSay.length > MOST_SPOKEN ? [`${this.toSay.length} new messages`] : this.toSay;
    this.toSay = [];
    const spoken = byId("spoken");
    spoken.append(...texts.map((text) => make("p", {}, text)));
    while (spoken.children.length > KEPT_SPOKEN) {
      spoken.firstChild.remove();
    }
  }

  // --- notifications ------------------------------------------------------------------------------

  get hasBell() {
    return this.wantsBell && "Notification" in window && Notification.permission === "granted";
  }

  // Asked for by the button: the browser then asks for leave. Gives what went wrong, or nothing.
  async toggleBell() {
    if (this.hasBell) {
      this.wantsBell = false;
      return "";
    }
    if (!("Notification" in window)) {
      return "This browser has no notifications here.";
    }
    this.wantsBell = (await Notification.requestPermission()) === "granted";
    return this.wantsBell ? "" : "The browser does not allow notifications from this page.";
  }

  #notify(place, entry) {
    try {
      const title = place.kind === "talk" ? entry.nick : `${entry.nick} in ${place.name}`;
      const shown = new Notification(title, { body: entry.text, tag: `${place.kind} ${place.key}`, icon: "icon.svg" });
      shown.onclick = () => {
        window.focus();
        this.go(place);
        shown.close();
      };
    } catch {
      // Some phones have notifications for service workers alone.
      this.wantsBell = false;
    }
  }
}
