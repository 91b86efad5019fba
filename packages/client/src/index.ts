export { createAuthClient } from "./client";
export { AuthError, type AuthErrorKind, type FieldError, isAuthError, type MfaNeeded } from "./errors";
export { safeReturnTo } from "./return-to";
export { hasRole, ROLES } from "./roles";
export type { TokenStorage } from "./storage";
export type * from "./types";
