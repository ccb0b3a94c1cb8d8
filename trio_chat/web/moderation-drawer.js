// The drawer of a room's moderators: their actions, which can be undone, the messages that wait for one
// of them, and reports.

import { sentence } from "./dialogs.js";
import { byId, focusInstead, make } from "./dom.js";
import { nickNode } from "./people.js";
import { SidePanel } from "./side-panel.js";
import { dayName, timeNode } from "./times.js";

// By tab: the command that a server with it has, and what stands there if there is nothing.
const NEEDED = { actions: "log", held: "held", reports: "reports" };
const NOTHING = { actions: "Nobody has acted here yet.", held: "No message waits.", reports: "No report is open." };
const TABS = Object.keys(NEEDED);
const STEPS = { ArrowRight: 1, ArrowLeft: -1 };

export class ModerationDrawer extends SidePanel {
  // `choose.entry(room, position)` shows a message. `acts` are those of its buttons "raid" and "announce",
  // for a place.
  constructor(moderation, { choose, opens, leave, acts }) {
    super("moderation", { opens, leave });
    this.moderation = moderation;
    this.choose = choose;
    this.place = null;
    this.tab = "actions";
    this.turns = 0; // how often a tab was opened
    byId("moderation-older").onclick = () => this.#try((isShown) => this.#older(isShown));
    for (const [name, act] of Object.entries(acts)) {
      byId(`moderation-${name}`).onclick = () => act(this.place);
    }
    this.acts = Object.keys(acts);
    for (const tab of TABS) {
      tabNode(tab).onclick = () => this.#turnTo(tab);
    }
    byId("moderation-tabs").onkeydown = (event) => this.#key(event);
  }

  // What is shown belongs to one room, and is as new as that.
  at(place) {
    const moderates = this.moderation.moderates(place);
    byId("moderation-button").hidden = !moderates;
    if (place !== this.place || !moderates) {
      this.close();
      this.place = place;
    } else if (this.isOpen && place.moderated !== this.shown) {
      this.#renew();
    }
  }

  open(tab = "actions") {
    this.show();
    byId("moderation-title").textContent = `Moderation of ${this.place.name}`;
    for (const act of this.acts) {
      byId(`moderation-${act}`).hidden = !this.moderation.has(act);
    }
    for (const one of TABS) {
      tabNode(one).hidden = !this.moderation.has(NEEDED[one]);
    }
    this.#turnTo(tab);
    tabNode(tab).focus();
  }

  // --- tabs ---------------------------------------------------------------------------------------

  #turnTo(tab) {
    this.tab = tab;
    this.turns += 1;
    for (const one of TABS) {
      tabNode(one).setAttribute("aria-selected", `${one === tab}`);
      tabNode(one).tabIndex = one === tab ? 0 : -1;
    }
    byId("moderation-panel").setAttribute("aria-labelledby", tabNode(tab).id);
    byId("moderation-list").replaceChildren();
    byId("moderation-older").hidden = true;
    this.#say("");
    this.#renew();
  }

  #key(event) {
    const by = STEPS[event.key];
    if (by !== undefined) {
      event.preventDefault();
      const tabs = TABS.filter((tab) => !tabNode(tab).hidden);
      const tab = tabs[(tabs.indexOf(this.tab) + by + tabs.length) % tabs.length];
      this.#turnTo(tab);
      tabNode(tab).focus();
    }
  }

  // --- what is shown ------------------------------------------------------------------------------

  #say(text) {
    byId("moderation-note").textContent = text;
  }

  // Do something, and show why it failed. `act` gets a function that says whether the same tab is still
  // shown.
  async #try(act) {
    const { turns } = this;
    const isShown = () => this.isOpen && turns === this.turns;
    try {
      await act(isShown);
    } catch (error) {
      if (isShown()) {
        this.#say(sentence(error));
      }
    }
  }

  #renew() {
    const { place, tab } = this;
    this.shown = place.moderated;
    this.#try(async (isShown) => {
      const found = await this.moderation[tab](place);
      if (!isShown()) {
        return;
      }
      this.#say(found.length === 0 ? NOTHING[tab] : "");
      if (tab === "actions") {
        this.#showActions(found, []);
      } else {
        const nodes = found.map((one) => (tab === "held" ? this.#heldNode(one) : this.#reportNode(one)));
        byId("moderation-list").replaceChildren(...nodes);
      }
    });
  }

  // What a button was about is gone, and so is the button.
  #renewWithoutButton() {
    this.#focusTab();
    this.#renew();
  }

  #focusTab() {
    focusInstead(tabNode(this.tab), byId("moderation-list"));
  }

  async #older(isShown) {
    const { place, oldest } = this;
    const actions = await this.moderation.actions(place, oldest);
    if (isShown() && oldest !== this.oldest) {
      await this.#older(isShown); // the list was renewed, or has grown
    } else if (isShown()) {
      this.#showActions(actions, [...byId("moderation-list").children]);
    }
  }

  #showActions(actions, before) {
    this.oldest = actions[0]?.position;
    byId("moderation-older").hidden = actions.length === 0 || this.oldest === 1;
    byId("moderation-list").replaceChildren(...before, ...actions.toReversed().map((action) => this.#actionNode(action)));
  }

  #actionNode({ position, nick, text, time, undoable }) {
    const undo = async () => {
      await this.moderation.undo(this.place, position);
      this.#focusTab();
    };
    return this.#node({ nick, number: `A${position}`, time, text }, undoable ? [["Undo", undo]] : []);
  }

  #heldNode({ number, nick, time, text }) {
    const judge = (verb) => async () => {
      await this.moderation.judge(this.place, verb, number);
      this.#renewWithoutButton();
    };
    return this.#node({ nick, number: `H${number}`, time, text }, [["Pass", judge("pass")], ["Drop", judge("drop")]]);
  }

  #reportNode({ number, reporter_nick: nick, nick: about, entry, text, time }) {
    const finish = async () => {
      await this.moderation.finish(this.place, number);
      this.#renewWithoutButton();
    };
    const show = () => this.choose.entry(this.place, entry);
    const acts = [...(entry > 0 ? [["Show message", show]] : []), ["Done", finish]];
    return this.#node({ nick, number: `R${number}`, time, text: `About ${about}: ${text}` }, acts);
  }

  // `acts` has the names and the functions of the buttons.
  #node({ nick, number, time, text }, acts) {
    const when = make("span", { className: "when" }, `${number} · ${dayName(time)} `, timeNode(time));
    const buttons = acts.map(([name, act]) => {
      const onclick = () => this.#try(act);
      return make("button", { type: "button", className: "chip", ariaLabel: `${name} ${number}`, onclick }, name);
    });
    return make(
      "li",
      {},
      make("p", { className: "head" }, nickNode(this.place, nick), " ", when),
      make("p", { className: "words", dir: "auto" }, text),
      buttons.length === 0 ? null : make("p", { className: "chips" }, ...buttons),
    );
  }
}

const tabNode = (tab) => byId(`moderation-${tab}`);
