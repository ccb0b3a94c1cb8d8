// Formats the server's times for people: the time of day, the day, or both.

import { make } from "./dom.js";

const CYCLES = { locale: undefined, 12: "h12", 24: "h23" };
let timeOfDay = timeFormat("locale");
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

function timeFormat(clock) {
  const hour = clock === "12" ? "numeric" : "2-digit";
  return new Intl.DateTimeFormat(undefined, { hour, minute: "2-digit", hourCycle: CYCLES[clock] });
}

// Set the clock, for times on the page too: "12" hours, "24" hours, or the browser's "locale".
export function setClock(clock) {
  timeOfDay = timeFormat(clock);
  for (const node of document.querySelectorAll("time[datetime]")) {
    node.textContent = timeOfDay.format(new Date(node.dateTime));
  }
}

// A node for a time in seconds since 1970.
export function timeNode(seconds) {
  const date = new Date(seconds * 1000);
  const known = !Number.isNaN(date.getTime());
  return make(
    "time",
    known ? { dateTime: date.toISOString(), title: FULL.format(date) } : {},
    known ? timeOfDay.format(date) : "",
  );
}

export function dayOf(seconds) {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? "" : date.toDateString();
}

export function dayName(seconds) {
  const date = new Date(seconds * 1000);
  const now = new Date();
  const ago = Math.round((startOf(now) - startOf(date)) / 86_400_000);
  if (ago === 0 || ago === 1) {
    return ago === 0 ? "Today" : "Yesterday";
  }
  const year = date.getFullYear() === now.getFullYear() ? "" : ` ${date.getFullYear()}`;
  return DAY.format(date) + year;
}

const startOf = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate());
