// Private talks, one for each person's id. The server does not store them, so this tab does.
//
// A nick may pass to another person. A talk stays with the person that it began with.

import { Place } from "./room.js";

const MOST = 50;
const LINES = 200; // of each, kept over a reload
const NOBODY = "anonymous"; // the nick of all who have chosen none

export class Talks {
  constructor(chat) {
    this.chat = chat;
    this.all = new Map(); // by the person's id
  }

  // The talk with this client. It is created if needed.
  with(client, nick) {
    const known = this.all.get(client);
    if (known !== undefined) {
      return known;
    }
    const talk = new Place("talk", client, nick);
    talk.isWhole = true;
    this.#call(talk, nick);
    this.all.set(client, talk);
    if ([...this.all.values()].some((other) => other.isPast && isSame(other.nick, nick))) {
      talk.add({ kind: "note", lines: [`This may be another ${nick} than the one you wrote with before.`] });
    }
    if (this.all.size > MOST) {
      this.all.delete(this.all.keys().next().value);
    }
    return talk;
  }

  close(talk) {
    this.all.delete(talk.key);
  }

  // The person with a nick, as `{ client, nick }`, from our rooms and talks. Undefined if the page
  // knows none.
  called(name) {
    const members = [...this.chat.rooms.values()].flatMap((room) => [...room.members]);
    const talks = [...this.all.values()].filter(({ isPast }) => !isPast);
    const people = [...members, ...talks.map(({ key, nick }) => [key, nick])];
    const [client, nick] = people.find(([, known]) => isSame(known, name)) ?? [];
    return client && { client, nick };
  }

  // Add a private message. Returns its talk, and the item if someone else wrote it.
  hear(event) {
    const isOurs = this.chat.isMine(event.author);
    const item = { kind: "told", ...event, time: event.waited ? event.time : Date.now() / 1000 };
    const talk = isOurs ? this.with(event.to, this.#nickOf(event)) : this.with(event.author, event.nick);
    if (!isOurs) {
      this.#call(talk, event.nick);
    }
    talk.add(item);
    if (isOurs && event.waited) {
      talk.add({ kind: "note", lines: [`${talk.nick} is away. This message waits.`] });
    }
    return [talk, isOurs ? null : item];
  }

  // These people, as `[client, nick]`, have these nicks now.
  see(people) {
    const present = [...this.all.values()].filter(({ isPast }) => !isPast);
    const byNick = new Map(present.map((talk) => [talk.nick.toLowerCase(), talk]));
    for (const [client, nick] of this.all.size > 0 ? people : []) {
      const talk = this.all.get(client);
      const namesake = byNick.get(nick.toLowerCase());
      if (talk !== undefined && talk.nick !== nick) {
        this.#call(talk, nick);
      } else if (namesake !== undefined && namesake !== talk) {
        this.#passOn(namesake, nick);
      }
    }
  }

  // A person has another id now. After a logout the talk remains that of the account, whose other
  // devices may be there.
  follow(was, now, nick) {
    const talk = this.all.get(was);
    if (talk === undefined || nick === NOBODY) {
      return;
    }
    if (this.all.has(now)) {
      Object.assign(talk, { isPast: true, name: `${talk.nick} (now ${nick})` });
      return;
    }
    talk.key = now;
    talk.pending.forEach((command) => command.type === "tell" && (command.client = now));
    this.all = new Map([...this.all.values()].map((one) => [one.key, one]));
  }

  // The person has left.
  part(talk) {
    Object.assign(talk, { isPast: true, name: `${talk.nick} (left)` });
  }

  // This person is called so now, and nobody else.
  #call(talk, nick) {
    for (const other of this.all.values()) {
      if (other !== talk) {
        this.#passOn(other, nick);
      }
    }
    if (talk.nick !== undefined && talk.nick !== nick) {
      talk.hear({ type: "renamed", author: talk.key, old: talk.nick, nick });
    }
    Object.assign(talk, { nick, name: nick, isPast: false });
  }

  // Someone else is called so now.
  #passOn(talk, nick) {
    if (!talk.isPast && isSame(talk.nick, nick)) {
      Object.assign(talk, { isPast: true, name: `${talk.nick} (earlier)` });
    }
  }

  // The recipient's nick: from a room, or as it was typed.
  #nickOf({ to, id }) {
    const members = [...this.chat.rooms.values()].map((room) => room.members.get(to));
    const [, typed] = this.chat.outgoing.lineOf({ id })?.line.match(/^\/\S+\s+(\S+)/u) ?? [];
    return members.find(Boolean) ?? typed ?? "someone";
  }

  // The talks as plain data, and back.
  kept() {
    return [...this.all.values()].map((talk) => ({
      client: talk.key,
      nick: talk.nick,
      name: talk.name,
      isPast: talk.isPast,
      unread: talk.unread,
      items: talk.items.filter(({ kind }) => kind === "told").slice(-LINES),
      said: this.chat.outgoing.kept(talk),
    }));
  }

  restore(kept) {
    for (const { client, items, said = [], ...about } of kept) {
      // Earlier versions of the page stored talks by nick.
      if (client !== undefined) {
        const talk = this.with(client, about.nick);
        Object.assign(talk, about);
        items.forEach((item) => talk.add(item));
        this.chat.outgoing.restore(talk, said);
      }
    }
  }
}

// Whether two nicks are the same. Many people are called anonymous, so that is nobody's nick.
const isSame = (one, other) => one !== NOBODY && one.toLowerCase() === other.toLowerCase();
