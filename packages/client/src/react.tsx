"use client";

export {
  type Auth,
  AuthProvider,
  type Navigate,
  ProtectedRoute,
  Show,
  useAuth,
  useReturnTo,
  useUser,
} from "./react/core";
export { initialsOf, toneOf } from "./react/initials";
export { LoginForm, type LoginFormProps } from "./react/login-form";
export { RegisterForm, type RegisterFormProps } from "./react/register-form";
export { SessionsList, type SessionsListProps } from "./react/sessions-list";
export { type FieldWords, type Submission, useSubmission } from "./react/submission";
export { type PartsLanguage, type PartsTexts, TextsProvider } from "./react/texts";
export { UserButton, type UserButtonProps } from "./react/user-button";
