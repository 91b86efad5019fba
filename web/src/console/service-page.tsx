import type { ReactNode } from "react";
import { Link } from "wouter";
import { useI18n } from "../i18n";
import { ConsolePage } from "./console-page";

const PARTS = [
  ["/console/service", "service.keys"],
  ["/console/service/branding", "service.branding"],
] as const;

/** The frame of the pages about the service itself. Each has an address of its own, so its parts are links. */
export function ServicePage({
  path,
  actions,
  children,
}: {
  path: (typeof PARTS)[number][0];
  actions?: ReactNode;
  children: ReactNode;
}) {
  const { t } = useI18n();
  return (
    <ConsolePage title="console.service" actions={actions}>
      <nav aria-label={t("console.service")}>
        <ul className="parts">
          {PARTS.map(([href, title]) => (
            <li key={href}>
              <Link href={href} aria-current={href === path ? "page" : undefined}>
                {t(title)}
              </Link>
            </li>
          ))}
        </ul>
      </nav>
      {children}
    </ConsolePage>
  );
}
