// Notices about this person, in their place: being sent out of a room or invited to one, and being muted
// in one.

import { byId, make } from "./dom.js";
import { dayName, dayOf, timeNode } from "./times.js";

const LONGEST = 2 ** 31 - 1; // milliseconds that a timer can take

let timer = 0;

// `join(name)` joins a room, and `changed()` asks for a redraw.
export function drawNotices(chat, { join, changed }) {
  drawBar("ousted", chat, { join, changed }, ({ name, reason }) => ["You are no longer in ", isolated(name), ": ", isolated(reason), "."]);
  drawBar("invited", chat, { join, changed }, ({ name, nick }) => [isolated(nick), " invites you to ", isolated(name), "."]);
  drawMute(chat.current, changed);
}

const isolated = (text) => make("bdi", {}, text);

// Draws the bar about a room that is in the field `what` of the chat, or is null.
function drawBar(what, chat, { join, changed }, textOf) {
  const bar = byId(what);
  const about = chat[what];
  if (bar.shown === about) {
    return;
  }
  bar.shown = about;
  bar.hidden = about === null;
  if (about === null) {
    return;
  }
  byId(`${what}-text`).replaceChildren(...textOf(about));
  const end = () => {
    chat[what] = chat[what] === about ? null : chat[what]; // there may be a newer one, not drawn yet
    changed();
  };
  byId(`${what}-join`).onclick = () => {
    end();
    join(about.name);
  };
  byId(`${what}-close`).onclick = () => {
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
