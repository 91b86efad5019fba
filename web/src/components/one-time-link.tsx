import { isAuthError } from "@josoor/auth";
import { type ReactNode, useState } from "react";
import { useI18n } from "../i18n";
import { Done, Page } from "./page";

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

/** What can be wrong with a link. */
export type BadLink = "link_invalid" | "link_expired" | "link_used";

/** What is wrong with the link that a request was about, if that is what failed. */
export function badLink(error: unknown): BadLink | null {
  const codes: BadLink[] = ["link_invalid", "link_expired", "link_used"];
  return codes.find((code) => isAuthError(error, code)) ?? null;
}

/** The page of a link that does not work: why, and, as its children, what to do instead. */
export function LinkProblem({
  bad,
  kind,
  children,
}: {
  bad: BadLink;
  kind: "reset" | "verify" | "setup" | "secure" | "undo";
  children: ReactNode;
}) {
  const { t } = useI18n();
  return (
    <Page>
      <Done title={t(`link.${bad}`)}>
        <p>{t(`${kind}.${bad}`)}</p>
        {children}
      </Done>
    </Page>
  );
}
