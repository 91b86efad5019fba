import type { I18n } from "../i18n";

/** The name of a device in the page's language. The service gives it as `Firefox on Linux`, or as `Unknown device`. */
export function deviceName({ t }: Pick<I18n, "t">, name: string): string {
  if (name === "" || name === "Unknown device") return t("sessions.unknown_device");
  const [program, system] = name.split(" on ");
  return program && system ? t("sessions.device", { program, system }) : name;
}
