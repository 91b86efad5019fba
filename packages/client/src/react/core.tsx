import { createContext, type ReactNode, useContext, useEffect, useMemo, useRef, useSyncExternalStore } from "react";
import { type AuthClient, type AuthState, hasRole, type Role, safeReturnTo, type User } from "../index";

const Context = createContext<AuthClient | null>(null);

/** Makes a client known to everything below, and asks it whether there is a session. The caller disposes of the client. */
export function AuthProvider({ client, children }: { client: AuthClient; children?: ReactNode }): ReactNode {
  useEffect(() => {
    void client.ready();
  }, [client]);
  return <Context.Provider value={client}>{children}</Context.Provider>;
}

/** What is known about the user, and what can be done about it. */
export interface Auth extends AuthState {
  client: AuthClient;
  login: AuthClient["login"];
  logout: AuthClient["logout"];
  register: AuthClient["register"];
  /** Whether the user has at least this role. */
  hasRole(role: Role): boolean;
}

export function useAuth(): Auth {
  const client = useContext(Context);
  if (!client) throw new Error("useAuth needs an <AuthProvider> above it");
  const read = () => client.state;
  const state = useSyncExternalStore(
    useMemo(() => (changed: () => void) => client.onAuthStateChange(changed), [client]),
    read,
    read,
  );
  return useMemo(
    () => ({
      ...state,
      client,
      login: client.login,
      logout: client.logout,
      register: client.register,
      hasRole: (role: Role) => hasRole(state.user, role),
    }),
    [client, state],
  );
}

/** The user, or null. */
export function useUser(): User | null {
  return useAuth().user;
}

/** Shows its children to the users that `when` names. For what is shown only: the service decides by itself. */
export function Show({
  when,
  fallback = null,
  children,
}: {
  when: AuthState["status"] | { role: Role };
  fallback?: ReactNode;
  children?: ReactNode;
}): ReactNode {
  const { status, user } = useAuth();
  const fits = typeof when === "string" ? status === when : hasRole(user, when.role);
  return fits ? children : fallback;
}

/** Where to go after a sign-in: `return_to` of this page's address, if it stays on this site. */
export function useReturnTo(fallback = "/"): string {
  return safeReturnTo(new URLSearchParams(globalThis.location?.search).get("return_to"), fallback);
}

/** How to go to another page. Routers replace the address with these options, so that Back does not lead to a page that redirects. */
export type Navigate = (to: string, options: { replace: true }) => void;

/**
 * Shows its children to signed-in users, to those of at least `requiredRole` if given. Others are sent to sign in, with
 * `return_to` leading back to exactly here. Nothing of the children is shown before the user is known.
 */
export function ProtectedRoute({
  requiredRole,
  children,
  loading = null,
  unavailable = loading,
  signInPath = "/login",
  unauthorizedPath = "/unauthorized",
  navigate = (to) => globalThis.location.replace(to),
}: {
  requiredRole?: Role;
  children?: ReactNode;
  /** Shown until the user is known. */
  loading?: ReactNode;
  /** Shown instead of `loading` while the service cannot be reached, which may last. */
  unavailable?: ReactNode;
  signInPath?: string;
  unauthorizedPath?: string;
  /** Your router's function. */
  navigate?: Navigate;
}): ReactNode {
  const { status, user, connectivity } = useAuth();
  const isMissing = status === "signed-out";
  const isTooLow = status === "signed-in" && requiredRole !== undefined && !hasRole(user, requiredRole);
  const isSent = useRef(false);
  // biome-ignore lint/correctness/useExhaustiveDependencies: a router's function may be another one at every render
  useEffect(() => {
    // StrictMode runs an effect twice, the second time at the address that the first one went to.
    if (isSent.current || !(isMissing || isTooLow)) return;
    isSent.current = true;
    setTimeout(() => {
      isSent.current = false;
    });
    const { pathname = "/", search = "", hash = "" } = globalThis.location ?? {};
    const mark = signInPath.includes("?") ? "&" : "?";
    const signIn = `${signInPath}${mark}return_to=${encodeURIComponent(pathname + search + hash)}`;
    navigate(isMissing ? signIn : unauthorizedPath, { replace: true });
  }, [isMissing, isTooLow, signInPath, unauthorizedPath]);
  if (status === "signed-in" && !isTooLow) return children;
  return status === "loading" && connectivity !== "online" ? unavailable : loading;
}
