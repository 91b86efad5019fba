import { useAuth, useReturnTo } from "@josoor/auth/react";
import { type ReactNode, useEffect } from "react";
import { at } from "../config";
import { Loading } from "./notice";

/** Where to go from here, with the way back kept. */
export function withReturnTo(path: string): string {
  const search = new URLSearchParams(location.search).get("return_to");
  return search ? `${path}?return_to=${encodeURIComponent(search)}` : path;
}

/**
 * Goes back to where the sign-in began, once the user is signed in: here or, meanwhile, in another tab. A full load, because the place
 * may be a page of another program of this site.
 */
export function UnlessSignedIn({ children }: { children: ReactNode }) {
  const { status, hasRole } = useAuth();
  const returnTo = useReturnTo(at(hasRole("admin") ? "/console" : "/account"));
  useEffect(() => {
    if (status === "signed-in") location.replace(returnTo);
  }, [status, returnTo]);
  // Until it is known who the user is, the page can be used already.
  return status === "signed-in" ? <Loading /> : children;
}
