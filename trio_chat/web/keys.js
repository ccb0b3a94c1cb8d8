// The keys that work everywhere on the page.

import { isComposing } from "./dom.js";

// `handlers`: `isOff()`, `step(by, onlyUnread)`, `help()`, `find()`, `escape()` and `type()`, which
// moves the focus to the message.
export function setUpKeys(handlers) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || isComposing(event) || handlers.isOff() || document.querySelector("dialog[open]")) {
      return;
    }
    const action = actionOf(event, handlers);
    if (action) {
      event.preventDefault();
      action();
    }
    if (action || (isText(event) && event.target.closest("input, textarea") === null)) {
      handlers.type();
    }
  });
}

function actionOf({ key, altKey, ctrlKey, metaKey, shiftKey }, handlers) {
  if (altKey && !ctrlKey && (key === "ArrowUp" || key === "ArrowDown")) {
    return () => handlers.step(key === "ArrowUp" ? -1 : 1, shiftKey);
  }
  if (ctrlKey && key === "/") {
    return handlers.help;
  }
  if ((ctrlKey || metaKey) && !altKey && !shiftKey && key.toLowerCase() === "k") {
    return handlers.find;
  }
  return key === "Escape" ? handlers.escape : null;
}

const isText = ({ key, ctrlKey, altKey, metaKey }) =>
  [...key].length === 1 && key !== " " && !ctrlKey && !altKey && !metaKey;
