import { type AuthClient, AuthError } from "@josoor/auth";
import { config } from "../config";

/** Saves what a path answers as a file. The token goes in a header, so a plain link would not do. */
export async function download(client: AuthClient, path: string, file: string): Promise<void> {
  const response = await client.fetch(`${config.base}${path}`);
  if (!response.ok) throw new AuthError({ kind: "failed", code: `http_${response.status}`, status: response.status });
  save(await response.blob(), file);
}

/** Saves a file. */
export function save(content: Blob, file: string) {
  const address = URL.createObjectURL(content);
  const link = document.createElement("a");
  link.href = address;
  link.download = file;
  link.click();
  URL.revokeObjectURL(address);
}
