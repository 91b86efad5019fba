import { useState } from "react";

/**
 * The one-time token of a link. It stands behind "#", which browsers keep to themselves, and is taken out of the address as
 * soon as it is read, so that it stays in no history and in no picture of the screen.
 */
export function useLinkToken(): string | null {
  const [token] = useState(() => {
    // React may ask twice for the first state; the address has the token only once.
    kept ??= new URLSearchParams(location.hash.slice(1)).get("token");
    return kept;
  });
  if (location.hash.includes("token=")) history.replaceState(history.state, "", location.pathname + location.search);
  return token;
}

let kept: string | null = null;

// A second link opened in the same tab changes only what stands behind "#", which loads no page by itself.
addEventListener("hashchange", () => {
  if (location.hash.includes("token=")) {
    kept = null;
    location.reload();
  }
});
