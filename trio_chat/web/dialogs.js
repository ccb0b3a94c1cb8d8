// Dialogs: the entrance, the questions for a nick, a room or a topic, and the help.

import { byId, make } from "./dom.js";

// An error as a sentence.
export function sentence({ message }) {
  return message
    ? `${message.charAt(0).toUpperCase()}${message.slice(1)}.`
    : "Not connected just now. Please try again.";
}

// Whether the server refused the content of a field. Otherwise the connection broke.
const isRefused = ({ message }) => message !== "";

// Show a dialog, perhaps for something else than before.
export function show(dialog) {
  dialog.times = (dialog.times ?? 0) + 1;
  if (!dialog.open) {
    dialog.showModal();
  }
}

// Returns a function that says whether a dialog still shows what it shows now. While an answer is under
// way, a person may close the dialog and open it for something else.
export function watch(dialog) {
  const { times } = dialog;
  return () => dialog.open && dialog.times === times;
}

// Let what a dialog shows now be submitted, and close it then. `submit()` may throw an error, for `fail(error)`
// to show. A dialog that shows something else by then stays as it is.
export function onSubmit(form, submit, fail) {
  const dialog = form.closest("dialog");
  const isShown = watch(dialog);
  let isBusy = false;
  form.onsubmit = async (event) => {
    event.preventDefault();
    if (isBusy) {
      return; // Enter was pressed twice
    }
    isBusy = true;
    try {
      await submit();
      if (isShown()) {
        dialog.close();
      }
    } catch (error) {
      if (isShown()) {
        fail(error);
      }
    } finally {
      isBusy = false;
    }
  };
}

// Ask for one text. `submit(text)` uses it, or throws an error to show. Typing replaces `value`, and
// comes after `prefix`. Returns a function that changes the choices.
export function ask({ title, label, value = "", prefix = "", ok, maxLength, required = true, choices = [] }, submit) {
  const dialog = byId("ask");
  const field = byId("ask-value");
  byId("ask-title").textContent = title;
  byId("ask-label").textContent = label;
  byId("ask-ok").textContent = ok;
  field.value = value || prefix;
  field.maxLength = maxLength * 2; // in UTF-16; the server counts characters, and says so
  field.required = required;
  const pick = (name) => {
    field.value = name;
    byId("ask-form").requestSubmit();
  };
  const offer = (names) => byId("ask-choices").replaceChildren(...chips(names, pick));
  offer(choices);
  showError("ask", "", []);
  byId("ask-cancel").onclick = () => dialog.close();
  show(dialog);
  const fail = (error) => {
    showError("ask", sentence(error), isRefused(error) ? [field] : []);
    field.select();
  };
  onSubmit(byId("ask-form"), () => submit(field.value.trim()), fail);
  const isAsking = watch(dialog);
  field.setSelectionRange(prefix.length, field.value.length);
  return (names) => isAsking() && offer(names);
}

// Ask for a confirmation. `act()` runs after it.
export function confirm({ title, text, ok }, act) {
  const dialog = byId("confirm");
  byId("confirm-title").textContent = title;
  byId("confirm-text").textContent = text;
  byId("confirm-ok").textContent = ok;
  // The `close` event comes late: by then the dialog may ask for something else.
  byId("confirm-form").onsubmit = (event) => {
    event.preventDefault();
    dialog.close();
    if (event.submitter.value === "yes") {
      act();
    }
  };
  dialog.showModal();
  byId("confirm-ok").focus();
}

// Ask a first visitor for a nick and a room.
export class Entrance {
  // `submit(nick, room)` may throw an error. For a refusal, its `field` is "nick" or "room".
  constructor(submit) {
    this.submit = submit;
    this.isOpen = false;
    this.isWaiting = false; // for a connection, to do what was asked for
    this.submitted = 0; // how often
    byId("entrance-form").onsubmit = (event) => {
      event.preventDefault();
      this.#submit();
    };
  }

  async #submit() {
    this.#say({});
    this.submitted += 1;
    const { submitted } = this;
    try {
      await this.submit(byId("entrance-nick").value.trim(), byId("entrance-room").value.trim());
    } catch (error) {
      if (submitted !== this.submitted) {
        return; // they have changed it meanwhile
      }
      if (isRefused(error)) {
        this.#say({ error: sentence(error), field: error.field });
      } else {
        this.isWaiting = true;
        this.#say({ status: "Not connected. You will join once the connection is back." });
      }
    }
  }

  #say({ status = "", error = "", field = "nick" }) {
    byId("entrance-status").textContent = status;
    const wrong = byId(`entrance-${field}`);
    showError("entrance", error, error === "" ? [] : [wrong]);
    if (error !== "") {
      wrong.select();
    }
  }

  // Call this once connected. It asks, or submits what was entered while offline.
  open({ nick, room, error = "" }) {
    if (this.isWaiting) {
      this.isWaiting = false;
      this.#submit();
      return;
    }
    if (this.isOpen) {
      return;
    }
    byId("entrance-nick").value = nick;
    byId("entrance-room").value = room;
    this.isOpen = true;
    byId("entrance").hidden = false;
    byId("app").hidden = true;
    byId("entrance-where").textContent = `on ${location.host}`;
    byId("entrance-nick").focus();
    this.#say({ error });
  }

  offer(rooms) {
    const pick = (name) => {
      byId("entrance-room").value = name;
      byId("entrance-nick").focus();
    };
    byId("entrance-rooms").replaceChildren(...chips(rooms, pick));
  }

  close() {
    this.isOpen = false;
    byId("entrance").hidden = true;
    byId("app").hidden = false;
  }
}

// Shows an error, and marks the wrong fields.
function showError(name, text, wrong) {
  byId(`${name}-error`).textContent = text;
  for (const field of byId(`${name}-form`).querySelectorAll("input")) {
    field.setAttribute("aria-invalid", `${wrong.includes(field)}`);
  }
}

function chips(names, pick) {
  return names
    .slice(0, 12)
    .map((name) =>
      make("button", { type: "button", className: "chip", onclick: () => pick(name) }, make("bdi", {}, name)),
    );
}

export function help(commands) {
  byId("help-commands").replaceChildren(
    ...commands.flatMap(({ usage, help: what }) => [
      make("dt", {}, make("code", {}, usage)),
      make("dd", {}, what),
    ]),
  );
  byId("help-dialog").showModal();
}

// A click beside a dialog closes it. Those that longer texts are typed into stay.
export function setUpDialogs() {
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog && isBeside(event, dialog) && dialog.dataset.stays === undefined) {
        dialog.close();
      }
    });
  }
}

function isBeside({ clientX, clientY }, dialog) {
  const { left, right, top, bottom } = dialog.getBoundingClientRect();
  return clientX < left || clientX > right || clientY < top || clientY > bottom;
}
