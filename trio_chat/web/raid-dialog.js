// The dialog of a raid: its place, its time, and the age at which people are newcomers.

import { onSubmit, sentence, show } from "./dialogs.js";
import { byId, make, options } from "./dom.js";

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const END = 0;
const TIMES = [
  [10 * MINUTE, "10 minutes"],
  [30 * MINUTE, "30 minutes"],
  [2 * HOUR, "2 hours"],
  [24 * HOUR, "1 day"],
  [END, "End it now"],
];
const SINCE = [
  [5 * MINUTE, "The last 5 minutes"],
  [30 * MINUTE, "The last 30 minutes"],
  [2 * HOUR, "The last 2 hours"],
  [24 * HOUR, "The last day"],
];
const USUAL = 30 * MINUTE;
const EFFECTS = {
  here: "Messages of newcomers wait for a moderator of the room. It ends by itself.",
  everywhere: "Newcomers can only read. They make neither rooms nor accounts. It ends by itself.",
};

export class RaidDialog {
  constructor(moderation) {
    this.moderation = moderation;
    this.dialog = byId("raid");
    byId("raid-time").replaceChildren(...options(TIMES));
    byId("raid-since").replaceChildren(...options(SINCE));
    byId("raid-where").onchange = () => this.#show();
    byId("raid-time").onchange = () => this.#show();
    byId("raid-cancel").onclick = () => this.dialog.close();
  }

  open(place) {
    this.place = place;
    byId("raid-title").replaceChildren("Raid on ", make("bdi", {}, place.name));
    byId("raid-where-part").hidden = place.role !== "server";
    byId("raid-where").replaceChildren(...options([["here", place.name], ["everywhere", "The whole server"]]));
    byId("raid-time").value = `${USUAL}`;
    byId("raid-since").value = `${SINCE[0][0]}`;
    byId("raid-error").textContent = "";
    this.#show();
    show(this.dialog);
    onSubmit(byId("raid-form"), () => this.#submit(), (error) => {
      byId("raid-error").textContent = sentence(error);
    });
    byId("raid-time").focus();
  }

  #show() {
    byId("raid-effect").textContent = EFFECTS[byId("raid-where").value];
    byId("raid-since-part").hidden = Number(byId("raid-time").value) === END;
  }

  #submit() {
    const isEverywhere = byId("raid-where").value === "everywhere";
    const [seconds, since] = ["raid-time", "raid-since"].map((id) => Number(byId(id).value));
    return this.moderation.raid(this.place, { isEverywhere, seconds, since });
  }
}
