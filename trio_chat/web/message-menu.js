// The menu of a message and its author, or of a member: what this person may do about them.

import { ask, confirm, sentence } from "./dialogs.js";
import { toggleMenu } from "./menu.js";

export class MessageMenu {
  // `talkTo(client, nick)` opens a private talk.
  constructor({ chat, moderation, penalty, talkTo }) {
    Object.assign(this, { chat, moderation, penalty, talkTo });
  }

  // Whether there is something to do about a message of this author.
  isOffered(author) {
    return !this.chat.isMine(author) || this.moderation.has("remove");
  }

  // A member has no `position`.
  open(button, place, { author, nick, position }) {
    const about = { person: author, nick, position, target: position === undefined ? nick : `@${position}` };
    const isMine = this.chat.isMine(author);
    const moderates = this.moderation.moderates(place);
    const choices = [
      ...(isMine ? [] : this.#onPerson(place, about)),
      ...(isMine && !moderates ? [{ name: "remove", label: "Remove…", isGrave: true, act: () => this.#askToRemove(place, position) }] : []),
      ...(moderates && position !== undefined ? this.#onText(place, about) : []),
      ...(moderates && !isMine ? ["mute", "kick", "ban"].map((verb) => this.#penalty(verb, place, about)) : []),
    ];
    toggleMenu(button, choices.filter(({ name }) => name === undefined || this.moderation.has(name)));
  }

  #onPerson(place, about) {
    return [
      { label: "Message privately", act: () => this.talkTo(about.person, about.nick) },
      { name: "ignore", label: "Ignore", act: () => this.#ignore(place, about) },
      { name: "report", label: "Report…", act: () => this.#report(place, about) },
    ];
  }

  #onText(place, about) {
    return [
      { name: "pin", label: "Pin", act: () => this.#try(() => this.moderation.pin(place, about.position)) },
      this.#penalty("remove", place, about),
    ];
  }

  #penalty(verb, place, about) {
    const isGrave = verb === "ban" || verb === "remove";
    return { name: verb, label: LABELS[verb], isGrave, act: () => this.penalty.open(verb, place, about) };
  }

  // The server does not tell everyone whose an older message is, so a member is named.
  #ignore(place, { person, nick, target }) {
    return this.#try(async () => {
      await this.moderation.ignore(place, place.members.get(person) ?? target);
      this.chat.note(`You ignore ${nick} from now on. /ignore ${nick} ends that.`);
    });
  }

  #report(place, { nick, target }) {
    const { limits } = this.chat.session.hello;
    ask({ title: `Report ${nick}`, label: "What is wrong", ok: "Report", maxLength: limits.topic_chars }, async (text) => {
      await this.moderation.report(place, target, text);
      this.chat.note(`The moderators of ${place.name} have your report about ${nick}.`);
    });
  }

  #askToRemove(place, position) {
    const about = { title: "Remove your message?", text: "Its text will be gone for everyone, for good.", ok: "Remove" };
    confirm(about, () => this.#try(() => this.moderation.remove(place, position)));
  }

  // Do something, and show in the place why it failed.
  async #try(act) {
    try {
      await act();
    } catch (error) {
      this.chat.note(sentence(error), "refusal");
    }
  }
}

const LABELS = { mute: "Mute…", kick: "Kick…", ban: "Ban…", remove: "Remove…" };
