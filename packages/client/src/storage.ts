import { attempt, browserWindow } from "./environment";

/** Where tokens are kept when they are not kept by the cookie. */
export interface TokenStorage {
  get(key: string): string | null | Promise<string | null>;
  set(key: string, value: string): void | Promise<void>;
  remove(key: string): void | Promise<void>;
}

/**
 * `localStorage` of a browser, or null where reading it throws (blocked cookies, sandboxed frames). Node.js has one since version 25,
 * which all visitors of a server would share.
 */
export const localStore = (): Storage | null => browserWindow() && attempt(() => globalThis.localStorage);

const browser: TokenStorage = {
  get: (key) => localStore()?.getItem(key) ?? null,
  set: (key, value) => {
    const store = localStore();
    if (!store) throw new Error("there is no localStorage");
    store.setItem(key, value);
  },
  remove: (key) => localStore()?.removeItem(key),
};

/**
 * A storage that never fails: what cannot be written (full, forbidden) is kept in memory, so that the user stays signed in until the page
 * is closed.
 */
export function reliable(choice: "localStorage" | "memory" | TokenStorage): Required<TokenStorage> {
  const memory = new Map<string, string>();
  const store = choice === "memory" ? null : choice === "localStorage" ? browser : choice;
  return {
    async get(key) {
      if (memory.has(key)) return memory.get(key) ?? null;
      try {
        return (await store?.get(key)) ?? null;
      } catch {
        return null;
      }
    },
    async set(key, value) {
      try {
        if (!store) throw 0;
        await store.set(key, value);
        memory.delete(key);
      } catch {
        memory.set(key, value);
      }
    },
    async remove(key) {
      memory.delete(key);
      try {
        await store?.remove(key);
      } catch {
        // What could not be written need not be removed either.
      }
    },
  };
}
