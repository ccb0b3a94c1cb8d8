// The lists of rooms, talks and members, and the heading.

import { byId, make } from "./dom.js";
import { avatar, nickNode } from "./people.js";
import { moreButton } from "./row-buttons.js";

const MOST_MEMBERS = 300; // that are listed by name
const MOST_COUNTED = 99;
const ORDER = new Intl.Collator();

export function drawPlaces(chat, go) {
  const draw = (list, places) =>
    drawList(byId(list), places, {
      keyOf: ({ key }) => key,
      make: (place) => button(place.name, () => go(place)),
      update: (node, place) => updatePlace(node, place, place === chat.current),
    });
  draw("rooms", [...chat.rooms.values()]);
  draw("talks", [...chat.talks.all.values()]);
  byId("talks-part").hidden = chat.talks.all.size === 0;
  byId("my-name").textContent = chat.nick;
  byId("elsewhere").hidden = chat.places.every((place) => place === chat.current || place.unread === 0);
}

function button(title, onclick) {
  return make("li", {}, make("button", { type: "button", title, onclick }));
}

function updatePlace(node, place, isCurrent) {
  const { name, unread, hasMention } = place;
  const drawn = [name, unread, hasMention, isCurrent].join();
  if (node.drawn === drawn) {
    return;
  }
  node.drawn = drawn;
  const [inside] = node.children;
  inside.title = name;
  const face = place.kind === "talk" ? [avatar(place, place.nick)] : [];
  inside.replaceChildren(...face, make("bdi", { className: "name" }, name));
  if (isCurrent) {
    inside.setAttribute("aria-current", "page");
  } else {
    inside.removeAttribute("aria-current");
  }
  node.classList.toggle("unread", unread > 0);
  if (unread > 0) {
    inside.append(
      make(
        "span",
        { className: hasMention ? "count mention" : "count" },
        unread > MOST_COUNTED ? `${MOST_COUNTED}+` : `${unread}`,
        make("span", { className: "for-ears" }, hasMention ? " unread, for you" : " unread"),
      ),
    );
  }
}

// Updates a list. Existing nodes stay, so that no click and no focus is lost when something else
// changes.
function drawList(list, things, { keyOf, make: makeNode, update }) {
  const known = new Map([...list.children].map((node) => [node.key, node]));
  const nodes = things.map((thing) => {
    const key = keyOf(thing);
    const node = known.get(key) ?? Object.assign(makeNode(thing), { key });
    update(node, thing);
    return node;
  });
  if (nodes.length !== list.children.length || nodes.some((node, index) => node !== list.children[index])) {
    const focused = document.activeElement;
    list.replaceChildren(...nodes);
    if (list.contains(focused)) {
      focused.focus();
    }
  }
}

// `openMenu(button, place, person)` opens the menu of a member, or is null for those who moderate nothing
// here.
export function drawMembers(chat, talkTo, openMenu) {
  const place = chat.current;
  const isRoom = place?.kind === "room";
  byId("show-members").hidden = !isRoom;
  document.body.classList.toggle("no-members", !isRoom);
  if (!isRoom) {
    return;
  }
  // In a large room, most changes are messages and not members.
  const list = byId("members");
  if (list.place === place && list.version === place.membersChanged) {
    return;
  }
  Object.assign(list, { place, version: place.membersChanged });
  const count = place.members.size + place.moreMembers;
  const title = count === 1 ? "1 member" : `${count} members`;
  byId("member-count").textContent = `${count}`;
  byId("show-members").setAttribute("aria-label", title);
  byId("show-members").title = title;
  byId("members-title").textContent = title;
  const members = [...place.members].sort(([, one], [, other]) => ORDER.compare(one, other));
  const shown = members.slice(0, MOST_MEMBERS);
  if (count > shown.length) {
    shown.push(["", `and ${count - shown.length} more`]);
  }
  drawList(list, shown, {
    // A nick's colour depends on the place.
    keyOf: ([client, nick]) => `${place.key} ${client} ${nick} ${client === chat.person} ${openMenu !== null}`,
    make: (member) => memberNode(member, place, chat, { talkTo, openMenu }),
    update: () => {},
  });
}

function memberNode([client, nick], place, chat, { talkTo, openMenu }) {
  if (client === "") {
    return make("li", { className: "more" }, nick);
  }
  if (client === chat.person) {
    return make("li", { className: "self" }, avatar(place, nick), nickNode(place, nick), make("span", {}, "you"));
  }
  const node = button(`Message ${nick} privately`, () => talkTo(client, nick));
  node.firstChild.append(avatar(place, nick), nickNode(place, nick));
  if (openMenu !== null) {
    node.append(moreButton(nick, (button) => openMenu(button, place, { author: client, nick })));
  }
  return node;
}

export function drawHeading(chat) {
  const place = chat.current;
  byId("place-name").textContent = place?.name ?? (chat.session.online ? "No room" : "Not connected");
  const line = byId("line");
  line.placeholder = place ? `Message ${place.name}` : "/join ROOM";
  byId("line-label").textContent = place ? line.placeholder : "Message or command";
  const topic = byId("topic");
  topic.hidden = place === null;
  byId("leave").hidden = place === null;
  if (place === null) {
    return;
  }
  const isRoom = place.kind === "room";
  topic.disabled = !isRoom;
  topic.textContent = isRoom ? place.topic || "Add a topic" : "Private messages";
  topic.title = isRoom ? `${place.topic}\nChange the topic`.trim() : "";
  topic.classList.toggle("unset", isRoom && place.topic === "");
  const leave = isRoom ? `Leave ${place.name}` : `Close the conversation with ${place.name}`;
  byId("leave").setAttribute("aria-label", leave);
  byId("leave").title = leave;
  byId("log").setAttribute("aria-label", isRoom ? `Messages in ${place.name}` : `Talk with ${place.name}`);
}
