import { initialsOf, toneOf } from "@josoor/auth/react";

/** A user's initials. Only for the eye: the name or the address always stands beside it. */
export function Avatar({
  user,
  isLarge = false,
}: {
  user: { id: number; full_name: string | null; email: string };
  isLarge?: boolean;
}) {
  return (
    <span className={`avatar tone-${toneOf(user.id)}${isLarge ? " large" : ""}`} aria-hidden="true">
      {initialsOf(user.full_name, user.email)}
    </span>
  );
}
