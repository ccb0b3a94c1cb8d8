// The dialog of the account: who one is, the devices, and what one can do.

import { sentence, show, watch } from "./dialogs.js";
import { byId, focusInstead, make } from "./dom.js";
import { dayName, timeNode } from "./times.js";

export class AccountDialog {
  // `open(form)` opens a form of the login dialog, and `done()` runs after a logout.
  constructor(account, { open, done }) {
    this.account = account;
    this.dialog = byId("account");
    const actions = {
      "account-password": () => this.#leaveFor(() => open("password")),
      "account-recovery": () => this.#leaveFor(() => open("recovery")),
      "account-delete": () => this.#leaveFor(() => open("delete")),
      "account-export": () => this.#try(() => this.#export()),
      "account-log-out": () =>
        this.#try(async () => {
          await account.logOut();
          if (this.dialog.open) {
            this.#leaveFor(done);
          }
        }),
    };
    for (const [id, act] of Object.entries(actions)) {
      byId(id).onclick = act;
    }
  }

  async open() {
    byId("account-summary").textContent = "";
    byId("account-devices").replaceChildren();
    show(this.dialog);
    await this.#try(() => this.#draw());
  }

  #leaveFor(act) {
    this.dialog.close();
    act();
  }

  // Do something, and show why it failed.
  async #try(act) {
    const isShown = watch(this.dialog);
    byId("account-note").textContent = "";
    try {
      await act();
    } catch (error) {
      if (isShown()) {
        byId("account-note").textContent = sentence(error);
      }
    }
  }

  async #draw() {
    const [summary, devices] = await Promise.all([this.account.summary(), this.account.devices()]);
    byId("account-summary").textContent = sentence({ message: summary });
    byId("account-devices").replaceChildren(...devices.map((device) => this.#device(device)));
  }

  #device({ number, label, seen }) {
    const isThis = number === this.account.device;
    const revoke = async () => {
      await this.account.revoke(number);
      await this.#draw();
      focusInstead(byId("account-title"));
    };
    const button = { type: "button", className: "quiet-button", ariaLabel: `Revoke ${label}`, onclick: () => this.#try(revoke) };
    return make(
      "li",
      {},
      make("span", {}, make("bdi", {}, label), make("small", {}, "Last login: ", dayName(seen), " ", timeNode(seen))),
      isThis ? make("span", { className: "this" }, "this browser") : make("button", button, "Revoke"),
    );
  }

  async #export() {
    const data = JSON.stringify(JSON.parse(await this.account.exported()), null, 2);
    const href = URL.createObjectURL(new Blob([data], { type: "application/json" }));
    make("a", { href, download: "account.json" }).click();
    URL.revokeObjectURL(href);
  }
}

// Show what the server and the login allow: the button beside the nickname, and those of the entrance.
export function drawAccount({ isOffered }, { isLoggedIn, nick }) {
  const label = isLoggedIn ? "Your account" : "Log in";
  const button = byId("account-button");
  Object.assign(button, { hidden: !isOffered, title: label, ariaLabel: label });
  button.classList.toggle("on", isLoggedIn);
  byId("entrance-account").hidden = !isOffered;
  byId("entrance-log-in").hidden = isLoggedIn;
  byId("entrance-log-out").hidden = !isLoggedIn;
  const field = byId("entrance-nick");
  field.readOnly = isLoggedIn;
  if (isLoggedIn) {
    field.value = nick;
  }
}
