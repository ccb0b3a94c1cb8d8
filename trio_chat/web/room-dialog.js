// The dialog of a room: who may do what there, and who gets which role.

import { sentence } from "./dialogs.js";
import { byId, make, options } from "./dom.js";
import { givenBy, ranks, ROLE_NAMES } from "./moderation.js";

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
  words: ["The server's list of words", { on: "Counts here", off: "Does not count here" }],
  listed: ["In the list of rooms", { yes: "Yes", no: "No" }],
  limit: ["Most people in the room"],
  key: ["Key that people need to enter"],
};
const NUMBERS = new Set(["slow", "limit"]);
const OFF = "off"; // of a setting that is typed: an empty field
const INVITE = "invite";
const RAID = "raid"; // among the settings, but another command begins and ends it
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
    byId("room-roles").hidden = true;
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
      const { place } = this;
      const [rules, holders] = await Promise.all([this.moderation.rules(place), this.#holders(place)]);
      if (place === this.place) {
        this.#draw(rules);
        this.#drawHolders(rules.role, holders);
      }
    } catch (error) {
      note = sentence(error);
    }
    byId("room-note").textContent = note;
  }

  // An older server does not say who has a role.
  async #holders(place) {
    return this.moderation.has("roles") ? this.moderation.roles(place) : { people: [], more: 0 };
  }

  #draw({ role, settings: all }) {
    const settings = all.filter(({ name }) => name !== RAID);
    const raid = all.find(({ name }) => name === RAID);
    const { place, chat } = this;
    const moderates = ranks(role, "operator");
    const own = OWN[role] ?? `Your role here: ${role}.`;
    byId("room-role").textContent = raid === undefined ? own : `${own} Messages of newcomers wait ${raid.value}, because of a raid.`;
    byId("room-settings").replaceChildren(...settings.flatMap((setting) => this.#setting(setting, moderates)));
    byId("room-claim").hidden = !(role === "none" && chat.isLoggedIn && place.members.size === 1);
    byId("room-people").hidden = !moderates;
    byId("room-gift").replaceChildren(...options([[INVITE, "Invitation for a day"]]), ...giftsOf(role));
  }

  #setting({ name, value }, moderates) {
    const [label, values] = SETTINGS[name] ?? [name];
    const id = `room-set-${name}`;
    const field =
      values === undefined
        ? make("input", { id, inputMode: NUMBERS.has(name) ? "numeric" : "text", autocomplete: "off" })
        : make("select", { id }, ...options(Object.entries({ ...values, [value]: values[value] ?? value })));
    Object.assign(field, { value: values === undefined && value === OFF ? "" : value, disabled: !moderates });
    field.onchange = async () => {
      await this.#try(() => this.moderation.set(this.place, name, field.value.trim() || OFF));
      byId(id)?.focus(); // all fields are new
    };
    return [make("label", { htmlFor: id }, label), field];
  }

  #drawHolders(role, { people, more }) {
    byId("room-roles").hidden = people.length === 0;
    const rest = more > 0 ? [make("li", {}, `And ${more} more`)] : [];
    byId("room-holders").replaceChildren(...people.map((one) => this.#holder(one, role)), ...rest);
  }

  // Somebody with a role. Who ranks higher may change it.
  #holder({ person, nick, role }, own) {
    const name = make("bdi", { className: "name" }, nick || "Someone who is away");
    const mayChange = nick !== "" && ranks(own, "operator") && !ranks(role, own) && !this.chat.isMine(person);
    if (!mayChange) {
      return make("li", {}, name, make("span", {}, ROLE_NAMES[role]));
    }
    const field = make("select", { ariaLabel: `Role of ${nick}` }, ...giftsOf(own));
    field.value = role;
    field.onchange = async () => {
      await this.#try(() => this.moderation.give(this.place, nick, field.value));
      this.#focusHolder(nick);
    };
    return make("li", {}, name, field);
  }

  // All fields are new, and this one may be gone.
  #focusHolder(nick) {
    const fields = [...byId("room-holders").querySelectorAll("select")];
    (fields.find(({ ariaLabel }) => ariaLabel === `Role of ${nick}`) ?? byId("room-nick")).focus();
  }

  #give() {
    const nick = byId("room-nick").value.trim();
    const gift = byId("room-gift").value;
    return gift === INVITE ? this.moderation.invite(this.place, nick) : this.moderation.give(this.place, nick, gift);
  }
}

// The options of the roles that somebody may give, the highest first.
const giftsOf = (role) => options(givenBy(role).map((one) => [one, ROLE_NAMES[one]])).toReversed();

// What everyone in the room reads about an action.
const sentenceOf = (ruled) => (ruled === undefined ? "" : `${ruled.nick} ${ruled.text} [A${ruled.position}]`);
