// Connects the parts of the page, and draws them once a frame.

import { Account } from "./account.js";
import { AccountDialog, drawAccount } from "./account-dialog.js";
import { roomInAddress, showInAddress } from "./address.js";
import { Attention } from "./attention.js";
import { Banner } from "./banner.js";
import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { ask, confirm, Entrance, help, sentence, setUpDialogs } from "./dialogs.js";
import { byId } from "./dom.js";
import { closeDrawers, isNarrow, setUpDrawers } from "./drawers.js";
import { Embedding } from "./embedding.js";
import { Finder } from "./finder.js";
import { setUpKeys } from "./keys.js";
import { drawHeading, drawMembers, drawPlaces } from "./lists.js";
import { Log } from "./log.js";
import { Login } from "./login.js";
import { setUpMenu } from "./menu.js";
import { MessageMenu } from "./message-menu.js";
import { Keeper, recallLast, recallTab } from "./memory.js";
import { Moderation } from "./moderation.js";
import { ModerationDrawer } from "./moderation-drawer.js";
import { drawNotices } from "./notices.js";
import { PenaltyDialog } from "./penalty.js";
import { recallPreferences } from "./preferences.js";
import { RaidDialog } from "./raid-dialog.js";
import { RoomDialog } from "./room-dialog.js";
import { setUpRowButtons } from "./row-buttons.js";
import { Search } from "./search.js";
import { Broken, Refused, Session } from "./session.js";
import { setUpSettings } from "./settings.js";
import { isSecret, meaningOf, roomMeant } from "./typed.js";

const FIRST_ROOM = "#general";

const tab = recallTab();
const last = recallLast();
const preferences = recallPreferences();
let addressed = roomInAddress(); // the room to open first, until that is done

// --- the parts ------------------------------------------------------------------------------------

const url = new URL("ws", location.href);
url.protocol = url.protocol.replace("http", "ws");

const session = new Session(
  url,
  {
    onEvent: (event) => chat.hear(event),
    onState: changed,
    onResumed: (resumed) => came(() => comeBack(resumed)),
    onFresh: (hello) => came(() => comeIn(hello)),
    positions: () => chat.positions(),
  },
  tab.client ? { client: tab.client, token: tab.token } : null,
);

const chat = new Chat(
  session,
  {
    changed,
    expiring: () => embedding.ask(),
    heard: (place, entry, isForUs) => attention.heard(place, entry, isForUs),
    answered: (text) => {
      attention.answered(text);
      if (chat.current === null) {
        composer.say(text);
      }
    },
    removed: (place, event) => {
      log.removed(place, event);
      search.removed(place, event);
    },
    isLookedAt: (place) => place === chat.current && !document.hidden && !entrance.isOpen && log.isPinned,
  },
  tab,
);

const account = new Account(session, chat);
const embedding = new Embedding(session);
const login = new Login(account, (text) => {
  if (chat.isLoggedIn && !chat.isEntered) {
    came(() => settleIn());
  }
  composer.say(text);
  composer.focus();
});
const accountDialog = new AccountDialog(account, {
  open: (form) => login.open(form, { name: chat.nick }),
  done: () => composer.focus(),
});

const moderation = new Moderation(session);
const penalty = new PenaltyDialog(moderation);
const roomDialog = new RoomDialog(moderation, chat);
const raidDialog = new RaidDialog(moderation);
const messageMenu = new MessageMenu({ chat, moderation, penalty, talkTo });

const choose = {
  room: joinRoom,
  person: talkTo,
  entry: goToEntry,
  menu: (button, place, item) => messageMenu.open(button, place, item),
  hasMenu: (author) => messageMenu.isOffered(author),
  tell: (nick, text) => composer.say(chat.tell(nick, text), true),
};
const log = new Log(chat, choose);
const search = new Search(session, { choose, opens: () => drawer.close(), leave: () => composer.focus() });
const drawer = new ModerationDrawer(moderation, {
  choose,
  opens: () => {
    closeDrawers();
    search.close();
  },
  leave: () => composer.focus(),
  acts: { raid: (place) => raidDialog.open(place), announce: askToAnnounce },
});
const finder = new Finder({
  choices: whereTo,
  otherwise: (text) => ({ name: text, hint: "join", go: () => joinRoom(roomMeant(text, knownRooms)) }),
  refresh: learnRooms,
});
const attention = new Attention(chat, go, preferences);
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
      nicks: chat.places.flatMap(nicksIn),
      here: chat.current ? nicksIn(chat.current) : [],
      rooms: [...knownRooms, ...[...chat.rooms.values()].map(({ name }) => name)],
    }),
    limit: () => session.hello?.limits.message_chars ?? Infinity,
    scroll: (by) => log.page(by),
    moves: () => chat.moves,
    isThere: (place) => chat.places.includes(place),
  },
  tab.unfinished,
);

const nicksIn = ({ members }) => [...members.values()].filter((nick) => nick !== chat.nick && nick !== "anonymous");

const entrance = new Entrance(async (nick, room) => {
  await chat.comeIn(nick, roomMeant(room, knownRooms));
  addressed = "";
  entrance.close();
  greet();
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
      greet();
    }
    knownRooms = (await session.request("list_rooms")).names;
    entrance.offer(knownRooms);
  } catch (error) {
    if (!(error instanceof Broken)) {
      throw error;
    }
    // The page tries again later.
  }
}

// The operator's greeting that was shown last.
let greeting = "";

// Show the operator's greeting, if it is not on the page already.
function greet() {
  const now = session.hello.greeting ?? "";
  if (now !== greeting && now !== "") {
    chat.note(now);
  }
  greeting = now;
}

// Go to the room that the page was opened for.
async function openAddressed() {
  if (addressed !== "") {
    await joinRoom(addressed);
    addressed = "";
  }
}

async function comeBack(resumed) {
  await chat.resumed(resumed);
  if (!chat.isEntered) {
    entrance.open({ nick: last.nick, room: addressed || FIRST_ROOM });
  } else {
    await openAddressed();
  }
}

// This is a new client. Take the last nick and rooms, or ask for them.
async function comeIn(hello) {
  chat.renew(hello);
  const problem = (await embedding.authenticate()) || (await account.authenticate());
  await settleIn(problem && sentence({ message: problem }));
}

// Take the last nick and rooms, or ask for them. `problem` says why this browser could not log in.
async function settleIn(problem = "") {
  const nick = chat.ownNick || (chat.isEntered ? "" : last.nick);
  const rooms = chat.isEntered ? [] : last.rooms;
  if (!chat.isEntered && (nick === "" || rooms.length === 0)) {
    entrance.open({ nick, room: addressed || FIRST_ROOM, error: problem });
    return;
  }
  try {
    await chat.enter(nick, rooms);
    if (problem !== "") {
      chat.note(problem, "refusal");
    }
    await openAddressed();
  } catch (error) {
    if (!(error instanceof Refused)) {
      throw error;
    }
    const why = problem || sentence(error);
    if (!chat.isEntered) {
      entrance.open({ nick, room: addressed || rooms[0], error: why });
    } else {
      // Someone has taken the nick meanwhile, or it belongs to an account. Join the rooms anyway.
      await chat.enterUnnamed(why);
      if (error.code === "nick_registered") {
        login.open("login", { name: nick, why });
      } else {
        askForNick(why);
      }
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

function talkTo(client, nick) {
  go(chat.talks.with(client, nick));
}

// Returns a sentence if the text was not accepted.
function send(text) {
  const place = chat.current;
  const meaning = meaningOf(text, place, account.isOffered);
  if (session.hello === null && isSecret(text)) {
    return sentence({ message: "" });
  }
  if (meaning.kind === "account") {
    openAccount(meaning.what, meaning.name);
    return "";
  }
  if (chat.lacksNick) {
    askForNick(chat.lacksNick);
    return "Choose a nickname first.";
  }
  log.toBottom();
  switch (meaning.kind) {
    case "say":
      return place === null ? "You are in no room. Type /join ROOM to go into one." : chat.outgoing.say(place, meaning.text);
    case "tell":
      return chat.tell(meaning.nick, meaning.text);
    case "join": {
      const known = chat.rooms.get(meaning.name.toLowerCase());
      if (known?.synced) {
        go(known);
        return "";
      }
      chat.moves += 1; // the person asks to go
      return chat.outgoing.type(place, text);
    }
    case "close":
      chat.leave(place);
      return "";
    case "help":
      byId("help-button").click();
      return "";
    case "search":
      search.open(meaning.words);
      return "";
    case "room":
    case "roles":
      roomDialog.open(place);
      return "";
    case "log":
    case "held":
    case "reports":
      if (moderation.moderates(place)) {
        drawer.open(meaning.kind === "log" ? "actions" : meaning.kind);
        return "";
      }
      return chat.outgoing.type(place, text);
    case "refused":
      chat.note(meaning.why, "refusal");
      return "";
    default:
      return chat.outgoing.type(place, text);
  }
}

// Do what a command or a button about the account asks for. Within an account, a form to log in makes
// no sense, and outside of it there is nothing to see.
function openAccount(what, name = "") {
  closeDrawers();
  if (what === "logout") {
    logOut();
  } else if (!chat.isLoggedIn) {
    const nick = chat.nick === "anonymous" ? "" : chat.nick;
    login.open(what === "register" || what === "recover" ? what : "login", { name: name || nick });
  } else if (what === "password") {
    login.open("password", { name: chat.nick });
  } else {
    accountDialog.open();
  }
}

async function logOut() {
  try {
    await account.logOut();
  } catch (error) {
    chat.note(sentence(error), "refusal");
  }
}

async function joinRoom(name) {
  try {
    await chat.join(name);
    go(chat.current);
  } catch (error) {
    chat.note(sentence(error), "refusal");
  }
}

async function goToEntry(room, position) {
  if (isNarrow()) {
    search.close();
  }
  chat.go(room);
  try {
    await log.goTo(room, position);
  } catch (error) {
    chat.note(sentence(error), "refusal");
  }
}

// All rooms and people for Ctrl-K.
function whereTo() {
  const mine = chat.places.map((place) => ({
    name: place.name,
    hint: place.kind === "room" ? "room" : "private messages",
    isPerson: place.kind === "talk",
    go: () => go(place),
  }));
  const people = new Map([...chat.rooms.values()].flatMap(({ members }) => [...members]));
  const others = [...people]
    .filter(([client, nick]) => client !== chat.person && nick !== "anonymous" && !chat.talks.all.has(client))
    .map(([client, nick]) => ({ name: nick, hint: "person", isPerson: true, go: () => talkTo(client, nick) }));
  const rooms = knownRooms
    .filter((name) => !chat.rooms.has(name.toLowerCase()))
    .map((name) => ({ name, hint: "join", go: () => joinRoom(name) }));
  return [...mine, ...others, ...rooms];
}

async function learnRooms() {
  try {
    knownRooms = (await session.request("list_rooms")).names;
  } catch {
    // A name can still be typed.
  }
}

async function askForRoom() {
  closeDrawers();
  const here = new Set([...chat.rooms.values()].map(({ name }) => name));
  const others = () => knownRooms.filter((name) => !here.has(name));
  const about = {
    title: "Join a room",
    label: "Room",
    prefix: "#",
    ok: "Join",
    maxLength: session.hello.limits.room_chars,
    choices: others(),
  };
  const offer = ask(about, async (name) => {
    await chat.join(roomMeant(name, knownRooms));
    go(chat.current);
  });
  await learnRooms();
  offer(others());
}

function askForNick(why = "") {
  closeDrawers();
  const about = {
    title: why || "Change your nickname",
    label: "Nickname",
    value: chat.nick === "anonymous" ? "" : chat.nick,
    ok: "Save",
    maxLength: session.hello.limits.nick_chars,
  };
  ask(about, (nick) => chat.takeNick(nick));
}

function askForTopic() {
  const place = chat.current;
  const about = {
    title: `Topic of ${place.name}`,
    label: "Topic",
    value: place.topic,
    ok: "Save",
    maxLength: session.hello.limits.topic_chars,
  };
  ask(about, (text) => session.request("set_topic", { room: place.key, text }));
}

function askToAnnounce() {
  const { limits } = session.hello;
  const about = { title: "Announce to everyone on the server", label: "Text", ok: "Announce", maxLength: limits.message_chars };
  ask(about, async (text) => {
    const told = await moderation.announce(text);
    chat.note(sentence({ message: told }));
  });
}

function askToLeave() {
  const place = chat.current;
  const { name } = place;
  const about =
    place.kind === "room"
      ? { title: `Leave ${name}?`, text: "You can join it again at any time.", ok: "Leave" }
      : { title: `Close the conversation with ${name}?`, text: "Its messages are in this tab alone, and will be gone.", ok: "Close" };
  confirm(about, async () => {
    try {
      await chat.leave(place);
    } catch (error) {
      chat.note(sentence(error), "refusal");
    }
    composer.focus();
  });
}

// --- drawing --------------------------------------------------------------------------------------

let isDue = false;

function changed() {
  if (isDue) {
    return;
  }
  isDue = true;
  // A hidden tab draws no frames, but its title has to change.
  const later = document.hidden ? (run) => setTimeout(run, 200) : requestAnimationFrame;
  later(draw);
}

function draw() {
  isDue = false;
  const place = chat.current;
  if (place && chat.handlers.isLookedAt(place)) {
    place.looked();
  }
  // Without a place, the address may name a room that is still to be joined.
  const isSettled = session.online && chat.joining.size === 0 && addressed === "";
  if (chat.isEntered && (place || isSettled)) {
    showInAddress(place?.kind === "room" ? place.name : "");
  }
  attention.title(place);
  banner.draw(session.state, chat.isLoggedIn ? "Your account" : "Change your nickname");
  drawAccount(account, chat);
  keeper.soon();
  if (document.hidden) {
    place?.shorten();
    return;
  }
  composer.at(place);
  drawPlaces(chat, go);
  drawMembers(chat, talkTo, moderation.moderates(place) ? choose.menu : null);
  byId("room-button").hidden = !moderation.isOffered(place);
  drawNotices(chat, { again: joinRoom, changed });
  drawHeading(chat);
  search.at(place);
  drawer.at(place);
  attention.draw();
  log.draw(place);
}

// --- buttons, and the start -----------------------------------------------------------------------

byId("join-room").onclick = askForRoom;
byId("join-here").onclick = askForRoom;
byId("my-nick").onclick = () => {
  if (!session.online) {
    session.retry();
  } else if (chat.isLoggedIn) {
    openAccount("account");
  } else {
    askForNick();
  }
};
byId("account-button").onclick = () => openAccount("account");
byId("entrance-log-in").onclick = () => openAccount("login", byId("entrance-nick").value.trim());
byId("entrance-log-out").onclick = logOut;
byId("topic").onclick = askForTopic;
byId("leave").onclick = askToLeave;
byId("room-button").onclick = () => {
  closeDrawers();
  roomDialog.open(chat.current);
};
byId("help-button").onclick = () => help(session.hello?.commands ?? []);

setUpDialogs();
setUpDrawers();
setUpMenu();
setUpRowButtons();
setUpSettings(preferences, () => attention.allow());
setUpKeys({
  isOff: () => entrance.isOpen,
  step: (by, onlyUnread) => chat.step(by, onlyUnread),
  help: () => byId("help-button").click(),
  find: () => finder.open(),
  escape: () => closeDrawers() || search.close() || drawer.close() || log.toBottom(),
  type: () => composer.focus(),
});

document.addEventListener("visibilitychange", changed);
window.addEventListener("hashchange", () => {
  const room = roomInAddress();
  if (chat.isEntered && room !== "") {
    joinRoom(room);
  }
});
// The banner about a lost connection appears after a delay, without another event.
setInterval(() => session.online || changed(), 500);

byId("starting").remove();
byId("app").hidden = false;
session.open();
// Some private windows have no service workers. Only the offline page is missing then.
navigator.serviceWorker?.register("service-worker.js").catch(() => {});
