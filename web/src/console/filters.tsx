import type { Ref } from "react";
import { useI18n } from "../i18n";

/** A filter with few values; "" is any. */
export function SelectFilter({
  name,
  label,
  value,
  options,
  onChange,
  hasAny = true,
  ref,
}: {
  name: string;
  label: string;
  value: string | undefined;
  options: [value: string, label: string][];
  onChange: (value: string) => void;
  /** Whether "any" can be chosen. */
  hasAny?: boolean;
  ref?: Ref<HTMLSelectElement>;
}) {
  const { t } = useI18n();
  return (
    <div className="field">
      <label htmlFor={name}>{label}</label>
      <select ref={ref} id={name} value={value} onChange={(event) => onChange(event.target.value)}>
        {hasAny && <option value="">{t("users.any")}</option>}
        {options.map(([option, text]) => (
          <option key={option} value={option}>
            {text}
          </option>
        ))}
      </select>
    </div>
  );
}
