// The dialog of a room: who may do what there, and who gets which role.

import { sentence } from "./dialogs.js";
import { byId, make } from "./dom.js";
import { givenBy, ranks } from "./moderation.js";

const EVERYONE = "Everyone";
const ACCOUNTS = "People with an account";
const ROLES = "People with a role";
// The label of each setting, and its values. A setting without values here is typed.
const SETTINGS = {
  join: ["Who may enter", { all: EVERYONE, accounts: ACCOUNTS, members: `${ROLES} or an invitation` }],
  speak: ["Who may speak", { all: EVERYONE, accounts: ACCOUNTS, voice: "People with the role voice or a higher one" }],
  topic: ["Who may set the topic", { all: EVERYONE, operators: "Operators" }],
  history: ["Who may read the history", { all: EVERYONE, members: ROLES }],
  slow: ["Seconds between messages"],
  "new-people": ["Messages of new people", { free: "Come at once", hold: "Are held until an operator passes them" }],
  listed: ["In the list of rooms", { yes: "Yes", no: "No" }],
};
const ROLE_NAMES = { none: "No role", member: "Member", voice: "Voice", operator: "Operator", owner: "Owner" };
const INVITE = "invite";
const OWN = {
  none: "You have no role here.",
  server: "You are an operator of the server.",
};

export class RoomDialog {
  constructor(moderation, chat) {
    this.moderation = moderation;
    this.chat = chat;
    this.dialog = byId("room-dialog");
    byId("room-claim").onclick = () => this.#try(() => moderation.claim(this.place));
    byId("room-people").onsubmit = (event) => {
      event.preventDefault();
      this.#try(() => this.#give());
    };
    byId("room-close").onclick = () => this.dialog.close();
  }

  async open(place) {
    this.place = place;
    byId("room-title").textContent = place.name;
    byId("room-role").textContent = "";
    byId("room-settings").replaceChildren();
    byId("room-claim").hidden = true;
    byId("room-people").hidden = true;
    this.dialog.showModal();
    byId("room-title").focus();
    await this.#try(() => {});
  }

  // Do something, and show what holds then, or why it failed.
  async #try(act) {
    let note = "";
    try {
      note = sentenceOf(await act());
    } catch (error) {
      note = sentence(error);
    }
    try {
      this.#draw(await this.moderation.rules(this.place));
    } catch (error) {
      note = sentence(error);
    }
    byId("room-note").textContent = note;
  }

  #draw({ role, settings }) {
    const { place, chat } = this;
    const moderates = ranks(role, "operator");
    byId("room-role").textContent = OWN[role] ?? `Your role here: ${role}.`;
    byId("room-settings").replaceChildren(...settings.flatMap((setting) => this.#setting(setting, moderates)));
    byId("room-claim").hidden = !(role === "none" && chat.isLoggedIn && place.members.size === 1);
    byId("room-people").hidden = !moderates;
    const given = givenBy(role).map((one) => [one, ROLE_NAMES[one]]);
    byId("room-gift").replaceChildren(...options([[INVITE, "Invitation for a day"], ...given.toReversed()]));
  }

  #setting({ name, value }, moderates) {
    const [label, values] = SETTINGS[name] ?? [name];
    const id = `room-set-${name}`;
    const field =
      values === undefined
        ? make("input", { id, value, inputMode: name === "slow" ? "numeric" : "text", autocomplete: "off" })
        : make("select", { id }, ...options(Object.entries({ ...values, [value]: values[value] ?? value })));
    Object.assign(field, { value, disabled: !moderates });
    field.onchange = async () => {
      await this.#try(() => this.moderation.set(this.place, name, field.value.trim()));
      byId(id)?.focus(); // all fields are new
    };
    return [make("label", { htmlFor: id }, label), field];
  }

  #give() {
    const nick = byId("room-nick").value.trim();
    const gift = byId("room-gift").value;
    return gift === INVITE ? this.moderation.invite(this.place, nick) : this.moderation.give(this.place, nick, gift);
  }
}

const options = (entries) => entries.map(([value, name]) => make("option", { value }, name));

// What everyone in the room reads about an action.
const sentenceOf = (ruled) => (ruled === undefined ? "" : `${ruled.nick} ${ruled.text} [A${ruled.position}]`);
