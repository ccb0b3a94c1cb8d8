// What is asked for in a window of its own: coming in, a name, a room, a topic; and the help.

import { byId, make } from "./dom.js";

// What went wrong, as a sentence.
export function sentence({ message }) {
  return message
    ? `${message.charAt(0).toUpperCase()}${message.slice(1)}.`
    : "Not connected just now. Please try again.";
}

// Ask for one text. `submit(text)` does what is to be done with it, and throws what is wrong.
export function ask({ title, label, value = "", ok, maxLength, required = true, choices = [] }, submit) {
  const dialog = byId("ask");
  const field = byId("ask-value");
  byId("ask-title").textContent = title;
  byId("ask-label").textContent = label;
  byId("ask-ok").textContent = ok;
  field.value = value;
  field.maxLength = maxLength * 2; // in UTF-16; the server counts characters, and says so
  field.required = required;
  const pick = (name) => {
    field.value = name;
    byId("ask-form").requestSubmit();
  };
  byId("ask-choices").replaceChildren(...chips(choices, pick));
  showError("ask", "");
  byId("ask-cancel").onclick = () => dialog.close();
  byId("ask-form").onsubmit = async (event) => {
    event.preventDefault();
    try {
      await submit(field.value.trim());
      dialog.close();
    } catch (error) {
      showError("ask", sentence(error));
      field.select();
    }
  };
  dialog.showModal();
  field.select();
}

// Ask a first visitor for a name and a room.
export class Entrance {
  constructor(submit) {
    this.isOpen = false;
    byId("entrance-form").onsubmit = async (event) => {
      event.preventDefault();
      showError("entrance", "");
      try {
        await submit(byId("entrance-nick").value.trim(), byId("entrance-room").value.trim());
      } catch (error) {
        showError("entrance", sentence(error));
        byId("entrance-nick").select();
      }
    };
  }

  open({ nick, room, error = "" }) {
    if (!this.isOpen) {
      byId("entrance-nick").value = nick;
      byId("entrance-room").value = room;
    }
    this.isOpen = true;
    byId("entrance").hidden = false;
    byId("app").hidden = true;
    byId("entrance-where").textContent = `You are about to join the chat on ${location.host}.`;
    showError("entrance", error);
    byId("entrance-nick").focus();
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

function showError(name, text) {
  byId(`${name}-error`).textContent = text;
  const field = byId(name === "ask" ? "ask-value" : "entrance-nick");
  field.setAttribute("aria-invalid", `${text !== ""}`);
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
