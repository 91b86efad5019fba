/** What stands before a name without being one: the article, and "son of". */
const PARTICLES = /^(بن|ابن|bin|ibn|bint|بنت|al|el|de|van|von)$/iu;
const ARTICLE = /^(ال|al-|el-)(?=\p{L}{2})/iu;

/**
 * The initials of a name, of its first and last word; of an address its first letter. Arabic letters would join, so that a thin space
 * keeps them apart.
 */
export function initialsOf(name: string | null, email: string): string {
  const words = (name ?? "")
    .normalize("NFC")
    .split(/\s+/)
    .map((word) => word.replace(/[^\p{L}\p{M}\p{N}-]/gu, ""))
    .filter((word) => /\p{L}/u.test(word) && !PARTICLES.test(word));
  const letter = (word: string) => (/\p{L}/u.exec(word.replace(ARTICLE, ""))?.[0] ?? "").toLocaleUpperCase("en");
  const [first, last] = [words[0], words.length > 1 ? words.at(-1) : undefined];
  if (!first) return letter(email) || "?";
  if (!last) return letter(first);
  const both = [letter(first), letter(last)];
  return both.join(both.some((one) => /\p{Script=Arabic}/u.test(one)) ? "\u2009" : "");
}

/** Which of the six colours stands behind the initials of a user: always the same for one. */
export const toneOf = (id: number): number => (id % 6) + 1;
