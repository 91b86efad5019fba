import { useAuth } from "@josoor/auth/react";
import { SessionFacts } from "../components/session-facts";
import { RemovableList } from "./removable-list";

export function Sessions() {
  const { sessions } = useAuth().client;
  return (
    <RemovableList
      kind="sessions"
      list={sessions.list}
      remove={sessions.revoke}
      removeAll={sessions.revokeOthers}
      keepsCurrent
      refetchInterval={30_000}
    >
      {(session) => <SessionFacts session={session} />}
    </RemovableList>
  );
}
