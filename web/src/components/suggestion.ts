/** Names of mail services that are often mistyped; the hint is a suggestion and never stands in the way. */
const DOMAINS = [
  "gmail.com",
  "hotmail.com",
  "outlook.com",
  "yahoo.com",
  "icloud.com",
  "outlook.sa",
  "mail.com",
  "ymail.com",
  "live.com",
];

export function suggestedEmail(value: string): string | null {
  const [local, domain] = value.trim().toLowerCase().split("@");
  if (!local || !domain || DOMAINS.includes(domain)) return null;
  const close = DOMAINS.find((candidate) => distance(candidate, domain) === 1);
  return close ? `${value.trim().split("@")[0]}@${close}` : null;
}

/** 1 when one letter is missing, too much, different or swapped; 2 for anything more. */
function distance(a: string, b: string): number {
  if (a === b) return 0;
  if (Math.abs(a.length - b.length) > 1) return 2;
  let i = 0;
  while (i < a.length && a[i] === b[i]) i += 1;
  const rest = (text: string, from: number) => text.slice(from);
  const isOne =
    rest(a, i + 1) === rest(b, i + 1) ||
    rest(a, i) === rest(b, i + 1) ||
    rest(a, i + 1) === rest(b, i) ||
    (a[i] === b[i + 1] && a[i + 1] === b[i] && rest(a, i + 2) === rest(b, i + 2));
  return isOne ? 1 : 2;
}
