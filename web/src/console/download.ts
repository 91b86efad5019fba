import type { AuthClient } from "@josoor/auth";
import { AuthError } from "@josoor/auth";
import { config } from "../config";

/** Saves what an export gives. The token goes in a header, so a plain link would not do. */
export async function download(client: AuthClient, path: string, query: URLSearchParams, name: string): Promise<void> {
  const response = await client.fetch(`${config.base}${path}?${query}`);
  if (!response.ok) throw new AuthError({ kind: "failed", code: `http_${response.status}`, status: response.status });
  const address = URL.createObjectURL(await response.blob());
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  URL.revokeObjectURL(address);
}
