import { useState } from "react";
import { useI18n } from "../i18n";

/** Copies a text, and says so. */
export function Copy({ text, of, className = "link" }: { text: string; of?: string; className?: string }) {
  const { t } = useI18n();
  const [isCopied, setCopied] = useState(false);
  return (
    <button
      type="button"
      className={className}
      onClick={() => void navigator.clipboard?.writeText(text).then(() => setCopied(true))}
    >
      <span role="status">{t(isCopied ? "user.copied" : "user.copy")}</span>
      {of && <span className="visually-hidden">: {of}</span>}
    </button>
  );
}
