import { X } from "lucide-react";
import { createContext, type ReactNode, useCallback, useContext, useEffect, useState } from "react";
import { useI18n } from "../i18n";
import { messageOf } from "./form";

/** Takes a change back; a text that it gives is said then. */
type Undo = () => Promise<unknown>;
type Say = (text: string, undo?: Undo) => void;

interface Message {
  text: string;
  undo?: Undo | undefined;
  /** It stays until it is closed. */
  isFailure?: boolean;
}

/** For how long a message stays, in milliseconds; longer where a change can be undone. */
const PLAIN = 8_000;
const WITH_UNDO = 30_000;

const Context = createContext<Say>(() => {});

/** Says that something is done, with a button that takes it back where one request can. */
export const useToast = () => useContext(Context);

/** Shows the newest message, below whatever page comes next. */
export function Toasts({ children }: { children: ReactNode }) {
  const [message, setMessage] = useState<Message | null>(null);
  const say = useCallback<Say>((text, undo) => setMessage({ text, undo }), []);
  return (
    <Context value={say}>
      {children}
      {/* Here before there is anything to say: screen readers read what changes in it. */}
      <div className="toasts" role="status">
        {message && <Toast message={message} onChange={setMessage} />}
      </div>
    </Context>
  );
}

function Toast({ message, onChange }: { message: Message; onChange: (next: Message | null) => void }) {
  const i18n = useI18n();
  const { t } = i18n;
  const [isHeld, setHeld] = useState(false);
  const [isPending, setPending] = useState(false);
  const { text, undo, isFailure } = message;
  useEffect(() => {
    setPending(false);
    if (isHeld || isFailure) return;
    const timer = setTimeout(() => onChange(null), message.undo ? WITH_UNDO : PLAIN);
    return () => clearTimeout(timer);
  }, [message, isHeld, isFailure, onChange]);
  const leave = (next: Message | null) => {
    // The button that was pressed is gone.
    document.getElementById("main")?.focus({ preventScroll: true });
    setHeld(false);
    onChange(next);
  };
  const run = async (act: Undo) => {
    setPending(true);
    try {
      const said = await act();
      leave({ text: typeof said === "string" ? said : t("toast.undone") });
    } catch (error) {
      leave({ text: messageOf(error, i18n), isFailure: true });
    }
  };
  return (
    <div
      role="group"
      className={isFailure ? "toast notice bad" : "toast notice done"}
      onPointerEnter={() => setHeld(true)}
      onPointerLeave={() => setHeld(false)}
      onFocus={() => setHeld(true)}
      onBlur={() => setHeld(false)}
    >
      <p>{text}</p>
      {undo && (
        <button
          type="button"
          className="button quiet"
          aria-disabled={isPending}
          onClick={() => void (isPending || run(undo))}
        >
          {t("toast.undo")}
        </button>
      )}
      <button type="button" className="icon-button" aria-label={t("dialog.close")} onClick={() => leave(null)}>
        <X className="icon" />
      </button>
    </div>
  );
}
