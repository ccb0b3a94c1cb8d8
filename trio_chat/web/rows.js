// How each kind of item looks: one list item for one item of a place.

import { dayName, dayOf, make, nickNode, textNodes, timeNode } from "./dom.js";

const TOGETHER = 300; // seconds within which one person's messages stand under one name

// What a row owes to the one before it: a new day, and whether it goes on with the same person. (The
// day of the first one stands above it.)
export function context(before, item) {
  const isSpoken = (one) => one?.kind === "said" || one?.kind === "told";
  const newDay = before !== undefined && dayOf(before.time) !== dayOf(item.time);
  const follows =
    !newDay &&
    isSpoken(before) &&
    isSpoken(item) &&
    before.author === item.author &&
    before.nick === item.nick &&
    item.time - before.time < TOGETHER;
  return { newDay, follows };
}

export function row(item, { newDay, follows }, { me, isUnread, choose }) {
  const node = make("li", { className: `row ${item.kind}` });
  if (newDay) {
    node.append(make("h2", { className: "day" }, make("span", {}, dayName(item.time))));
  }
  if (isUnread) {
    node.append(make("p", { className: "news" }, make("span", {}, "New")));
  }
  node.append(...BODIES[item.kind](item, { follows, me, choose }));
  node.classList.toggle("follows", follows);
  node.classList.toggle("mine", me.ids.has(item.author));
  node.classList.toggle("mention", !me.ids.has(item.author) && item.kind !== "told" && me.news.mentions(item.text ?? ""));
  return node;
}

const words = (className, ...children) => make("p", { className, dir: "auto" }, ...children);

function spoken(item) {
  const head = make("p", { className: "head" }, nickNode(item.nick), " ", timeNode(item.time));
  return [head, words("text", ...textNodes(item.text))];
}

function partNodes(parts) {
  return parts.map((part) => (typeof part === "string" ? part : make("bdi", {}, part.nick)));
}

const aside = (...children) => [words("aside", ...children)];

function choiceList(label, names, more, choose) {
  const buttons = names.map((name) =>
    make("button", { type: "button", className: "chip", onclick: () => choose(name) }, make("bdi", {}, name)),
  );
  const rest = more > 0 ? [make("span", {}, `and ${more} more`)] : [];
  return [make("div", { className: "aside chips" }, make("span", {}, label), ...buttons, ...rest)];
}

function foundEntry(entry) {
  const action = entry.type === "acted" ? "* " : "";
  const topic = entry.type === "topic_set" ? "topic: " : "";
  return make(
    "li",
    {},
    make("span", { className: "when" }, `${dayName(entry.time)} `, timeNode(entry.time)),
    " ",
    make("span", { dir: "auto" }, action, nickNode(entry.nick), " ", topic, ...textNodes(entry.text)),
  );
}

const BODIES = {
  said: spoken,
  told: spoken,
  acted: (item) => [
    words("text", make("span", { className: "star" }, "∗ "), nickNode(item.nick), " ", ...textNodes(item.text), " ", timeNode(item.time)),
  ],
  topic_set: (item) => aside(make("bdi", {}, item.nick), " changed the topic: ", make("bdi", {}, ...textNodes(item.text))),
  quiet: (item) => {
    const parts = item.presence.parts();
    return parts.length === 0 ? [] : aside(...partNodes(parts));
  },
  missed: ({ count }) =>
    aside(`${count === 1 ? "1 message is" : `${count} messages are`} missing here: your connection was too slow, and they are gone.`),
  note: (item) => item.lines.flatMap((line) => aside(...textNodes(line))),
  refusal: (item) => item.lines.flatMap((line) => aside(line)),
  rooms: ({ names, more }, { choose }) =>
    names.length === 0
      ? aside("There are no rooms yet. /join ROOM makes one.")
      : choiceList("Rooms there are:", names, more, choose.room),
  people: ({ nicks, more }, { choose }) => choiceList("Here now:", nicks, more, choose.person),
  found: ({ entries, stoppedAt }) => [
    ...(entries.length === 0
      ? aside("Nothing was found.")
      : [make("ol", { className: "found-list" }, ...entries.map(foundEntry))]),
    ...(stoppedAt > 0
      ? aside(`The search stopped, as it took too long: messages before number ${stoppedAt} were not searched.`)
      : []),
  ],
};
