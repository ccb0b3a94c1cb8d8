// What is said of the connection, if it is not as it should be, and what one can do about it.

import { byId } from "./dom.js";

const PATIENCE = 1_000; // until a lost connection is worth a word: most are back by then

export class Banner {
  constructor(act) {
    this.lostSince = null;
    byId("banner-button").onclick = act;
  }

  draw(state) {
    const { phase } = state;
    this.lostSince = phase === "online" ? null : (this.lostSince ?? performance.now());
    const [text, button] = words(state);
    const isFinal = phase === "left" || phase === "elsewhere";
    const isShown = text !== "" && (isFinal || performance.now() - this.lostSince >= PATIENCE);
    byId("my-light").className = `light ${phase}`;
    byId("my-nick").title = phase === "online" ? "Change your name" : "Not connected";
    byId("banner").hidden = !isShown;
    byId("banner-button").hidden = button === undefined;
    byId("banner-button").textContent = button ?? "";
    // A live region: what is said once is not said again.
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
      return ["This chat goes on in another tab.", "Go on here"];
    case "left":
      return ["You have left the chat.", "Come back"];
    default:
      return [`Not connected${reason ? ` (${reason})` : ""}. Trying again; you will see what you missed.`, "Try now"];
  }
}
