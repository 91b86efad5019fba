import axios, { type AxiosAdapter, type AxiosError, AxiosHeaders, type AxiosInstance, type AxiosResponse } from "axios";
import { meaningOf } from "./errors";
import { type AuthClient, isAuthError } from "./index";

type Config = Parameters<AxiosAdapter>[0];
type Marked = Config & { authRetried?: boolean };

/** Gives the address that axios's own adapters send to, whatever the defaults of the instance are by now. */
const plain = new axios.Axios({});

/**
 * Makes an axios instance send the access token, and answer a 401 by one refresh and one more try. Requests at the same time
 * share the refresh. The token goes where `client.isTrusted` says, which is asked after all interceptors have run, and
 * again at a redirect. Gives the function that takes it off again.
 */
export function attachAuth(instance: AxiosInstance, client: AuthClient): () => void {
  /** What each guard stands before, so that a second try gets one guard and not two. */
  const guarded = new WeakMap<object, Config["adapter"]>();
  /** The tokens that requests were sent with. Not in the configuration, which programs write into their logs. */
  const tried = new WeakMap<object, string>();

  /** The last step before the network: nothing changes the address after it. */
  function guard(inner: Config["adapter"]): AxiosAdapter {
    const adapt: AxiosAdapter = async (config) => {
      const adapter = axios.getAdapter(inner, config);
      const url = plain.getUri({ ...config, params: undefined });
      // A header that the caller set stays. A socket is another address than the one that was checked.
      if (config.headers.has("Authorization") || config.socketPath || !client.isTrusted(url)) return adapter(config);
      let token: string;
      try {
        token = await client.getAccessToken();
      } catch (error) {
        // Signed out: the API says what it makes of a request without a token.
        if (!isAuthError(error) || error.kind !== "signed_out") throw error;
        return adapter(config);
      }
      tried.set(config, token);
      const sent: Config = {
        ...config,
        headers: AxiosHeaders.from(config.headers).concat({ Authorization: `Bearer ${token}` }),
        // Node.js: a redirect may lead anywhere, and to a subdomain the header would be passed on.
        beforeRedirect(options, ...details) {
          config.beforeRedirect?.(options, ...details);
          if (client.isTrusted(String(options.href))) return;
          for (const name of Object.keys(options.headers))
            if (name.toLowerCase() === "authorization") delete options.headers[name];
        },
        fetchOptions: {
          ...config.fetchOptions,
          redirect: config.fetchOptions?.redirect === "manual" ? "manual" : "error",
        },
      };
      // For the same reason answers and errors carry the configuration from before.
      const forget = (holder: { config?: Config } | undefined) => {
        if (holder?.config) holder.config = config;
      };
      try {
        const response = await adapter(sent);
        forget(response);
        return response;
      } catch (error) {
        const failure = error as Partial<AxiosError> & { response?: AxiosResponse };
        forget(failure);
        forget(failure.response);
        throw error;
      }
    };
    guarded.set(adapt, inner);
    return adapt;
  }

  const onRequest = instance.interceptors.request.use((config) => {
    const chosen = config.adapter ?? instance.defaults.adapter ?? axios.defaults.adapter;
    config.adapter = guard((chosen && guarded.get(Object(chosen))) ?? chosen);
    return config;
  });
  const onResponse = instance.interceptors.response.use(undefined, async (error: AxiosError<{ code?: string }>) => {
    const config = error.config as Marked | undefined;
    const { response } = error;
    const used = config && tried.get(config);
    if (response?.status !== 401 || !used || config.authRetried) throw error;
    const code = response.data?.code;
    const meaning = meaningOf(
      typeof code === "string" ? code : null,
      String(response.headers["www-authenticate"] ?? ""),
    );
    // The service knows best whether the session is over; asking it keeps the client's state true.
    if (meaning === "over") await client.me().catch(() => {});
    if (meaning !== "stale") throw error;
    config.authRetried = true;
    // Another request may have got a newer one already.
    try {
      const newest = await client.getAccessToken();
      if (newest === used) await client.refresh();
    } catch (refused) {
      // The session is over, which the client reports to its listeners; the caller gets the answer that the API gave.
      throw isAuthError(refused) && refused.kind === "signed_out" ? error : refused;
    }
    return instance.request(config);
  });
  return () => {
    instance.interceptors.request.eject(onRequest);
    instance.interceptors.response.eject(onResponse);
  };
}
