// The settings dialog, and the effect of each setting on the page.

import { byId } from "./dom.js";
import { keepPreferences, VALUES } from "./preferences.js";
import { setClock } from "./times.js";

// `allow()` asks the browser for permission to notify. It returns a sentence if that fails.
export function setUpSettings(preferences, allow) {
  show(preferences);
  for (const name of Object.keys(VALUES)) {
    const field = fieldOf(name);
    field.onchange = async () => {
      preferences[name] = field.type === "checkbox" ? field.checked : field.value;
      say("");
      if (name === "notifications" && preferences[name]) {
        const problem = await allow();
        if (preferences[name]) { // else they are off again by now
          say(problem);
          preferences[name] = problem === "";
        }
      }
      keepPreferences(preferences);
      show(preferences);
    };
  }
  byId("settings-button").onclick = () => {
    say("");
    show(preferences);
    byId("settings-dialog").showModal();
  };
}

const fieldOf = (name) => byId(`settings-${name}`);

function say(text) {
  byId("settings-note").textContent = text;
}

function show(preferences) {
  for (const [name, value] of Object.entries(preferences)) {
    const field = fieldOf(name);
    field[field.type === "checkbox" ? "checked" : "value"] = value;
  }
  const { theme, clock, joins } = preferences;
  document.documentElement.dataset.theme = theme;
  for (const meta of document.querySelectorAll("meta[name=theme-color]")) {
    const { scheme } = meta.dataset;
    meta.media = theme === "system" ? `(prefers-color-scheme: ${scheme})` : theme === scheme ? "all" : "not all";
  }
  document.body.classList.toggle("no-joins", !joins);
  setClock(clock);
}
