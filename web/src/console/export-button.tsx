import { useAuth } from "@josoor/auth/react";
import { Download } from "lucide-react";
import { download } from "../components/download";
import { useI18n } from "../i18n";

/** Saves an export of what a list shows. */
export function ExportButton({
  path,
  query,
  file,
  onFailure,
}: {
  path: string;
  query: Record<string, string | undefined>;
  file: string;
  onFailure: (error: unknown) => void;
}) {
  const { t } = useI18n();
  const { client } = useAuth();
  const save = async () => {
    const search = new URLSearchParams({ format: "csv", bom: "true" });
    for (const [name, value] of Object.entries(query)) if (value) search.set(name, value);
    await download(client, `${path}?${search}`, file);
  };
  return (
    <button type="button" className="button quiet" onClick={() => void save().catch(onFailure)}>
      <Download className="icon" />
      {t("users.export")}
    </button>
  );
}
