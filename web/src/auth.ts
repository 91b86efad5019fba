import { createAuthClient } from "@josoor/auth";
import { verifyAgain } from "./asking";
import { config } from "./config";

/** The one client of these pages: the refresh token is a cookie that no script can read, the access token stays in memory. */
export const auth = createAuthClient({
  baseUrl: config.base,
  locale: () => document.documentElement.lang,
  onStepUpRequired: verifyAgain,
});
