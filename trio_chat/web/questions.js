// The questions for a nick, a topic and an announcement, and whether to leave.

import { ask, confirm, sentence } from "./dialogs.js";
import { closeDrawers } from "./drawers.js";

export class Questions {
  // `done()` is called once a place was left.
  constructor(session, chat, moderation, done) {
    Object.assign(this, { session, chat, moderation, done });
  }

  askForNick(why = "") {
    closeDrawers();
    const about = {
      title: why || "Change your nickname",
      label: "Nickname",
      value: this.chat.nick === "anonymous" ? "" : this.chat.nick,
      ok: "Save",
      maxLength: this.session.hello.limits.nick_chars,
    };
    ask(about, (nick) => this.chat.takeNick(nick));
  }

  askForTopic() {
    const place = this.chat.current;
    const about = {
      title: `Topic of ${place.name}`,
      label: "Topic",
      value: place.topic,
      ok: "Save",
      maxLength: this.session.hello.limits.topic_chars,
    };
    ask(about, (text) => this.session.request("set_topic", { room: place.key, text }));
  }

  askToAnnounce() {
    const { limits } = this.session.hello;
    const about = { title: "Announce to everyone on the server", label: "Text", ok: "Announce", maxLength: limits.message_chars };
    ask(about, async (text) => {
      const told = await this.moderation.announce(text);
      this.chat.note(sentence({ message: told }));
    });
  }

  askToLeave() {
    const place = this.chat.current;
    const { name } = place;
    const about =
      place.kind === "room"
        ? { title: `Leave ${name}?`, text: "You can join it again at any time.", ok: "Leave" }
        : { title: `Close the conversation with ${name}?`, text: "Its messages are in this tab alone, and will be gone.", ok: "Close" };
    confirm(about, async () => {
      try {
        await this.chat.leave(place);
      } catch (error) {
        this.chat.note(sentence(error), "refusal");
      }
      this.done();
    });
  }
}
