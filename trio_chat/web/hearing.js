// Hears what happens: what each event of the server changes in the chat.

import { answerItem, describeReport } from "./answers.js";
import { SERVER } from "./moderation.js";
import { ignoreBroken } from "./session.js";
import { LOCKED, meaningOf } from "./typed.js";

export class Hearing {
  constructor(chat) {
    this.chat = chat;
  }

  hear(event) {
    const place = this.chat.rooms.get(event.room);
    const line = this.chat.outgoing.lineOf(event);
    const asked = line && (line.place ?? this.chat.current);
    // A late answer moves nobody who has gone elsewhere since.
    const follows = line !== undefined && line.moves === this.chat.moves;
    const handle = HANDLERS.get(event.type);
    if (handle !== undefined) {
      handle(this, event, place, asked, follows);
    }
    // Outside all rooms, lines are typed in no place (null). They are answered too.
    const answer = asked === undefined ? null : answerItem(event);
    if (answer && event.code === LOCKED) {
      this.chat.handlers.locked(meaningOf(line.line, null, false).name);
    } else if (answer) {
      this.chat.show(answer, asked);
    }
    this.chat.handlers.changed();
  }

  kept(event, place) {
    if (place === undefined) {
      return;
    }
    if (event.type === "topic_set") {
      place.topic = event.text;
    }
    if (event.type === "ruled" || event.type === "removed") {
      place.moderated += 1;
    }
    if (place.hear(event)) {
      this.newEntry(place, event);
    } else if (event.id !== undefined) {
      this.chat.outgoing.acknowledge(place, event);
    }
  }

  ruled(event, place, asked) {
    if (event.room === SERVER) { // its operators read it wherever they are
      this.chat.note(`${event.nick} ${event.text} [A${event.position}]`, "note", asked ?? this.chat.current);
    } else {
      this.kept(event, place);
    }
  }

  passing(event, place) {
    if (place === undefined) {
      return;
    }
    const { type, author, nick, now, was } = event;
    place.setMember(author, type === "left" ? null : nick);
    if (was !== undefined) {
      this.chat.talks.follow(was, author, nick);
      place.hear({ type: "renamed", author, was, old: event.was_called, nick });
    } else if (now === undefined && !this.#isOtherDevice(event)) {
      place.hear(event);
    }
    if (type !== "left") {
      this.chat.talks.see([[author, nick]]);
    }
    if (type === "renamed" && author === this.chat.person) {
      this.chat.nick = nick; // an owner may have taken the old one
    }
  }

  // This client logged in or out, and another device of its account is in the room. The others see one
  // member less, or one more.
  #isOtherDevice({ type, author }) {
    return type !== "renamed" && author === this.chat.client;
  }

  // The page `follows` a message that was typed elsewhere into its talk.
  told(event, follows) {
    const [talk, item] = this.chat.talks.hear(event);
    if (item !== null) {
      this.chat.news.count(talk, item);
    } else if (follows) {
      this.chat.lookAt(talk);
    }
  }

  invited({ to, room: key, room_name: name, nick }, asked) {
    if (to === this.chat.person) {
      this.chat.invited = { key, name, nick };
    } else if (asked !== undefined) { // else a dialog has asked
      this.chat.note(`Your invitation to ${name} is on its way.`, "note", asked);
    }
  }

  welcomed(event, asked, follows) {
    if (this.chat.invited?.key === event.room) {
      this.chat.invited = null;
    }
    const place = this.chat.room(event.room, event.room_name);
    place.unsettle();
    place.topic = event.topic;
    place.stand();
    place.setMembers(event.members, event.more);
    this.chat.talks.see(place.members);
    if (follows) {
      this.chat.lookAt(place);
    }
    if (asked !== undefined) {
      this.chat.history.fill(place).catch(ignoreBroken);
    }
  }

  departed({ reason = "" }, place) {
    if (place !== undefined) {
      this.chat.forget(place);
    }
    if (place !== undefined && reason !== "") {
      this.chat.ousted = { name: place.name, reason };
    }
  }

  // A message waits for a moderator, or no longer does. An operator reads of the first, the second, the
  // fourth and so on.
  held({ author, nick, by, text, number, state, waiting }, place) {
    if (place !== undefined) {
      place.moderated += 1;
    }
    if (this.chat.isMine(author)) {
      const what = state === "waits" ? "Your message waits for a moderator" : `${by} ${state} your message`;
      this.chat.note(`${what}: ${text}`, "note", place);
    } else if (state === "waits" && Math.log2(waiting) % 1 === 0) {
      this.chat.note(`A message of ${nick} waits for a moderator (H${number}): ${text}`, "note", place);
    }
  }

  membersListed({ members, more }, place) {
    if (place === undefined) {
      return;
    }
    place.setMembers(members, more);
    this.chat.talks.see(place.members);
    if (place.isBack) {
      // The members are the last event about a room after a resume.
      place.isBack = false;
      this.chat.outgoing.resend(place);
      if (place.low > Math.min(place.high, place.read + 1)) {
        this.chat.history.loadEarlier(place).then(() => this.chat.news.recount(place));
      }
    }
  }

  newEntry(place, entry) {
    if (this.chat.isMine(entry.author)) {
      this.chat.outgoing.acknowledge(place, entry);
    }
    this.chat.news.count(place, entry);
    if (entry.type === "removed" && entry.undoes === 0) {
      this.chat.handlers.removed(place, entry);
    } else if (entry.type === "removed") {
      this.chat.history.restore(place, entry.positions).catch(ignoreBroken);
    }
  }
}

const HANDLERS = new Map(Object.entries({
  said: (hearing, event, place) => hearing.kept(event, place),
  acted: (hearing, event, place) => hearing.kept(event, place),
  topic_set: (hearing, event, place) => hearing.kept(event, place),
  ruled: (hearing, event, place, asked) => hearing.ruled(event, place, asked),
  removed: (hearing, event, place) => hearing.kept(event, place),
  joined: (hearing, event, place) => hearing.passing(event, place),
  left: (hearing, event, place) => hearing.passing(event, place),
  renamed: (hearing, event, place) => hearing.passing(event, place),
  told: (hearing, event, _, __, follows) => hearing.told(event, follows),
  invited: (hearing, event, _, asked) => hearing.invited(event, asked),
  nick_taken: ({ chat }, event) => chat.named(event.nick),
  expiring: ({ chat }) => chat.handlers.expiring(),
  logged_in: ({ chat }, event) => chat.loggedIn(event),
  logged_out: ({ chat }, event) => chat.loggedOut(event),
  welcomed: (hearing, event, _, asked, follows) => hearing.welcomed(event, asked, follows),
  departed: (hearing, event, place) => hearing.departed(event, place),
  standing: (_, event, place) => place?.stand(event),
  members_listed: (hearing, event, place) => hearing.membersListed(event, place),
  missed: (_, event, place) => place?.miss(event.count),
  commands_listed: ({ chat }, { commands }) => {
    chat.session.hello.commands = commands;
  },
  reported: ({ chat }, event, place) => {
    if (place !== undefined) {
      place.moderated += 1;
    }
    chat.note(describeReport(event), "note", place);
  },
  pin_shown: ({ chat }, { room_name: name, entries: [entry] }, place) => {
    chat.note(entry === undefined ? `Nothing is pinned in ${name}.` : `Pinned: ${entry.nick}: ${entry.text}`, "note", place);
  },
  held: (hearing, event, place) => hearing.held(event, place),
  notice: ({ chat }, event, _, asked) => {
    // With another id it answers a dialog.
    if (event.id === undefined || asked !== undefined) {
      chat.note(event.text, "note", asked ?? chat.current);
    }
  },
}));
