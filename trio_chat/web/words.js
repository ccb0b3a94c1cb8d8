// Finds words in every script.

// Letters and digits of scripts with spaces between words. In other scripts, each character is a word.
const LETTER = String.raw`[[\p{L}\p{M}\p{N}_]--[\p{sc=Han}\p{sc=Hira}\p{sc=Kana}\p{sc=Thai}\p{sc=Laoo}\p{sc=Khmr}\p{sc=Mymr}]]`;
const ENDS_IN_LETTER = new RegExp(`${LETTER}$`, "v");
const BEGINS_WITH_LETTER = new RegExp(`^${LETTER}`, "v");

export const beginsWithLetter = (text) => BEGINS_WITH_LETTER.test(text);
export const endsInLetter = (text) => ENDS_IN_LETTER.test(text);

// A pattern that finds a nick as a whole word.
export function asWord(nick) {
  const before = beginsWithLetter(nick) ? `(?<!${LETTER})` : "";
  const behind = endsInLetter(nick) ? `(?!${LETTER})` : "";
  const literal = [...nick].map((char) => `\\u{${char.codePointAt(0).toString(16)}}`).join("");
  return new RegExp(`${before}${literal}${behind}`, "iv");
}
