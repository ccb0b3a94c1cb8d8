// Notices about this person, in their place: being sent out of a room, and being muted in one.

import { byId, make } from "./dom.js";
import { dayName, dayOf, timeNode } from "./times.js";

const LONGEST = 2 ** 31 - 1; // milliseconds that a timer can take

let timer = 0;

// `again(name)` joins a room, and `changed()` asks for a redraw.
export function drawNotices(chat, { again, changed }) {
  drawOusted(chat, again, changed);
  drawMute(chat.current, changed);
}

function drawOusted(chat, again, changed) {
  const bar = byId("ousted");
  const { ousted } = chat;
  if (bar.shown === ousted) {
    return;
  }
  bar.shown = ousted;
  bar.hidden = ousted === null;
  if (ousted === null) {
    return;
  }
  const { name, reason } = ousted;
  byId("ousted-text").replaceChildren("You are no longer in ", make("bdi", {}, name), ": ", make("bdi", {}, reason), ".");
  const end = () => {
    chat.ousted = null;
    changed();
  };
  byId("ousted-again").onclick = () => {
    end();
    again(name);
  };
  byId("ousted-close").onclick = () => {
    end();
    byId("line").focus();
  };
}

function drawMute(place, changed) {
  const now = Date.now() / 1000;
  const mute = place?.mute ?? null;
  const counts = mute !== null && (mute.until === 0 || mute.until > now);
  const line = byId("muted");
  const shown = counts ? mute : null;
  if (line.shown === shown) {
    return;
  }
  line.shown = shown;
  line.hidden = !counts;
  clearTimeout(timer);
  if (!counts) {
    return;
  }
  const { until, reason } = mute;
  const day = dayOf(until) === dayOf(now) ? "" : `${dayName(until)}, `;
  const end = until === 0 ? [" for ever"] : [" until ", day, timeNode(until)];
  line.replaceChildren("You are muted in ", make("bdi", {}, place.name), ...end, ...(reason === "" ? [] : [": ", make("bdi", {}, reason)]), ".");
  if (until > 0) {
    timer = setTimeout(changed, Math.min(LONGEST, (until - now) * 1000 + 500));
  }
}
