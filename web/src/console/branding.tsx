import { Fragment, useState } from "react";
import { at, config } from "../config";
import { LANGUAGES, type Language, useI18n } from "../i18n";
import { SelectFilter } from "./filters";
import { ServicePage } from "./service-page";

const SAMPLES = ["sign-in", "notice", "mail"] as const;
type Sample = (typeof SAMPLES)[number];
type Theme = "light" | "dark";
const EVERY: [Language, Theme][] = [
  ["en", "light"],
  ["en", "dark"],
  ["ar", "light"],
  ["ar", "dark"],
];

/** What visitors see, in both languages and themes, on a phone and enlarged. */
export function Branding() {
  const { t } = useI18n();
  const [sample, setSample] = useState<Sample>("sign-in");
  // Mails are light.
  const shown = EVERY.filter(([, theme]) => sample !== "mail" || theme === "light");
  const { name, support, terms, privacy } = config.branding;
  const links = [
    [t("layout.support"), support],
    [t("layout.terms"), terms],
    [t("layout.privacy"), privacy],
  ] as const;
  return (
    <ServicePage path="/console/service/branding">
      <p>{t("branding.lead")}</p>
      <dl className="facts">
        <dt>{t("branding.name")}</dt>
        <dd>
          <bdi lang="en">{name.en}</bdi> · <bdi lang="ar">{name.ar}</bdi>
        </dd>
        {links.map(
          ([title, address]) =>
            address && (
              <Fragment key={title}>
                <dt>{title}</dt>
                <dd>
                  <bdi dir="ltr">{address}</bdi>
                </dd>
              </Fragment>
            ),
        )}
      </dl>
      <div className="filters">
        <SelectFilter
          name="sample"
          label={t("branding.sample")}
          value={sample}
          hasAny={false}
          options={SAMPLES.map((one) => [one, t(`branding.sample_${one}`)])}
          onChange={(value) => setSample(SAMPLES.find((one) => one === value) ?? "sign-in")}
        />
      </div>
      <Samples title={t("branding.phone")} sample={sample} of={shown} />
      <Samples
        title={t("branding.zoomed")}
        sample={sample}
        of={shown.filter(([, theme]) => theme === "light")}
        className="zoomed"
      />
    </ServicePage>
  );
}

function Samples({
  title,
  sample,
  of,
  className,
}: {
  title: string;
  sample: Sample;
  of: [Language, Theme][];
  className?: string;
}) {
  const { t } = useI18n();
  return (
    <section aria-label={title}>
      <h2>{title}</h2>
      <div className="samples">
        {of.map(([language, theme]) => {
          const caption = `${LANGUAGES[language]} · ${t(`menu.theme_${theme}`)}`;
          return (
            <figure key={caption}>
              <figcaption>{caption}</figcaption>
              {/* Nothing in it runs: a page to look at. */}
              <iframe
                className={className}
                title={`${title}: ${caption}`}
                sandbox="allow-same-origin"
                src={at(`/branding/samples/${sample}?lang=${language}&theme=${theme}`)}
              />
            </figure>
          );
        })}
      </div>
    </section>
  );
}
