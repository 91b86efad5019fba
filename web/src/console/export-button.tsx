import { AuthError } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { Download } from "lucide-react";
import { config } from "../config";
import { useI18n } from "../i18n";

/** Saves an export of what a list shows. The token goes in a header, so a plain link would not do. */
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
  const download = async () => {
    const search = new URLSearchParams({ format: "csv", bom: "true" });
    for (const [name, value] of Object.entries(query)) if (value) search.set(name, value);
    const response = await client.fetch(`${config.base}${path}?${search}`);
    if (!response.ok) throw new AuthError({ kind: "failed", code: `http_${response.status}`, status: response.status });
    const address = URL.createObjectURL(await response.blob());
    const link = document.createElement("a");
    link.href = address;
    link.download = file;
    link.click();
    URL.revokeObjectURL(address);
  };
  return (
    <button type="button" className="button quiet" onClick={() => void download().catch(onFailure)}>
      <Download className="icon" />
      {t("users.export")}
    </button>
  );
}
