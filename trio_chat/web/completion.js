// Completion of commands, nicks and rooms.

const MOST = 30;

// Completes the word at `caret`. Returns `{ from, to, options, chosen }`, or null if there is nothing
// to complete. Each option is `{ insert, label, hint }`, and `chosen` is the selected one.
//
// `words` has the known commands, nicks and rooms, and the nicks that are `here`. `isAsked` means that
// the Tab key asked, and not just typing.
export function complete(text, caret, { commands, nicks, here, rooms }, isAsked) {
  const before = text.slice(0, caret);
  const word = before.match(/\S*$/u)[0];
  const from = caret - word.length;
  const result = (options) => (options.length === 0 ? null : { from, to: caret, options: options.slice(0, MOST) });
  if (from === 0 && word.startsWith("/")) {
    return result(commandOptions(commands, word.slice(1)));
  }
  const [, command] = before.match(/^\/(\S+) +\S*$/u) ?? [];
  if (command === "join") {
    return result(nameOptions(rooms, word, ""));
  }
  if (command === "help") {
    return result(nameOptions(commands.map(({ name }) => name), word, ""));
  }
  if (["tell", "check", "invite", "ignore"].includes(command)) {
    return result(nameOptions(nicks, word, " "));
  }
  if (["role", "kick", "mute", "ban", "remove", "report"].includes(command)) {
    return result(nameOptions(here, word, " "));
  }
  if (word.startsWith("@")) {
    const offer = result(nameOptions(here, word.slice(1), " ", "@"));
    return offer && { ...offer, chosen: word === "@" ? null : 0 };
  }
  if (!isAsked || word === "") {
    return null;
  }
  if (word.startsWith("#")) {
    return result(nameOptions(rooms, word, " "));
  }
  return result(nameOptions(nicks, word, from === 0 ? ": " : " "));
}

function commandOptions(commands, start) {
  return commands
    .filter(({ name }) => name.startsWith(start.toLowerCase()))
    .map(({ name, usage, help }) => ({
      insert: usage.includes(" ") ? `/${name} ` : `/${name}`,
      label: usage,
      hint: help,
    }));
}

function nameOptions(names, start, end, before = "") {
  const folded = start.toLowerCase();
  return [...new Set(names)]
    .filter((name) => name.toLowerCase().startsWith(folded) || name.toLowerCase().startsWith(`#${folded}`))
    .sort((one, other) => one.localeCompare(other))
    .map((name) => ({ insert: before + name + end, label: name, hint: "" }));
}
