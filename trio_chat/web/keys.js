// The keys that work wherever one is.

import { isComposing } from "./dom.js";

// `handlers`: `isOff()`, `step(by, onlyUnread)`, `help()`, `escape()`, and `type()`, after which
// what is typed goes into the message.
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

function actionOf({ key, altKey, ctrlKey, shiftKey }, handlers) {
  if (altKey && !ctrlKey && (key === "ArrowUp" || key === "ArrowDown")) {
    return () => handlers.step(key === "ArrowUp" ? -1 : 1, shiftKey);
  }
  if (ctrlKey && key === "/") {
    return handlers.help;
  }
  return key === "Escape" ? handlers.escape : null;
}

const isText = ({ key, ctrlKey, altKey, metaKey }) =>
  [...key].length === 1 && key !== " " && !ctrlKey && !altKey && !metaKey;
