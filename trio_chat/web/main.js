// The page: what belongs to what, drawn once a frame.

import { Attention } from "./attention.js";
import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { ask, Entrance, help, sentence } from "./dialogs.js";
import { byId } from "./dom.js";
import { drawHeading, drawMembers, drawPlaces } from "./lists.js";
import { Log } from "./log.js";
import { forgetTab, keepLast, keepTab, leaveTab, recallLast, recallTab } from "./memory.js";
import { Broken, Refused, Session } from "./session.js";

const FIRST_ROOM = "#general";
const KEEP_EVERY = 500; // milliseconds between two times that the tab's state is kept
const SHOW_LOSS = 1_000; // until a lost connection is worth a word: most are back by then

const tab = recallTab();
const last = recallLast();

// --- the parts ------------------------------------------------------------------------------------

const url = new URL("ws", location.href);
url.protocol = url.protocol.replace("http", "ws");

const session = new Session(
  url,
  {
    onEvent: (event) => chat.hear(event),
    onState: () => changed(),
    onResumed: (resumed) => came(() => chat.resumed(resumed)),
    onFresh: (hello) => came(() => comeIn(hello)),
    positions: () => ({ ...Object.fromEntries(Object.entries(tab.seen ?? {}).map(([key, { high }]) => [key, high])), ...chat.positions() }),
  },
  tab.client ? { client: tab.client, token: tab.token } : null,
);

const chat = new Chat(session, {
  changed: () => changed(),
  heard: (place, entry, isForUs) => attention.heard(place, entry, isForUs),
  isLookedAt: (place) => place === chat.current && !document.hidden && !byId("app").hidden && log.isPinned,
});
chat.seen = tab.seen;
chat.wanted = tab.current;
chat.restoreTalks(tab.talks ?? []);

const log = new Log(chat, { room: joinRoom, person: (nick) => talkTo(nick) });
const attention = new Attention(chat, go);
attention.wantsBell = last.bell;

const composer = new Composer({
  send,
  words: () => ({
    commands: session.hello?.commands ?? [],
    nicks: [...new Set(chat.places.flatMap(({ members }) => [...members.values()]))].filter(
      (nick) => nick !== chat.nick && nick !== "anonymous",
    ),
    rooms: [...new Set([...knownRooms, ...[...chat.rooms.values()].map(({ name }) => name)])],
  }),
  limit: () => session.hello?.limits.message_chars ?? Infinity,
  scroll: (by) => log.page(by),
});

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

// Nobody is here that we were: take the name and rooms last used, or ask for them.
async function comeIn(hello) {
  chat.renew(hello);
  const nick = chat.ownNick || last.nick;
  const rooms = chat.isEntered ? [] : last.rooms;
  if (nick === "" || (rooms.length === 0 && !chat.isEntered)) {
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
      entrance.open({ nick, room: rooms[0] ?? FIRST_ROOM, error: sentence(error) });
      return;
    }
    await withoutOurNick(error);
  }
}

// Our name has been taken meanwhile: be in our rooms all the same, and say so.
async function withoutOurNick(error) {
  chat.isNamed = true;
  await chat.enter(chat.nick, []);
  chat.note(sentence(error), "refusal");
  askForNick(sentence(error));
}

// --- what one does --------------------------------------------------------------------------------

function go(place) {
  chat.go(place);
  closeDrawers();
  composer.at(place);
  composer.focus();
}

function send(text) {
  const place = chat.current;
  if (!session.online) {
    return "Not connected. Your text stays here until you are.";
  }
  const [, nick, words] = text.match(/^\/tell +(\S+) +(.+)$/u) ?? [];
  if (nick !== undefined) {
    return chat.tell(nick, words) ? "" : "One moment, please.";
  }
  log.toBottom();
  if (text.startsWith("/")) {
    return chat.type(place, text) ? "" : "One moment, please.";
  }
  if (place === null) {
    return "You are in no room. /join ROOM goes into one.";
  }
  return chat.say(place, text) ? "" : "One moment, please.";
}

function talkTo(nick) {
  go(chat.talk(nick));
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
  ask(
    {
      title: "Join a room",
      label: "Room",
      value: "#",
      ok: "Join",
      maxLength: session.hello.limits.room_chars,
      choices: knownRooms.filter((name) => !here.has(name)),
    },
    async (name) => {
      await chat.join(name);
      go(chat.current);
    },
  );
}

function askForNick(why = "") {
  closeDrawers();
  ask(
    {
      title: why || "Change your name",
      label: "What others call you",
      value: chat.nick === "anonymous" ? "" : chat.nick,
      ok: "Take this name",
      maxLength: session.hello.limits.nick_chars,
    },
    (nick) => chat.takeNick(nick),
  );
}

function askForTopic() {
  const place = chat.current;
  ask(
    {
      title: `What ${place.name} is about`,
      label: "Topic",
      value: place.topic,
      ok: "Say it",
      maxLength: session.hello.limits.topic_chars,
    },
    (text) => session.request("set_topic", { room: place.key, text }),
  );
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
    chat.looked();
  }
  attention.title(place);
  drawState();
  keepSoon();
  if (document.hidden) {
    place?.shorten();
    return;
  }
  composer.at(place);
  drawPlaces(chat, go);
  drawMembers(chat, talkTo);
  drawHeading(chat);
  byId("bell-button").setAttribute("aria-pressed", `${attention.hasBell}`);
  if (place === null) {
    byId("leave").hidden = true;
  }
  log.draw(place);
  attention.speak();
}

let lostSince = null;

function drawState() {
  const { phase } = session.state;
  byId("my-light").className = `light ${phase}`;
  lostSince = phase === "online" ? null : (lostSince ?? Date.now());
  const [text, button] = words(session.state);
  const isShown = text !== "" && (phase === "left" || phase === "elsewhere" || Date.now() - lostSince >= SHOW_LOSS);
  byId("banner").hidden = !isShown;
  if (isShown && byId("banner-text").textContent !== text) {
    byId("banner-text").textContent = text;
  }
  byId("banner-button").hidden = button === undefined;
  byId("banner-button").textContent = button ?? "";
  byId("my-nick").title = phase === "online" ? "Change your name" : "Not connected";
}

// What is said of the connection, and what one can do about it.
function words({ phase, reason }) {
  switch (phase) {
    case "online":
      return [""];
    case "elsewhere":
      return ["This chat goes on in another tab.", "Go on here"];
    case "left":
      return ["You have left the chat.", "Come back"];
    case "waiting": {
      const why = reason ? ` (${reason})` : "";
      return [`Not connected${why}. Trying again; what you miss will follow.`, "Try now"];
    }
    default:
      return ["Connecting…"];
  }
}

byId("banner-button").onclick = () => {
  session.retry();
  session.reopen();
  composer.focus();
};
setInterval(() => session.online || changed(), 500);

// --- what is remembered ---------------------------------------------------------------------------

let keeping = null;

function tabState() {
  const seen = Object.fromEntries([...chat.rooms.values()].map(({ key, high, read }) => [key, { high, read }]));
  return {
    ...session.ticket,
    seen: chat.isEntered ? seen : tab.seen,
    current: chat.current?.key,
    talks: chat.talksKept(),
  };
}

function keepSoon() {
  keeping ??= setTimeout(keep, KEEP_EVERY);
}

function keep() {
  clearTimeout(keeping);
  keeping = null;
  if (!chat.isEntered) {
    return;
  }
  if (chat.ownNick !== "") {
    keepLast({ nick: chat.ownNick, rooms: [...chat.rooms.values()].map(({ name }) => name) });
  }
  if (session.state.phase === "left") {
    forgetTab();
  } else {
    keepTab(tabState());
  }
}

window.addEventListener("pagehide", () => {
  keep();
  if (session.online && chat.isEntered && session.hello.grace > 0) {
    leaveTab(tabState(), session.hello.grace);
  }
});

// --- drawers, buttons and keys --------------------------------------------------------------------

const DRAWERS = [
  { drawer: "rooms-drawer", button: "show-rooms" },
  { drawer: "members-drawer", button: "show-members" },
];

function toggleDrawer({ drawer, button }) {
  const opens = !byId(drawer).classList.contains("open");
  closeDrawers();
  if (drawer === "members-drawer") {
    // On a wide screen the members are there until they are sent away.
    document.body.classList.toggle("members-away");
  }
  byId(drawer).classList.toggle("open", opens);
  byId(button).setAttribute("aria-expanded", `${opens}`);
  byId("shade").hidden = !opens;
  if (opens && getComputedStyle(byId(drawer)).position === "fixed") {
    byId(drawer).querySelector("button")?.focus();
  }
}

function closeDrawers() {
  let wasOpen = false;
  for (const { drawer, button } of DRAWERS) {
    wasOpen ||= byId(drawer).classList.contains("open");
    byId(drawer).classList.remove("open");
    byId(button).setAttribute("aria-expanded", "false");
  }
  byId("shade").hidden = true;
  return wasOpen;
}

for (const each of DRAWERS) {
  byId(each.button).onclick = () => toggleDrawer(each);
}
byId("shade").onclick = closeDrawers;
byId("join-room").onclick = askForRoom;
byId("my-nick").onclick = () => (session.online ? askForNick() : session.retry());
byId("topic").onclick = askForTopic;
byId("leave").onclick = () => chat.leave(chat.current).then(() => composer.focus()).catch(() => {});
byId("help-button").onclick = () => help(session.hello?.commands ?? []);
byId("bell-button").onclick = async () => {
  const problem = await attention.toggleBell();
  keepLast({ bell: attention.wantsBell });
  composer.say(problem || (attention.hasBell ? "You will be told of private messages, and of those with your name." : "No more notifications."));
  changed();
};

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || document.querySelector("dialog[open]") || entrance.isOpen) {
    return;
  }
  if (event.altKey && !event.ctrlKey && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
    event.preventDefault();
    chat.step(event.key === "ArrowUp" ? -1 : 1, event.shiftKey);
    composer.focus();
  } else if (event.ctrlKey && event.key === "/") {
    event.preventDefault();
    byId("help-button").click();
  } else if (event.key === "Escape") {
    if (!closeDrawers()) {
      log.toBottom();
    }
    composer.focus();
  } else if (isText(event) && !isControl(event.target)) {
    // Whoever begins to type means the message.
    composer.focus();
  }
});

const isText = ({ key, ctrlKey, altKey, metaKey }) => [...key].length === 1 && key !== " " && !ctrlKey && !altKey && !metaKey;
const isControl = (node) => node.closest("input, textarea, dialog") !== null;

document.addEventListener("visibilitychange", changed);
window.addEventListener("focus", changed);

byId("app").hidden = false;
session.open();
