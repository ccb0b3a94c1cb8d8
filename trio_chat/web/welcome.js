// Lets a person in, with the last nick and rooms or those that they choose, and back after a break.

import { roomInAddress } from "./address.js";
import { Entrance, sentence } from "./dialogs.js";
import { Broken, Refused } from "./session.js";

const FIRST_ROOM = "#general";

export class Welcome {
  // `logIns` are tried for a new client, in order: each returns a sentence if it fails. `last` has the nick
  // and the rooms of before. `done()` is called once a person is in. `say(text)` shows a sentence below
  // the field, `askToLogIn(nick, why)` and `askForNick(why)` ask.
  constructor(session, chat, going, { last, logIns, done, say, askToLogIn, askForNick }) {
    Object.assign(this, { session, chat, going, last, logIns, done, say, askToLogIn, askForNick });
    this.addressed = roomInAddress(); // the room to open first, until that is done
    this.greeting = ""; // the operator's that was shown last
    this.entrance = new Entrance((nick, room) => this.#enter(nick, room));
  }

  get isOpen() {
    return this.entrance.isOpen;
  }

  // The server has resumed this client.
  resumed(resumed) {
    return this.#came(() => this.#comeBack(resumed));
  }

  // This is a new client.
  greeted(hello) {
    return this.#came(() => this.#comeIn(hello));
  }

  // Somebody has logged in at the entrance.
  loggedIn() {
    return this.#came(() => this.#settleIn());
  }

  async #enter(nick, room) {
    await this.chat.arrival.comeIn(nick, this.going.meant(room));
    this.addressed = "";
    this.entrance.close();
    this.#greet();
    this.done();
  }

  async #came(begin) {
    try {
      await begin();
      this.say("");
      if (this.chat.arrival.isEntered) {
        this.entrance.close();
        this.#greet();
      }
      this.entrance.offer(await this.going.lookUpRooms());
    } catch (error) {
      if (!(error instanceof Broken)) {
        throw error;
      }
      // The page tries again later.
    }
  }

  // Show the operator's greeting, if it is not on the page already.
  #greet() {
    const now = this.session.hello.greeting ?? "";
    if (now !== this.greeting && now !== "") {
      this.chat.note(now);
    }
    this.greeting = now;
  }

  // Go to the room that the page was opened for.
  async #openAddressed() {
    if (this.addressed !== "") {
      await this.going.join(this.addressed);
      this.addressed = "";
    }
  }

  async #comeBack(resumed) {
    const { arrival } = this.chat;
    await arrival.resumed(resumed);
    if (!arrival.isEntered) {
      this.entrance.open({ nick: this.last.nick, room: this.addressed || FIRST_ROOM });
    } else {
      await this.#openAddressed();
    }
  }

  // This is a new client. Take the last nick and rooms, or ask for them.
  async #comeIn(hello) {
    this.chat.arrival.renew(hello);
    let problem = "";
    for (const logIn of this.logIns) {
      problem ||= await logIn();
    }
    await this.#settleIn(problem && sentence({ message: problem }));
  }

  // Take the last nick and rooms, or ask for them. `problem` says why this browser could not log in.
  async #settleIn(problem = "") {
    const { chat, last } = this;
    const { arrival } = chat;
    const nick = chat.ownNick || (arrival.isEntered ? "" : last.nick);
    const rooms = arrival.isEntered ? [] : last.rooms;
    if (!arrival.isEntered && (nick === "" || rooms.length === 0)) {
      this.entrance.open({ nick, room: this.addressed || FIRST_ROOM, error: problem });
      return;
    }
    try {
      await arrival.enter(nick, rooms);
      if (problem !== "") {
        chat.note(problem, "refusal");
      }
      await this.#openAddressed();
    } catch (error) {
      if (!(error instanceof Refused)) {
        throw error;
      }
      const why = problem || sentence(error);
      if (!arrival.isEntered) {
        this.entrance.open({ nick, room: this.addressed || rooms[0], error: why });
      } else {
        // Someone has taken the nick meanwhile, or it belongs to an account. Join the rooms anyway.
        await arrival.enterUnnamed(why);
        if (error.code === "nick_registered") {
          this.askToLogIn(nick, why);
        } else {
          this.askForNick(why);
        }
      }
    }
  }
}
