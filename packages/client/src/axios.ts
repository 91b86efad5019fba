import type { AxiosError, AxiosInstance, InternalAxiosRequestConfig } from "axios";
import { type AuthClient, isAuthError } from "./index";

/**
 * Makes an axios instance send the access token, and answer a 401 by one refresh and one more try. Requests at the same time
 * share the refresh. Gives the function that takes it off again.
 */
export function attachAuth(instance: AxiosInstance, client: AuthClient): () => void {
  type Marked = InternalAxiosRequestConfig & { authTried?: string };
  const onRequest = instance.interceptors.request.use(async (config: Marked) => {
    // Who set a header of their own means it.
    if (config.headers.has("Authorization") && config.authTried === undefined) return config;
    try {
      config.authTried = await client.getAccessToken();
      config.headers.set("Authorization", `Bearer ${config.authTried}`);
    } catch (error) {
      // Signed out: the API says what it makes of a request without a token.
      if (!isAuthError(error) || error.kind !== "signed_out") throw error;
    }
    return config;
  });
  const onResponse = instance.interceptors.response.use(undefined, async (error: AxiosError<{ code?: string }>) => {
    const config = error.config as (Marked & { authRetried?: boolean }) | undefined;
    const code = error.response?.data?.code;
    const isStale = code === undefined || code === "token_expired" || code === "token_invalid";
    if (error.response?.status !== 401 || !config?.authTried || config.authRetried) throw error;
    if (!isStale) {
      // The service knows best whether the session is over; asking it keeps the client's state true.
      if (code !== "invalid_credentials") await client.me().catch(() => {});
      throw error;
    }
    config.authRetried = true;
    // Another request may have got a newer one already.
    try {
      const newest = await client.getAccessToken();
      if (newest === config.authTried) await client.refresh();
    } catch (refused) {
      // The session is over, which the client's listeners hear; the caller gets the answer that the API gave.
      throw isAuthError(refused) && refused.kind === "signed_out" ? error : refused;
    }
    return instance.request(config);
  });
  return () => {
    instance.interceptors.request.eject(onRequest);
    instance.interceptors.response.eject(onResponse);
  };
}
