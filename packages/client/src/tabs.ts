import { attempt, browserWindow } from "./environment";
import { localStore } from "./storage";
import type { SignOutReason, User } from "./types";

/** What tabs of one browser send to each other. */
export type TabMessage =
  | { type: "signed-out"; reason: SignOutReason }
  | { type: "signed-in" | "refreshed"; access_token: string; expires_in: number; user: User };

/** Carries messages where there is no BroadcastChannel. */
const EVENT = "josoor_auth_event";

export interface Tabs {
  send(message: TabMessage): void;
  close(): void;
}

/** Connects the tabs that use the same name. Outside a browser there are none. */
export function connectTabs(name: string, receive: (message: TabMessage) => void): Tabs {
  const page = browserWindow();
  const channel = page && attempt(() => new BroadcastChannel(name));
  const onMessage = (event: MessageEvent<TabMessage>) => receive(event.data);
  const onStorage = (event: StorageEvent) => {
    if (event.key === EVENT && event.newValue) receive(JSON.parse(event.newValue) as TabMessage);
  };
  if (channel) channel.addEventListener("message", onMessage);
  else page?.addEventListener("storage", onStorage);
  return {
    send(message) {
      if (channel) return channel.postMessage(message);
      // Receivers get a token of their own; one in localStorage would be there for every script.
      const { type } = message;
      const reason = "reason" in message ? message.reason : null;
      // Where it cannot be written, the other tabs find out with their next request.
      attempt(() => localStore()?.setItem(EVENT, JSON.stringify({ type, reason, at: Date.now() })));
    },
    close() {
      channel?.close();
      page?.removeEventListener("storage", onStorage);
    },
  };
}
