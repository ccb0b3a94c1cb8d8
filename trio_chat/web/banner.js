// The banner about a broken connection, with a button to reconnect.

import { byId } from "./dom.js";

const PATIENCE = 1_000; // until a lost connection is worth a word: most are back by then

export class Banner {
  constructor(act) {
    this.lostSince = null;
    byId("banner-button").onclick = act;
  }

  // `mine` says what the button with one's nickname does.
  draw(state, mine) {
    const { phase } = state;
    this.lostSince = phase === "online" ? null : (this.lostSince ?? performance.now());
    const [text, button] = words(state);
    const isFinal = phase === "left" || phase === "elsewhere";
    const isShown = text !== "" && (isFinal || performance.now() - this.lostSince >= PATIENCE);
    byId("my-light").className = `light ${phase}`;
    byId("my-nick").title = phase === "online" ? mine : "Not connected";
    byId("banner").hidden = !isShown;
    byId("banner-button").hidden = button === undefined;
    byId("banner-button").textContent = button ?? "";
    // A live region: setting the same text again would read it out again.
    if (isShown && byId("banner-text").textContent !== text) {
      byId("banner-text").textContent = text;
    }
  }
}

function words({ phase, reason }) {
  switch (phase) {
    case "online":
      return [""];
    case "elsewhere":
      return ["This chat is open in another tab.", "Use it here"];
    case "left":
      return [reason ? `You were disconnected: ${reason}` : "You have left the chat.", "Join again"];
    default:
      return [`Not connected${reason ? ` (${reason})` : ""}. Trying again; you will see what you missed.`, "Try now"];
  }
}
