// Private talks: one with each nick. The server keeps nothing of them, so this tab does.

import { Place } from "./room.js";

const MOST = 50;
const LINES = 200; // of each, kept over a reload

export class Talks {
  constructor(chat) {
    this.chat = chat;
    this.all = new Map(); // by nick in lower case
  }

  // The talk with this nick, new if there is none.
  with(nick) {
    const key = nick.toLowerCase();
    const talk = this.all.get(key) ?? new Place("talk", key, nick);
    talk.isWhole = true;
    this.all.set(key, talk);
    if (this.all.size > MOST) {
      this.all.delete(this.all.keys().next().value);
    }
    return talk;
  }

  close(talk) {
    this.all.delete(talk.key);
  }

  // A message came, or ours has arrived. Gives its talk, and the item if someone else said it.
  hear(event) {
    const time = Date.now() / 1000;
    const item = { kind: "told", ...event, time };
    if (event.author === this.chat.client) {
      const talk = this.with(this.#toWhom(event));
      talk.other ??= event.to;
      talk.add(item);
      return [talk, null];
    }
    const talk = this.with(event.nick);
    talk.name = event.nick;
    if (talk.other !== undefined && talk.other !== event.author) {
      talk.add({
        kind: "note",
        lines: [`${event.nick} has connected anew. It may be someone else by the same name.`],
      });
    }
    talk.other = event.author;
    talk.add(item);
    return [talk, item];
  }

  #toWhom({ id, to }) {
    const talks = [...this.all.values()];
    const asked = talks.find(({ pending }) => pending.has(id)) ?? talks.find(({ other }) => other === to);
    const members = [...this.chat.rooms.values()].map((room) => room.members.get(to));
    return asked?.name ?? members.find(Boolean) ?? "someone";
  }

  rename({ author, old, nick }) {
    const talk = this.all.get(old.toLowerCase());
    if (talk?.other === author && !this.all.has(nick.toLowerCase())) {
      this.close(talk);
      talk.key = nick.toLowerCase();
      talk.name = nick;
      this.all.set(talk.key, talk);
    }
  }

  // As plain data, and back.
  kept() {
    return [...this.all.values()].map((talk) => ({
      name: talk.name,
      unread: talk.unread,
      other: talk.other,
      items: talk.items.filter(({ kind }) => kind === "told").slice(-LINES),
      said: this.chat.outgoing.kept(talk),
    }));
  }

  restore(kept) {
    for (const { name, unread, other, items, said = [] } of kept) {
      const talk = this.with(name);
      Object.assign(talk, { unread, other });
      items.forEach((item) => talk.add(item));
      this.chat.outgoing.restore(talk, said);
    }
  }
}
