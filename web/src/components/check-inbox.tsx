import { config } from "../config";
import { useI18n } from "../i18n";
import { Form } from "./form";
import { MailHint } from "./notice";
import { Done, Page } from "./page";

/** Says where a message went, the same for every address. It can be sent again, or to another address. */
export function CheckInbox({
  kind,
  email,
  onAgain,
  onOther,
}: {
  kind: "register" | "forgot";
  email: string;
  onAgain: () => Promise<void>;
  onOther: () => void;
}) {
  const { t } = useI18n();
  return (
    <Page>
      <Done title={t("inbox.title")}>
        <p>{t(`${kind}.sent`, { email })}</p>
        <p>{t(`${kind}.sent_more`)}</p>
        <Form submit={t(`${kind}.again`)} done={t("form.sent")} onSubmit={onAgain} />
        <p>
          <button type="button" className="link" onClick={onOther}>
            {t("inbox.other_email")}
          </button>
        </p>
        <MailHint isOn={config.devMail} />
      </Done>
    </Page>
  );
}
