// Shows each kind of item as a list item.

import { addressOf } from "./address.js";
import { make } from "./dom.js";
import { inline, message, plain } from "./markup.js";
import { avatar, namesIn, nickNode } from "./people.js";
import { moreButton } from "./row-buttons.js";
import { dayName, dayOf, timeNode } from "./times.js";

const TOGETHER = 300; // seconds within which one person's messages stand under one name
const SCREENFUL = 12; // messages after which the name stands there again

// The context of a row: whether a new day begins, and whether it shares the name above it. (The day of
// the first row is above it.) `run` is the number of rows under that name, and its start.
export function context(before, item, run = { length: 0, since: 0 }) {
  const isSpoken = (one) => (one?.kind === "said" || one?.kind === "told") && one.text !== "";
  const newDay = before !== undefined && dayOf(before.time) !== dayOf(item.time);
  const follows =
    !newDay &&
    isSpoken(before) &&
    isSpoken(item) &&
    before.author === item.author &&
    before.nick === item.nick &&
    run.length < SCREENFUL &&
    item.time - run.since < TOGETHER;
  return { newDay, follows, run: follows ? { ...run, length: run.length + 1 } : { length: 1, since: item.time } };
}

// `choose` has the actions for clicks on the name of a `person`, on a `room`, on a found `entry`, and on
// the button for a `menu`.
export function row(item, { newDay, follows }, { me, place, isUnread, choose }) {
  const node = make("li", { className: `row ${item.kind}` });
  if (newDay) {
    node.append(make("h2", { className: "day" }, make("span", {}, dayName(item.time))));
  }
  if (isUnread) {
    node.append(make("p", { className: "news" }, make("span", {}, "New")));
  }
  const isMine = me.isMine(item.author);
  const body = item.text === "" && item.kind !== "ignored" ? removedText : BODIES[item.kind];
  node.append(...body(item, { follows, me, isMine, place, choose, names: namesFor(me, place, choose) }));
  node.classList.toggle("follows", follows);
  node.classList.toggle("mine", isMine);
  node.classList.toggle("mention", !isMine && item.kind !== "told" && me.news.mentions(item.text ?? ""));
  return node;
}

// The names that a text may contain (markup.js).
export function namesFor(me, place, choose) {
  return { "@": (text) => personNamed(text, me, place, choose), "#": (text) => roomNamed(text, choose) };
}

// A link to a room, whether it exists or not. "#1" is no link, as it mostly means something else.
function roomNamed(text, choose) {
  const [name] = text.match(ROOM) ?? [];
  return name === undefined ? null : { length: name.length, node: roomNode(name, choose) };
}

const ROOM = /^#\p{L}[\p{L}\p{M}\p{N}]*(?:[._-]+[\p{L}\p{M}\p{N}]+)*/u;

function roomNode(name, choose) {
  const onclick = (event) => {
    // With a modifier key, the browser opens another tab or window.
    if (!event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      choose.room(name);
    }
  };
  return make("a", { href: addressOf(name), className: "named", onclick }, name);
}

// "@jack, look" names jack: punctuation at the end is left out until a nick matches.
function personNamed(text, me, place, choose) {
  const people = namesIn(place);
  for (let name = text.slice(1); name !== ""; name = name.replace(/(?:[\p{L}\p{M}\p{N}]+|.)$/u, "")) {
    const person = people.get(name.toLowerCase());
    if (person !== undefined) {
      return { length: name.length + 1, node: mentionNode(`@${name}`, person, me, choose) };
    }
  }
  return null;
}

function mentionNode(text, { client, nick }, me, choose) {
  return client === me.person
    ? make("mark", {}, text)
    : make("button", { type: "button", className: "named", onclick: () => choose.person(client, nick) }, text);
}

const words = (className, ...children) => make("div", { className, dir: "auto" }, ...children);

function spoken(item, { follows, isMine, place, choose, names }) {
  const who = personNode(item, { isMine, place, choose });
  const face = follows ? [] : [avatar(place, item.nick)];
  const head = make("p", { className: "head" }, ...face, who, " ", timeNode(item.time), more(item, { place, choose }));
  return [head, words("text", ...message(item.text, names))];
}

// The button of a message that the server knows by its position.
function more(item, { place, choose }) {
  const isOffered = item.position !== undefined && choose.hasMenu(item.author);
  return isOffered ? moreButton(item.nick, (button) => choose.menu(button, place, item)) : null;
}

// The author. For the keyboard there are the list of members and Ctrl-K, so Tab skips names in
// messages.
function personNode({ nick, author }, { isMine, place, choose }) {
  const name = nickNode(place, nick);
  if (isMine) {
    return name;
  }
  const title = `Message ${nick} privately`;
  const onclick = () => choose.person(author, nick);
  return make("button", { type: "button", className: "author", tabIndex: -1, title, onclick }, name);
}

function partNodes(parts) {
  return parts.map((part) => (typeof part === "string" ? part : make("bdi", {}, part.nick)));
}

const aside = (...children) => [words("aside", ...children)];

// What stands in the place of a message that was removed. Who did that is known if it was just now.
const removedText = ({ remover }) =>
  remover === undefined ? aside("removed") : aside("removed by ", make("bdi", {}, remover));

// `choices` has the name and the action of each choice.
function choiceList(label, choices, more) {
  const buttons = choices.map(([name, onclick]) =>
    make("button", { type: "button", className: "chip", onclick }, make("bdi", {}, name)),
  );
  const before = label === "" ? [] : [make("span", {}, label)];
  const rest = more > 0 ? [make("span", {}, `and ${more} more`)] : [];
  return [make("div", { className: "aside chips" }, ...before, ...buttons, ...rest)];
}

// A search result with its words marked. A click shows the message in its room.
export function foundEntry(entry, words, place, choose) {
  const kind = { acted: "∗ ", topic_set: "Topic: " }[entry.type] ?? "";
  const when = make("span", { className: "when" }, `${dayName(entry.time)} `, timeNode(entry.time));
  return make(
    "li",
    {},
    make(
      "button",
      { type: "button", className: "found-entry", onclick: () => choose.entry(place, entry.position) },
      make("span", { className: "head" }, nickNode(place, entry.nick), " ", when),
      make("span", { className: "words", dir: "auto" }, kind, ...marked(plain(entry.text), words)),
    ),
  );
}

// A text in which these words are marked.
function marked(text, words) {
  if (words.length === 0) {
    return [text];
  }
  const literal = (word) => word.replace(/[^\p{L}\p{M}\p{N}\s]/gu, (char) => `\\u{${char.codePointAt(0).toString(16)}}`);
  const parts = text.split(new RegExp(`(${words.map(literal).join("|")})`, "iu"));
  return parts.map((part, index) => (index % 2 === 1 ? make("mark", {}, part) : part));
}

export const stoppedEarly = (position) =>
  `The search stopped, as it took too long: messages before number ${position} were not searched.`;

const BODIES = {
  said: spoken,
  told: spoken,
  acted: (item, { isMine, place, choose, names }) => {
    const who = personNode(item, { isMine, place, choose });
    return [words("text", make("span", { className: "star" }, "∗ "), who, " ", ...inline(item.text, names), " ", timeNode(item.time), more(item, { place, choose }))];
  },
  topic_set: (item, { names }) =>
    aside(make("bdi", {}, item.nick), " changed the topic: ", make("bdi", {}, ...inline(item.text, names))),
  ruled: (item, { names }) =>
    aside(make("bdi", {}, item.nick), " ", make("bdi", {}, ...inline(item.text, names)), ` [A${item.position}]`),
  ignored: () => [],
  removed: (item, { names }) =>
    aside(make("bdi", {}, item.nick), " ", make("bdi", {}, ...inline(item.text, names)), item.own ? "" : ` [A${item.position}]`),
  quiet: (item) => {
    const parts = item.presence.parts();
    return parts.length === 0 ? [] : aside(...partNodes(parts));
  },
  missed: ({ count }) =>
    aside(`${count === 1 ? "1 message is" : `${count} messages are`} missing here: your connection was too slow, and they are gone.`),
  note: (item) => item.lines.flatMap((line) => aside(...inline(line))),
  namesake: ({ lines, nick, text }, { choose }) => [
    ...lines.flatMap((line) => aside(line)),
    ...choiceList("", [[`Send it to the new ${nick}`, () => choose.tell(nick, text)]], 0),
  ],
  refusal: (item) => item.lines.flatMap((line) => aside(line)),
  rooms: ({ names, more }, { choose }) =>
    names.length === 0
      ? aside("There are no rooms yet. /join ROOM makes one.")
      : choiceList("Rooms:", names.map((name) => [name, () => choose.room(name)]), more),
  people: ({ people, more }, { choose }) =>
    choiceList("Here now:", people.map(({ client, nick }) => [nick, () => choose.person(client, nick)]), more),
  found: ({ entries, stoppedAt }, { place, choose }) => [
    ...(entries.length === 0
      ? aside("Nothing was found.")
      : [make("ol", { className: "found-list" }, ...entries.map((entry) => foundEntry(entry, [], place, choose)))]),
    ...(stoppedAt > 0 ? aside(stoppedEarly(stoppedAt)) : []),
  ],
};
