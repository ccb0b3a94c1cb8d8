// The dialog with the fields for passwords: to log in, register, recover, change the password, and
// delete the account. Each form is made when it is shown, so nothing that was typed stays in the page.

import { sentence, show } from "./dialogs.js";
import { byId, make } from "./dom.js";

const FIELDS = {
  name: { label: "Nickname", autocomplete: "username" },
  password: { label: "Password", type: "password", autocomplete: "current-password" },
  code: { label: "Recovery code", autocomplete: "off" },
  fresh: { label: "New password", type: "password", autocomplete: "new-password", minLength: 12, hint: "12 characters or more" },
  again: { label: "The new password again", type: "password", autocomplete: "new-password" },
};

const FORMS = {
  login: {
    title: "Log in",
    ok: "Log in",
    fields: ["name", "password"],
    others: { register: "Make an account", recover: "Password forgotten?" },
    submit: (account, { name, password }) => account.logIn(name, password),
    done: "You are logged in.",
  },
  register: {
    title: "Make an account",
    text: "An account keeps your nickname for you, on all your devices.",
    ok: "Register",
    fields: ["name", "fresh", "again"],
    others: { login: "Log in" },
    submit: (account, { name, fresh }) => account.register(name, fresh),
  },
  recover: {
    title: "Set a new password",
    text: "You got a recovery code when you registered. All your devices have to log in again.",
    ok: "Set password",
    fields: ["name", "code", "fresh", "again"],
    others: { login: "Log in" },
    submit: (account, { name, code, fresh }) => account.recover(name, code, fresh),
  },
  password: {
    title: "Change your password",
    text: "Your other devices have to log in again.",
    ok: "Change",
    fields: ["name", "password", "fresh", "again"],
    submit: (account, { password, fresh }) => account.changePassword(password, fresh),
    done: "Your password is changed.",
  },
  recovery: {
    title: "Make a new recovery code",
    text: "The code that you have counts no more.",
    ok: "Make a code",
    fields: ["name", "password"],
    submit: (account, { password }) => account.renewRecovery(password),
  },
  delete: {
    title: "Delete your account",
    text: "This cannot be undone. Nobody can have your nickname again, and your messages stay in their rooms.",
    ok: "Delete for good",
    fields: ["name", "password"],
    submit: (account, { password }) => account.delete(password),
  },
};

// The wrong field for a refusal's code. Others are about none of them.
const WRONG = {
  ...Object.fromEntries(["bad_nick", "nick_taken", "nick_reserved", "nick_registered"].map((code) => [code, "name"])),
  bad_password: "fresh",
  wrong_password: "password",
};

export class Login {
  // `done(text)` runs once a form was accepted, after the dialog. Its text may be empty.
  constructor(account, done) {
    this.account = account;
    this.done = done;
    this.dialog = byId("login");
    this.code = null; // what settles once the recovery code that is shown has been kept
    this.dialog.addEventListener("close", () => this.#closed());
  }

  // Show a form. `name` is the nickname to begin with, and `why` a sentence above the fields.
  open(kind, { name = "", why = "" } = {}) {
    if (this.code !== null) {
      this.code.promise.then(() => this.open(kind, { name, why })); // the code is shown only now
      return;
    }
    const about = FORMS[kind];
    const links = Object.entries(about.others ?? {}).map(([other, label]) =>
      button("link", label, () => this.open(other, { name: valuesOf(this.dialog).name })),
    );
    const form = make(
      "form",
      { method: "dialog" },
      make("h2", { id: "login-title" }, about.title),
      make("p", { className: "about" }, why || about.text),
      ...about.fields.flatMap(fieldNodes),
      make("p", { id: "login-error", className: "error", role: "alert" }),
      make("p", { className: "links" }, ...links),
      make("div", { className: "buttons" }, this.#cancel(), make("button", { className: "primary" }, about.ok)),
    );
    form.onsubmit = (event) => {
      event.preventDefault();
      this.#submit(about, form);
    };
    this.dialog.replaceChildren(form);
    // Within an account its name is there for password managers.
    Object.assign(byId("login-name"), { value: name, readOnly: about.others === undefined });
    show(this.dialog);
    [...form.querySelectorAll("input")].find(({ value }) => value === "").focus();
  }

  // A browser tells this with its next frame. By then the dialog may be open again.
  #closed() {
    if (!this.dialog.open) {
      this.dialog.replaceChildren();
      this.code?.resolve();
    }
  }

  #cancel() {
    return button("quiet-button", "Cancel", () => this.dialog.close());
  }

  async #submit(about, form) {
    const values = valuesOf(form);
    if (form.isBusy) {
      return;
    }
    if (values.again !== undefined && values.again !== values.fresh) {
      showError("The two passwords differ.", "again");
      return;
    }
    form.isBusy = true;
    try {
      const { recovery = "" } = (await about.submit(this.account, values)) ?? {};
      if (about !== FORMS.delete) {
        offerToSave(values);
      }
      if (recovery !== "") {
        await this.#showCode(recovery);
      } else if (form.isConnected) {
        this.dialog.close();
      }
      this.done(about.done ?? "");
    } catch (error) {
      if (!form.isConnected) {
        return; // the person has closed it, or turned to another form
      }
      const field = WRONG[error.code] ?? "";
      showError(sentence(error), field === "password" && values.code !== undefined ? "code" : field);
    } finally {
      form.isBusy = false;
    }
  }

  // Show a recovery code until the person says that they have it.
  async #showCode(code) {
    const shown = make("output", { className: "code" }, code);
    const note = make("p", { className: "about", role: "status" });
    this.code?.resolve(); // an older one counts no more
    const kept = Promise.withResolvers();
    this.code = kept;
    this.dialog.replaceChildren(
      make("h2", { id: "login-title", tabIndex: -1 }, "Your recovery code"),
      make("p", { className: "about" }, "It lets you in if you forget your password. Keep it: it is shown only now."),
      shown,
      note,
      make(
        "div",
        { className: "buttons" },
        button("quiet-button", "Copy", () => copy(shown, note)),
        button("primary", "I have kept it", kept.resolve),
      ),
    );
    show(this.dialog);
    byId("login-title").focus();
    this.dialog.oncancel = (event) => event.preventDefault(); // Escape is pressed too easily
    await kept.promise;
    if (this.code === kept) {
      this.code = null;
      this.dialog.oncancel = null;
      this.dialog.close();
    }
  }
}

function fieldNodes(name) {
  const { label, hint = "", ...properties } = FIELDS[name];
  const id = `login-${name}`;
  const input = make("input", { id, name, type: "text", required: true, spellcheck: false, autocapitalize: "off", ...properties });
  input.setAttribute("aria-describedby", "login-error");
  return [make("label", { htmlFor: id }, label, make("small", {}, hint)), input];
}

const button = (className, label, onclick) => make("button", { type: "button", className, onclick }, label);

const valuesOf = (node) =>
  Object.fromEntries([...node.querySelectorAll("input")].map(({ name, type, value }) => [name, type === "text" ? value.trim() : value]));

function showError(text, wrong) {
  byId("login-error").textContent = text;
  for (const field of byId("login").querySelectorAll("input")) {
    field.setAttribute("aria-invalid", `${field.name === wrong}`);
  }
  byId(`login-${wrong}`)?.select();
}

// Most password managers notice a form by themselves. Chromium's needs to be told, as no other page
// is loaded.
function offerToSave({ name, password, fresh = password }) {
  if ("PasswordCredential" in window) {
    navigator.credentials.store(new PasswordCredential({ id: name, password: fresh })).catch(() => {});
  }
}

// Browsers let a page copy on `localhost` and over HTTPS alone.
async function copy(node, note) {
  try {
    await navigator.clipboard.writeText(node.textContent);
    note.textContent = "Copied.";
  } catch {
    getSelection().selectAllChildren(node);
    note.textContent = "The browser does not let this page copy. The code is selected: copy it yourself.";
  }
}
