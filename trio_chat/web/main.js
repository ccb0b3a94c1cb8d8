// The page: its parts put together, and drawn once a frame.

import { Attention } from "./attention.js";
import { Banner } from "./banner.js";
import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { ask, Entrance, help, sentence } from "./dialogs.js";
import { byId } from "./dom.js";
import { closeDrawers, setUpDrawers } from "./drawers.js";
import { setUpKeys } from "./keys.js";
import { drawHeading, drawMembers, drawPlaces } from "./lists.js";
import { Log } from "./log.js";
import { Keeper, keepLast, recallLast, recallTab } from "./memory.js";
import { Broken, Refused, Session } from "./session.js";

const FIRST_ROOM = "#general";

const tab = recallTab();
const last = recallLast();

// --- the parts ------------------------------------------------------------------------------------

const url = new URL("ws", location.href);
url.protocol = url.protocol.replace("http", "ws");

const session = new Session(
  url,
  {
    onEvent: (event) => chat.hear(event),
    onState: changed,
    onResumed: (resumed) => came(() => chat.resumed(resumed)),
    onFresh: (hello) => came(() => comeIn(hello)),
    positions: () => chat.positions(),
  },
  tab.client ? { client: tab.client, token: tab.token } : null,
);

const chat = new Chat(
  session,
  {
    changed,
    heard: (place, entry, isForUs) => attention.heard(place, entry, isForUs),
    answered: (text) => {
      attention.answered(text);
      if (chat.current === null) {
        composer.say(text);
      }
    },
    isLookedAt: (place) => place === chat.current && !document.hidden && !entrance.isOpen && log.isPinned,
  },
  tab,
);

const log = new Log(chat, { room: joinRoom, person: (nick) => go(chat.talks.with(nick)) });
const attention = new Attention(chat, go, last.bell);
const keeper = new Keeper(session, chat, () => composer.unfinished());
const banner = new Banner(() => {
  session.retry();
  session.reopen();
  composer.focus();
});

const composer = new Composer(
  {
    send,
    words: () => ({
      commands: session.hello?.commands ?? [],
      nicks: chat.places
        .flatMap(({ members }) => [...members.values()])
        .filter((nick) => nick !== chat.nick && nick !== "anonymous"),
      rooms: [...knownRooms, ...[...chat.rooms.values()].map(({ name }) => name)],
    }),
    limit: () => session.hello?.limits.message_chars ?? Infinity,
    scroll: (by) => log.page(by),
  },
  tab.unfinished,
);

const entrance = new Entrance(async (nick, room) => {
  await chat.enter(nick, [room]);
  entrance.close();
  composer.focus();
});

// --- coming in ------------------------------------------------------------------------------------

let knownRooms = [];

async function came(begin) {
  try {
    await begin();
    composer.say("");
    if (chat.isEntered) {
      entrance.close();
    }
    knownRooms = (await session.request("list_rooms")).names;
    entrance.offer(knownRooms);
  } catch (error) {
    if (!(error instanceof Broken)) {
      throw error;
    }
    // It will be tried again.
  }
}

// We are nobody that we were: take the name and rooms last used, or ask for them.
async function comeIn(hello) {
  chat.renew(hello);
  const nick = chat.ownNick || last.nick;
  const rooms = chat.isEntered ? [] : last.rooms;
  if (!chat.isEntered && (nick === "" || rooms.length === 0)) {
    entrance.open({ nick, room: FIRST_ROOM });
    return;
  }
  try {
    await chat.enter(nick, rooms);
  } catch (error) {
    if (!(error instanceof Refused)) {
      throw error;
    }
    if (!chat.isEntered) {
      entrance.open({ nick, room: rooms[0], error: sentence(error) });
    } else {
      // The name has been taken meanwhile: be in our rooms all the same, and ask for another.
      chat.isNamed = true;
      await chat.enter(chat.nick, []);
      askForNick(sentence(error));
    }
  }
}

// --- what one does --------------------------------------------------------------------------------

function go(place) {
  chat.go(place);
  closeDrawers();
  composer.at(place);
  composer.focus();
}

// Gives a sentence if the text could not be sent.
function send(text) {
  const place = chat.current;
  if (!session.online) {
    return "Not connected. Your text stays here until you are.";
  }
  const [, nick, words] = text.match(/^\/tell\s+(\S+)\s+(.+)$/iu) ?? [];
  if (place === null && !text.startsWith("/")) {
    return "You are in no room. Type /join ROOM to go into one.";
  }
  if (place === null && text.toLowerCase() === "/help") {
    byId("help-button").click();
    return "";
  }
  const [, name] = text.match(/^\/join\s+(\S+)$/iu) ?? [];
  const known = chat.rooms.get(name?.toLowerCase());
  log.toBottom();
  if (known?.synced) {
    go(known);
  } else if (nick !== undefined) {
    chat.tell(nick, words);
  } else if (text.startsWith("/")) {
    chat.outgoing.type(place, text);
  } else {
    chat.outgoing.say(place, text);
  }
  return "";
}

async function joinRoom(name) {
  try {
    await chat.join(name);
    go(chat.current);
  } catch (error) {
    chat.note(sentence(error), "refusal");
  }
}

async function askForRoom() {
  closeDrawers();
  try {
    knownRooms = (await session.request("list_rooms")).names;
  } catch {
    // One can still type a name.
  }
  const here = new Set([...chat.rooms.values()].map(({ name }) => name));
  const about = {
    title: "Join a room",
    label: "Room",
    value: "#",
    ok: "Join",
    maxLength: session.hello.limits.room_chars,
    choices: knownRooms.filter((name) => !here.has(name)),
  };
  ask(about, async (name) => {
    await chat.join(name);
    go(chat.current);
  });
}

function askForNick(why = "") {
  closeDrawers();
  const about = {
    title: why || "Change your name",
    label: "What others call you",
    value: chat.nick === "anonymous" ? "" : chat.nick,
    ok: "Take this name",
    maxLength: session.hello.limits.nick_chars,
  };
  ask(about, (nick) => chat.takeNick(nick));
}

function askForTopic() {
  const place = chat.current;
  const about = {
    title: `What ${place.name} is about`,
    label: "Topic",
    value: place.topic,
    ok: "Say it",
    maxLength: session.hello.limits.topic_chars,
  };
  ask(about, (text) => session.request("set_topic", { room: place.key, text }));
}

async function leave() {
  try {
    await chat.leave(chat.current);
  } catch (error) {
    chat.note(sentence(error), "refusal");
  }
  composer.focus();
}

async function toggleBell() {
  const problem = await attention.toggleBell();
  keepLast({ bell: attention.wantsBell });
  const done = attention.hasBell
    ? "You will be told of private messages, and of those with your name."
    : "No more notifications.";
  composer.say(problem || done, problem !== "");
  changed();
}

// --- drawing --------------------------------------------------------------------------------------

let isDue = false;

function changed() {
  if (isDue) {
    return;
  }
  isDue = true;
  // No frames are drawn for a tab that is not shown; its title still counts.
  const later = document.hidden ? (run) => setTimeout(run, 200) : requestAnimationFrame;
  later(draw);
}

function draw() {
  isDue = false;
  const place = chat.current;
  if (place && chat.handlers.isLookedAt(place)) {
    place.looked();
  }
  attention.title(place);
  banner.draw(session.state);
  keeper.soon();
  if (document.hidden) {
    place?.shorten();
    return;
  }
  composer.at(place);
  drawPlaces(chat, go);
  drawMembers(chat, (nick) => go(chat.talks.with(nick)));
  drawHeading(chat);
  attention.draw();
  log.draw(place);
}

// --- buttons, and the start -----------------------------------------------------------------------

byId("join-room").onclick = askForRoom;
byId("my-nick").onclick = () => (session.online ? askForNick() : session.retry());
byId("topic").onclick = askForTopic;
byId("leave").onclick = leave;
byId("help-button").onclick = () => help(session.hello?.commands ?? []);
byId("bell-button").onclick = toggleBell;

setUpDrawers();
setUpKeys({
  isOff: () => entrance.isOpen,
  step: (by, onlyUnread) => chat.step(by, onlyUnread),
  help: () => byId("help-button").click(),
  escape: () => closeDrawers() || log.toBottom(),
  type: () => composer.focus(),
});

document.addEventListener("visibilitychange", changed);
// That a connection is lost is said after a while in which nothing else may happen.
setInterval(() => session.online || changed(), 500);

byId("starting").remove();
byId("app").hidden = false;
session.open();
