import { LANGUAGES, type Language, useI18n } from "../i18n";
import { Frame, useField } from "./fields";

/** The languages, each by its own name. */
export function LanguageSelect({ value, hint }: { value: Language; hint?: string }) {
  const { t } = useI18n();
  const { input, error, aria } = useField("locale", hint);
  return (
    <Frame input={input} label={t("field.language")} hint={hint} error={error}>
      <select key={value} id={input} name="locale" defaultValue={value} autoComplete="language" {...aria}>
        {Object.entries(LANGUAGES).map(([language, name]) => (
          <option key={language} value={language} lang={language}>
            {name}
          </option>
        ))}
      </select>
    </Frame>
  );
}
