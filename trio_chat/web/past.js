// A stretch of a room's history around a search result. It grows at both ends, and joins the room once
// it reaches the loaded entries.

import { Place } from "./room.js";

const PAGE = 100; // entries asked for at once

// The stretch around a position. Its room is `of`, and `log` is the server's log. Throws `Refused` or
// `Broken`.
export async function pastAround(session, room, position) {
  const about = { of: room, log: session.hello.log, synced: true, isEnd: false };
  const past = Object.assign(new Place("room", room.key, room.name), about);
  const entries = await read(session, past, position + Math.floor(pageOf(session) / 2));
  past.isWhole = entries[0]?.position === 1;
  return past;
}

export async function loadLater(session, past) {
  if (past.isLoading || past.isEnd) {
    return;
  }
  past.isLoading = true;
  try {
    const { high } = past;
    await read(session, past, high + pageOf(session));
    past.isEnd = past.high === high;
  } finally {
    past.isLoading = false;
  }
}

// Read a page that ends at this position, or at the newest one.
async function read(session, past, last) {
  const asked = { room: past.key, before: last + 1, limit: pageOf(session) };
  const { entries } = await session.request("show_history", asked);
  entries.forEach((entry) => past.hear(entry));
  return entries;
}

const pageOf = ({ hello }) => Math.min(PAGE, hello.limits.history);

export const reachesRoom = ({ high, of }) => high >= of.low - 1;

export function becomePart({ items, isWhole, of }) {
  of.mergeOlder(items.filter(({ position }) => position < of.low));
  of.isWhole = isWhole;
}
