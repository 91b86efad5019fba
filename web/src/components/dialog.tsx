import { type ReactNode, useEffect, useRef } from "react";
import { useI18n } from "../i18n";

/** A modal question. The browser keeps the focus inside; Escape is "no". */
export function Dialog({
  title,
  onClose,
  className,
  children,
}: {
  title: string;
  onClose: () => void;
  /** `large` for a table in it, `opaque` to hide the page behind it. */
  className?: "large" | "opaque";
  children: ReactNode;
}) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = element.current;
    const before = document.activeElement;
    if (dialog && !dialog.open) dialog.showModal();
    return () => {
      dialog?.close();
      // React has taken the dialog off the page by now, and with it what the browser would go back by.
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={element}
      className={className}
      aria-labelledby="dialog-title"
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
    >
      <h2 id="dialog-title">{title}</h2>
      {children}
    </dialog>
  );
}

export function Cancel({ onClick }: { onClick: () => void }) {
  const { t } = useI18n();
  return (
    <button type="button" className="button quiet" onClick={onClick}>
      {t("dialog.cancel")}
    </button>
  );
}
