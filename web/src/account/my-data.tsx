import { useAuth } from "@josoor/auth/react";
import { FileDown } from "lucide-react";
import { useState } from "react";
import { download } from "../components/download";
import { messageOf } from "../components/form";
import { Notice } from "../components/notice";
import { useI18n } from "../i18n";

/** Everything that is kept about the user, as one file. */
export function MyData() {
  const i18n = useI18n();
  const { t } = i18n;
  const { client } = useAuth();
  const [failure, setFailure] = useState<unknown>(null);
  const save = async () => {
    setFailure(null);
    await download(client, "/auth/me/export", "josoor-account.json");
  };
  return (
    <section className="card" aria-labelledby="my-data">
      <h2 id="my-data">{t("story.download")}</h2>
      <p>{t("story.download_lead")}</p>
      {failure !== null && <Notice kind="bad">{messageOf(failure, i18n)}</Notice>}
      <p className="actions">
        <button type="button" className="button quiet" onClick={() => void save().catch(setFailure)}>
          <FileDown className="icon" />
          {t("story.download")}
        </button>
      </p>
    </section>
  );
}
