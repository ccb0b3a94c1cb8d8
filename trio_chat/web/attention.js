// Tells about messages that are not on screen: by the title, notifications and a screen reader.

import { byId, make } from "./dom.js";

const MOST_SPOKEN = 4; // messages read out one by one; more of them at once are counted
const KEPT_SPOKEN = 12;

export class Attention {
  constructor(chat, go, preferences) {
    this.chat = chat;
    this.go = go;
    this.preferences = preferences;
    this.toSay = [];
    navigator.serviceWorker?.addEventListener("message", ({ data }) => this.clicked(data.tag));
  }

  title(place) {
    const { unread } = this.chat;
    const count = unread > 0 ? `(${unread}) ` : "";
    const title = `${count}${place ? `${place.name} · ` : ""}trio_chat`;
    if (document.title !== title) {
      document.title = title;
    }
  }

  // A message from someone.
  heard(place, entry, isForUs) {
    if (isForUs && this.preferences.sound && (document.hidden || place !== this.chat.current)) {
      this.#chime();
    }
    if (document.hidden) {
      if (isForUs && this.#mayNotify) {
        this.#notify(place, entry);
      }
    } else if (place === this.chat.current) {
      this.toSay.push(`${entry.nick}: ${entry.text}`);
    } else if (isForUs) {
      this.toSay.push(`${place.name}: a message for you from ${entry.nick}`);
    }
  }

  // An answer from the chat.
  answered(text) {
    if (!document.hidden) {
      this.toSay.push(text);
    }
  }

  draw() {
    this.#speak();
  }

  // Give a screen reader the new messages. The list on screen is not a live region, because older
  // messages come into it too, and would be read out.
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

  get #mayNotify() {
    return this.preferences.notifications && "Notification" in window && Notification.permission === "granted";
  }

  // Ask the browser for permission to notify. Returns a sentence if that fails.
  async allow() {
    if (!("Notification" in window)) {
      return "This browser cannot show notifications here.";
    }
    return (await Notification.requestPermission()) === "granted"
      ? ""
      : "Notifications are blocked in the browser's settings for this page.";
  }

  #notify(place, entry) {
    const title = place.kind === "talk" ? entry.nick : `${entry.nick} in ${place.name}`;
    const about = { body: entry.text, tag: tagOf(place), icon: "icon.png" };
    try {
      const shown = new Notification(title, about);
      shown.onclick = () => {
        window.focus();
        this.clicked(tagOf(place)); // the place may be gone by now
        shown.close();
      };
    } catch {
      // Some phones allow notifications only from service workers.
      navigator.serviceWorker?.ready.then((worker) => worker.showNotification(title, about));
    }
  }

  // A notification was clicked.
  clicked(tag) {
    const place = this.chat.places.find((one) => tagOf(one) === tag);
    if (place !== undefined) {
      this.go(place);
    }
  }

  // Two soft notes. Browsers play none before the first click or key, and would play them then.
  #chime() {
    if (!navigator.userActivation.hasBeenActive) {
      return;
    }
    this.audio ??= new AudioContext();
    const { audio } = this;
    const volume = new GainNode(audio, { gain: 0 });
    const tone = new OscillatorNode(audio, { frequency: 660 });
    const now = audio.currentTime;
    tone.frequency.setValueAtTime(880, now + 0.12);
    volume.gain.linearRampToValueAtTime(0.15, now + 0.02);
    volume.gain.linearRampToValueAtTime(0, now + 0.4);
    tone.connect(volume).connect(audio.destination);
    tone.start(now);
    tone.stop(now + 0.4);
  }
}

const tagOf = ({ kind, key }) => `${kind} ${key}`;
