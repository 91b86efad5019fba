import { ROLES } from "@josoor/auth";
import { Ellipsis } from "lucide-react";
import { useRef, useState } from "react";
import { Link } from "wouter";
import { useI18n } from "../i18n";
import type { BulkChange } from "./bulk-change";
import type { AdminUser } from "./user-fields";
import { TABS, userAt } from "./user-tabs";

/** What can be done with a user of a list. The browser opens the menu, closes it and gives the focus back. */
export function RowMenu({ user, onChange }: { user: AdminUser; onChange: (change: BulkChange) => void }) {
  const { t } = useI18n();
  const menu = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const [isOpen, setOpen] = useState(false);
  const id = `menu-${user.id}`;
  const close = () => menu.current?.hidePopover?.();
  const change = (what: BulkChange) => () => {
    close();
    onChange(what);
  };
  /** Below the button, towards the side where there is room: the list scrolls, and the menu lies above everything. */
  const place = () => {
    const { bottom, top, left, right } = button.current?.getBoundingClientRect() ?? new DOMRect();
    const [element, isRtl] = [menu.current, document.documentElement.dir === "rtl"];
    if (!element) return;
    const { offsetHeight: height, offsetWidth: width } = element;
    const isBelow = bottom + height < innerHeight || top < height;
    const side = isRtl ? left : right - width;
    element.style.top = `${isBelow ? Math.min(bottom, innerHeight - height) : top - height}px`;
    element.style.left = `${Math.max(0, Math.min(side, innerWidth - width))}px`;
  };
  return (
    <>
      <button
        ref={button}
        type="button"
        className="icon-button"
        popoverTarget={id}
        aria-label={t("row.menu", { email: user.email })}
      >
        <Ellipsis className="icon" />
      </button>
      <div
        ref={menu}
        id={id}
        className="menu placed"
        popover="auto"
        onBeforeToggle={(event) => setOpen(event.newState === "open")}
        onToggle={(event) => event.newState === "open" && place()}
      >
        {isOpen && (
          <>
            {TABS.map((tab) => (
              <Link key={tab} className="menu-item" href={userAt(user.id, tab)}>
                {t(`user_tab.${tab}`)}
              </Link>
            ))}
            <button
              type="button"
              className="menu-item"
              onClick={() => void navigator.clipboard?.writeText(user.email).then(close)}
            >
              {t("row.copy")}
            </button>
            {!user.deleted_at && (
              <>
                <hr />
                {ROLES.filter((role) => role !== user.role).map((role) => (
                  <button type="button" key={role} className="menu-item" onClick={change({ role })}>
                    {t("bulk.make", { role: t(`role.${role}`) })}
                  </button>
                ))}
                <button type="button" className="menu-item" onClick={change({ is_active: !user.is_active })}>
                  {t(user.is_active ? "bulk.deactivate" : "bulk.activate")}
                </button>
              </>
            )}
          </>
        )}
      </div>
    </>
  );
}
