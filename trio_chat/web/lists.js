// What stands beside the messages: rooms and talks, who is here, and the heading.

import { byId, make, nickNode } from "./dom.js";

const MOST_MEMBERS = 300; // that are listed by name
const MOST_COUNTED = 99;

export function drawPlaces(chat, go) {
  const drawn = (place) => placeNode(place, place === chat.current, go);
  replaceKeepingFocus(byId("rooms"), [...chat.rooms.values()].map(drawn));
  replaceKeepingFocus(byId("talks"), [...chat.talks.values()].map(drawn));
  byId("talks-part").hidden = chat.talks.size === 0;
  byId("my-name").textContent = chat.nick;
  byId("elsewhere").hidden = chat.places.every((place) => place === chat.current || place.unread === 0);
}

function placeNode(place, isCurrent, go) {
  const { name, unread, hasMention, kind } = place;
  const button = make(
    "button",
    { type: "button", title: name, onclick: () => go(place) },
    make("bdi", { className: "name" }, name),
  );
  button.dataset.key = `${kind} ${place.key}`;
  if (isCurrent) {
    button.setAttribute("aria-current", "page");
  }
  if (unread > 0) {
    button.append(
      make(
        "span",
        { className: hasMention ? "count mention" : "count" },
        unread > MOST_COUNTED ? `${MOST_COUNTED}+` : `${unread}`,
        make("span", { className: "for-ears" }, hasMention ? " unread, for you" : " unread"),
      ),
    );
  }
  return make("li", { className: unread > 0 ? "unread" : "" }, button);
}

// New nodes for old: whoever stands on one with the keyboard stays there.
function replaceKeepingFocus(list, nodes) {
  const key = list.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  list.replaceChildren(...nodes);
  if (key !== undefined) {
    [...list.querySelectorAll("button")].find((button) => button.dataset.key === key)?.focus();
  }
}

export function drawMembers(chat, talkTo) {
  const place = chat.current;
  const isRoom = place?.kind === "room";
  byId("show-members").hidden = !isRoom;
  document.body.classList.toggle("no-members", !isRoom);
  if (!isRoom) {
    return;
  }
  const count = place.members.size + place.moreMembers;
  byId("member-count").textContent = `${count}`;
  const title = count === 1 ? "1 member" : `${count} members`;
  byId("show-members").setAttribute("aria-label", title);
  byId("show-members").title = title;
  byId("members-title").textContent = title;
  const members = [...place.members].sort(([, one], [, other]) => one.localeCompare(other));
  const nodes = members.slice(0, MOST_MEMBERS).map((member) => memberNode(member, chat, talkTo));
  const more = count - Math.min(members.length, MOST_MEMBERS);
  if (more > 0) {
    nodes.push(make("li", { className: "more" }, `and ${more} more`));
  }
  replaceKeepingFocus(byId("members"), nodes);
}

function memberNode([client, nick], chat, talkTo) {
  if (client === chat.client) {
    return make("li", { className: "self" }, nickNode(nick), make("span", {}, "you"));
  }
  if (nick === "anonymous") {
    return make("li", {}, make("bdi", {}, nick));
  }
  const button = make("button", { type: "button", title: `Talk to ${nick} alone`, onclick: () => talkTo(nick) }, nickNode(nick));
  button.dataset.key = client;
  return make("li", {}, button);
}

export function drawHeading(chat) {
  const place = chat.current;
  byId("place-name").textContent = place?.name ?? "No room";
  const topic = byId("topic");
  topic.hidden = place === null;
  if (place === null) {
    return;
  }
  const isRoom = place.kind === "room";
  topic.disabled = !isRoom;
  topic.textContent = isRoom ? place.topic || "Say what this room is about" : "A private talk";
  topic.classList.toggle("unset", isRoom && place.topic === "");
  const leave = isRoom ? `Leave ${place.name}` : `Close the talk with ${place.name}`;
  byId("leave").setAttribute("aria-label", leave);
  byId("leave").title = leave;
  byId("leave").hidden = false;
  byId("log").setAttribute("aria-label", isRoom ? `Messages in ${place.name}` : `Talk with ${place.name}`);
  const line = byId("line");
  line.placeholder = `Message ${place.name}`;
  byId("line-label").textContent = `Message ${place.name}`;
}
