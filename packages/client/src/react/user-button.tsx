import { type ReactNode, useEffect, useId, useRef, useState } from "react";
import { useAuth } from "./core";
import { initialsOf, toneOf } from "./initials";
import { useWords } from "./texts";

export interface UserButtonProps {
  className?: string;
  /** Where the user's own page is: the service's by default; null for no link. */
  accountPath?: string | null;
  /** Called after the sign-out. */
  onSignedOut?: () => void;
  /** Entries of your own, between the account and the sign-out. */
  children?: ReactNode;
}

/** The initials of the signed-in user, which open a menu: the account, entries of your own, signing out. Nothing for visitors. */
export function UserButton({ className, accountPath = "/account", onSignedOut, children }: UserButtonProps): ReactNode {
  const { user, logout } = useAuth();
  const { t, language, dir } = useWords();
  const [isOpen, setOpen] = useState(false);
  const frame = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const id = useId();
  useEffect(() => {
    if (!isOpen) return;
    const outside = (event: Event) => {
      if (!frame.current?.contains(event.target as Node)) setOpen(false);
    };
    const pressed = (event: KeyboardEvent) => {
      if (event.key !== "Escape") return;
      setOpen(false);
      button.current?.focus();
    };
    document.addEventListener("pointerdown", outside);
    document.addEventListener("focusin", outside);
    document.addEventListener("keydown", pressed);
    return () => {
      document.removeEventListener("pointerdown", outside);
      document.removeEventListener("focusin", outside);
      document.removeEventListener("keydown", pressed);
    };
  }, [isOpen]);
  if (!user) return null;
  const name = user.full_name ?? user.email;
  return (
    <div className={`ja-user${className ? ` ${className}` : ""}`} ref={frame} lang={language} dir={dir}>
      <button
        ref={button}
        type="button"
        className="ja-avatar"
        data-tone={toneOf(user.id)}
        aria-expanded={isOpen}
        aria-controls={id}
        aria-label={t("user.menu", { name })}
        onClick={() => setOpen(!isOpen)}
      >
        <span aria-hidden="true">{initialsOf(user.full_name, user.email)}</span>
      </button>
      <div className="ja-menu" id={id} hidden={!isOpen}>
        <p>
          <bdi>{name}</bdi>
          {user.full_name && <bdi dir="ltr">{user.email}</bdi>}
        </p>
        {accountPath && <a href={accountPath}>{t("user.account")}</a>}
        {children}
        <button
          type="button"
          onClick={() => {
            setOpen(false);
            void logout().then(onSignedOut);
          }}
        >
          {t("user.sign_out")}
        </button>
      </div>
    </div>
  );
}
