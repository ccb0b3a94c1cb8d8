// Connects the parts of the page, and draws them once a frame.

import { Account } from "./account.js";
import { AccountDialog, drawAccount } from "./account-dialog.js";
import { AccountForms } from "./account-forms.js";
import { roomInAddress, showInAddress } from "./address.js";
import { Attention } from "./attention.js";
import { Banner } from "./banner.js";
import { Chat } from "./chat.js";
import { Commands } from "./commands.js";
import { Composer } from "./composer.js";
import { help, setUpDialogs } from "./dialogs.js";
import { byId } from "./dom.js";
import { closeDrawers, setUpDrawers } from "./drawers.js";
import { Embedding } from "./embedding.js";
import { Finder } from "./finder.js";
import { Going } from "./going.js";
import { setUpKeys } from "./keys.js";
import { drawHeading, drawMembers, drawPlaces } from "./lists.js";
import { Log } from "./log.js";
import { Login } from "./login.js";
import { Keeper, recallLast, recallTab } from "./memory.js";
import { setUpMenu } from "./menu.js";
import { MessageMenu } from "./message-menu.js";
import { Moderation } from "./moderation.js";
import { ModerationDrawer } from "./moderation-drawer.js";
import { drawNotices } from "./notices.js";
import { PenaltyDialog } from "./penalty.js";
import { recallPreferences } from "./preferences.js";
import { Questions } from "./questions.js";
import { RaidDialog } from "./raid-dialog.js";
import { RoomDialog } from "./room-dialog.js";
import { setUpRowButtons } from "./row-buttons.js";
import { Search } from "./search.js";
import { Session } from "./session.js";
import { setUpSettings } from "./settings.js";
import { Welcome } from "./welcome.js";

const tab = recallTab();
const preferences = recallPreferences();

// --- the parts ------------------------------------------------------------------------------------

const url = new URL("ws", location.href);
url.protocol = url.protocol.replace("http", "ws");

const session = new Session(
  url,
  {
    onEvent: (event) => chat.hearing.hear(event),
    onState: changed,
    onResumed: (resumed) => welcome.resumed(resumed),
    onFresh: (hello) => welcome.greeted(hello),
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
    locked: (room) => going.askForKey(room),
    removed: (place, event) => {
      log.removed(place, event);
      search.removed(place, event);
    },
    isLookedAt: (place) => place === chat.current && !document.hidden && !welcome.isOpen && log.isPinned,
  },
  tab,
);

const going = new Going(session, chat, {
  at: (place) => {
    composer.at(place);
    composer.focus();
  },
  showEntry: (room, position) => log.goTo(room, position),
  makeRoom: () => search.close(),
});

const account = new Account(session, chat);
const embedding = new Embedding(session);
const login = new Login(account, (text) => {
  if (chat.isLoggedIn && !chat.arrival.isEntered) {
    welcome.loggedIn();
  }
  composer.say(text);
  composer.focus();
});
const accountDialog = new AccountDialog(account, {
  open: (form) => login.open(form, { name: chat.nick }),
  done: () => composer.focus(),
});
const accountForms = new AccountForms(account, chat, login, accountDialog);

const moderation = new Moderation(session);
const questions = new Questions(session, chat, moderation, () => composer.focus());
const penalty = new PenaltyDialog(moderation);
const roomDialog = new RoomDialog(moderation, chat);
const raidDialog = new RaidDialog(moderation);
const messageMenu = new MessageMenu({ chat, moderation, penalty, talkTo: (client, nick) => going.talkTo(client, nick) });

const choose = {
  room: (name) => going.join(name),
  person: (client, nick) => going.talkTo(client, nick),
  entry: (room, position) => going.goToEntry(room, position),
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
  acts: { raid: (place) => raidDialog.open(place), announce: () => questions.askToAnnounce() },
});
const finder = new Finder({
  choices: () => going.whereTo(),
  otherwise: (text) => ({ name: text, hint: "join", go: () => going.join(going.meant(text)) }),
  refresh: () => going.learnRooms(),
});
const attention = new Attention(chat, (place) => going.go(place), preferences);
const keeper = new Keeper(session, chat, () => composer.unfinished());
const banner = new Banner(() => {
  session.retry();
  session.reopen();
  composer.focus();
});

const commands = new Commands(session, chat, account, moderation, {
  accountForms,
  drawer,
  going,
  log,
  questions,
  roomDialog,
  search,
});
const nicksIn = ({ members }) => [...members.values()].filter((nick) => nick !== chat.nick && nick !== "anonymous");
const composer = new Composer(
  {
    send: (line) => commands.carryOut(line),
    words: () => ({
      commands: session.hello?.commands ?? [],
      nicks: chat.places.flatMap(nicksIn),
      here: chat.current ? nicksIn(chat.current) : [],
      rooms: [...going.knownRooms, ...[...chat.rooms.values()].map(({ name }) => name)],
    }),
    limit: () => session.hello?.limits.message_chars ?? Infinity,
    scroll: (by) => log.page(by),
    moves: () => chat.moves,
    isThere: (place) => chat.places.includes(place),
  },
  tab.unfinished,
);

const welcome = new Welcome(session, chat, going, {
  last: recallLast(),
  logIns: [() => embedding.authenticate(), () => account.authenticate()],
  done: () => composer.focus(),
  say: (text) => composer.say(text),
  askToLogIn: (name, why) => login.open("login", { name, why }),
  askForNick: (why) => questions.askForNick(why),
});

// --- drawing --------------------------------------------------------------------------------------

let cancel = null; // stops the frame or the timer that draws

function changed() {
  if (cancel !== null) {
    return;
  }
  // A hidden tab draws no frames, but its title has to change.
  if (document.hidden) {
    const timer = setTimeout(draw, 200);
    cancel = () => clearTimeout(timer);
  } else {
    const frame = requestAnimationFrame(draw);
    cancel = () => cancelAnimationFrame(frame);
  }
}

function draw() {
  cancel = null;
  const place = chat.current;
  if (place && chat.handlers.isLookedAt(place)) {
    place.looked();
  }
  // Without a place, the address may name a room that is still to be joined.
  const isSettled = session.online && chat.arrival.joining.size === 0 && welcome.addressed === "";
  if (chat.arrival.isEntered && (place || isSettled)) {
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
  drawPlaces(chat, (chosen) => going.go(chosen));
  drawMembers(chat, choose.person, moderation.moderates(place) ? choose.menu : null);
  byId("room-button").hidden = !moderation.isOffered(place);
  drawNotices(chat, { join: choose.room, changed });
  drawHeading(chat);
  search.at(place);
  drawer.at(place);
  attention.draw();
  log.draw(place);
}

// --- buttons, and the start -----------------------------------------------------------------------

byId("join-room").onclick = () => going.askForRoom();
byId("join-here").onclick = () => going.askForRoom();
byId("my-nick").onclick = () => {
  if (!session.online) {
    session.retry();
  } else if (chat.isLoggedIn) {
    accountForms.open("account");
  } else {
    questions.askForNick();
  }
};
byId("account-button").onclick = () => accountForms.open("account");
byId("entrance-log-in").onclick = () => accountForms.open("login", byId("entrance-nick").value.trim());
byId("entrance-log-out").onclick = () => accountForms.logOut();
byId("topic").onclick = () => questions.askForTopic();
byId("leave").onclick = () => questions.askToLeave();
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
  isOff: () => welcome.isOpen,
  step: (by, onlyUnread) => chat.step(by, onlyUnread),
  help: () => byId("help-button").click(),
  find: () => finder.open(),
  escape: () => closeDrawers() || search.close() || drawer.close() || log.toBottom(),
  type: () => composer.focus(),
});

// A frame that was due does not come while the tab is hidden.
document.addEventListener("visibilitychange", () => {
  cancel?.();
  cancel = null;
  changed();
});
window.addEventListener("hashchange", () => {
  const room = roomInAddress();
  if (chat.arrival.isEntered && room !== "") {
    going.join(room);
  }
});
// The banner about a lost connection appears after a delay, without another event.
setInterval(() => session.online || changed(), 500);

byId("starting").remove();
byId("app").hidden = false;
session.open();
// Some private windows have no service workers. Only the offline page is missing then.
navigator.serviceWorker?.register("service-worker.js").catch(() => {});
