// The preferences of this browser, chosen in the settings and stored.

import { read, write } from "./memory.js";

const KEY = "trio_chat.settings"; // in localStorage

// The values of each preference. The first one is the default.
export const VALUES = {
  theme: ["system", "light", "dark"],
  clock: ["locale", "12", "24"],
  notifications: [false, true],
  sound: [false, true],
  joins: [true, false],
};

// The stored preferences. Values from another version count if they are still valid.
export function recallPreferences() {
  const kept = read("localStorage", KEY);
  return Object.fromEntries(
    Object.entries(VALUES).map(([name, values]) => [name, values.includes(kept[name]) ? kept[name] : values[0]]),
  );
}

export function keepPreferences(preferences) {
  write("localStorage", KEY, preferences);
}
