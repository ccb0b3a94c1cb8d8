// The dialog of a room: its settings, and the roles of people.

import { sentence, show, watch } from "./dialogs.js";
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
    this.tries = 0; // how often something was tried
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
    byId("room-note").textContent = "";
    byId("room-gift").value = INVITE;
    show(this.dialog);
    byId("room-title").focus();
    await this.#try(() => {});
  }

  // Do something, and show what holds then, or why it failed.
  async #try(act) {
    const { place } = this;
    const isShown = watch(this.dialog);
    this.tries += 1;
    const { tries } = this;
    let note = "";
    let known = null;
    try {
      note = sentenceOf(await act());
    } catch (error) {
      note = sentence(error);
    }
    try {
      known = await Promise.all([this.moderation.rules(place), this.#holders(place)]);
    } catch (error) {
      note = sentence(error);
    }
    if (!isShown()) {
      return;
    }
    if (known !== null && tries === this.tries) {
      const [rules, holders] = known;
      this.#draw(rules);
      this.#drawHolders(rules.role, holders);
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
    settings.forEach((setting) => this.#drawSetting(setting, moderates));
    byId("room-claim").hidden = !(role === "none" && chat.isLoggedIn && place.members.size === 1);
    byId("room-people").hidden = !moderates;
    const gift = byId("room-gift");
    const chosen = gift.value;
    gift.replaceChildren(...options([[INVITE, "Invitation for a day"]]), ...giftsOf(role));
    choose(gift, chosen);
  }

  // A field stays while the dialog is open, and keeps what somebody types into it meanwhile.
  #drawSetting({ name, value }, moderates) {
    const id = `room-set-${name}`;
    const field = byId(id) ?? this.#addSetting(id, name);
    const [, values] = SETTINGS[name] ?? [];
    field.disabled = !moderates;
    const shown = values === undefined && value === OFF ? "" : value;
    if (field.value === field.shown && shown !== field.shown) {
      if (values !== undefined) {
        field.replaceChildren(...options(Object.entries({ ...values, [value]: values[value] ?? value })));
      }
      Object.assign(field, { value: shown, shown });
    }
  }

  #addSetting(id, name) {
    const [label, values] = SETTINGS[name] ?? [name];
    const field =
      values === undefined
        ? make("input", { id, inputMode: NUMBERS.has(name) ? "numeric" : "text", autocomplete: "off" })
        : make("select", { id });
    field.shown = "";
    field.onchange = () => {
      field.shown = field.value; // a refusal brings back what holds
      this.#try(() => this.moderation.set(this.place, name, field.value.trim() || OFF));
    };
    byId("room-settings").append(make("label", { htmlFor: id }, label), field);
    return field;
  }

  // The fields for roles are new. The one that had the focus has it again, unless its person is gone.
  #drawHolders(role, { people, more }) {
    const list = byId("room-holders");
    const focused = list.contains(document.activeElement) ? document.activeElement.ariaLabel : null;
    byId("room-roles").hidden = people.length === 0;
    const rest = more > 0 ? [make("li", {}, `And ${more} more`)] : [];
    list.replaceChildren(...people.map((one) => this.#holder(one, role)), ...rest);
    if (focused !== null) {
      const fields = [...list.querySelectorAll("select")];
      (fields.find(({ ariaLabel }) => ariaLabel === focused) ?? byId("room-nick")).focus();
    }
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
    field.onchange = () => this.#try(() => this.moderation.give(this.place, nick, field.value));
    return make("li", {}, name, field);
  }

  #give() {
    const nick = byId("room-nick").value.trim();
    const gift = byId("room-gift").value;
    return gift === INVITE ? this.moderation.invite(this.place, nick) : this.moderation.give(this.place, nick, gift);
  }
}

// Choose a value if it is offered, or the first one.
function choose(field, value) {
  const offered = [...field.options].some((option) => option.value === value);
  field.value = offered ? value : field.options[0].value;
}

// The options of the roles that somebody may give, the highest first.
const giftsOf = (role) => options(givenBy(role).map((one) => [one, ROLE_NAMES[one]])).toReversed();

// What everyone in the room reads about an action.
const sentenceOf = (ruled) => (ruled === undefined ? "" : `${ruled.nick} ${ruled.text} [A${ruled.position}]`);
