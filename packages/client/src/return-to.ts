/**
 * The path to go back to after a sign-in, if the given one leads nowhere else: an address of another site in it would make the
 * sign-in page a tool for phishing (open redirect, CWE-601).
 */
export function safeReturnTo(value: string | null | undefined, fallback = "/"): string {
  // Browsers drop tabs and line ends inside an address and read "\" as "/".
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what has to be found
  if (!value || !/^\/(?![/\\])/.test(value) || /[\u0000-\u001f\u007f\\]/.test(value)) return fallback;
  try {
    const origin = "https://return-to.invalid";
    const url = new URL(value, origin);
    const path = url.pathname + url.search + url.hash;
    // "/.//elsewhere" becomes "//elsewhere" once it is resolved.
    return url.origin === origin && !path.startsWith("//") ? path : fallback;
  } catch {
    return fallback;
  }
}
