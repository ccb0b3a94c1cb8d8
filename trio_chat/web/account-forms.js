// Opens the form of the account that a command or a button asks for, or logs out.

import { sentence } from "./dialogs.js";
import { closeDrawers } from "./drawers.js";

export class AccountForms {
  constructor(account, chat, login, dialog) {
    Object.assign(this, { account, chat, login, dialog });
  }

  // `what` is the name of a command. Within an account, a form to log in makes no sense, and outside of it
  // there is nothing to see.
  open(what, name = "") {
    closeDrawers();
    if (what === "logout") {
      this.logOut();
    } else if (!this.chat.isLoggedIn) {
      const nick = this.chat.nick === "anonymous" ? "" : this.chat.nick;
      this.login.open(what === "register" || what === "recover" ? what : "login", { name: name || nick });
    } else if (what === "password") {
      this.login.open("password", { name: this.chat.nick });
    } else {
      this.dialog.open();
    }
  }

  async logOut() {
    try {
      await this.account.logOut();
    } catch (error) {
      this.chat.note(sentence(error), "refusal");
    }
  }
}
