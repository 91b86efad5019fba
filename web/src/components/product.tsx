import { config } from "../config";
import { useI18n } from "../i18n";

/** The product at the top of each page: its logo, its name, or the wordmark of this service. */
export function Wordmark() {
  const { language } = useI18n();
  const { name, hasName, logo, logoDark } = config.branding;
  if (logo)
    return (
      <>
        <img className={logoDark ? "for-light" : undefined} src={logo} alt={name[language]} />
        {logoDark && <img className="for-dark" src={logoDark} alt={name[language]} />}
      </>
    );
  if (hasName) return <b>{name[language]}</b>;
  return (
    <>
      <svg viewBox="0 0 32 32" width="28" height="28" aria-hidden="true">
        <path
          d="M3 23C6 9 26 9 29 23M3 23h26M10 23v-8M16 23V12.5M22 23v-8"
          fill="none"
          stroke="currentColor"
          strokeWidth="2.5"
          strokeLinecap="round"
        />
      </svg>
      <b lang="ar">جسور</b>
      <b>JOSOOR</b>
    </>
  );
}

/** Help, terms and privacy, below each page, where they are configured. */
export function ProductLinks() {
  const { t } = useI18n();
  const { support, terms, privacy } = config.branding;
  if (!support && !terms && !privacy) return null;
  const link = (address: string | null, text: string) =>
    address && (
      <a href={address} target="_blank" rel="noopener">
        {text}
      </a>
    );
  return (
    <footer className="foot">
      {link(support, t("layout.support"))}
      {link(terms, t("layout.terms"))}
      {link(privacy, t("layout.privacy"))}
    </footer>
  );
}
