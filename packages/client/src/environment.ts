/**
 * The window of a page in a browser; null elsewhere. One process of a server renders for many visitors, so nothing that a process
 * shares may hold the state of one: no channel, no storage and no lock. React Native has a `window` without a document and events.
 */
export function browserWindow(): Window | null {
  const found = globalThis.window as Window | undefined;
  return found?.document && typeof found.addEventListener === "function" ? found : null;
}

/** What reading gives, or null where a browser that blocks site data throws. */
export function attempt<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}
