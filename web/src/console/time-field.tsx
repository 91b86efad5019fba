import { useId, useState } from "react";
import { useI18n } from "../i18n";

/** A moment as the browser's field for it wants it: in local time, without a zone. */
function local(moment: string): string {
  if (!moment) return "";
  const time = new Date(moment);
  return new Date(time.getTime() - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/**
 * A date and a time. The browser's field has the order of the browser's language; what was chosen stands below it in the language of the
 * page, with the month by its name.
 */
export function TimeField({ name, label, value }: { name: string; label: string; value: string }) {
  const { dateTime } = useI18n();
  const id = useId();
  const [chosen, setChosen] = useState(local(value));
  return (
    <div className="field">
      <label htmlFor={name}>{label}</label>
      <input
        id={name}
        name={name}
        type="datetime-local"
        autoComplete="off"
        aria-describedby={id}
        defaultValue={chosen}
        onChange={(event) => setChosen(event.target.value)}
      />
      <p className="hint" id={id} role="status">
        {chosen && !Number.isNaN(Date.parse(chosen)) && dateTime(chosen)}
      </p>
    </div>
  );
}
