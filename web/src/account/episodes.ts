import type { Schemas } from "@josoor/auth";
import { deviceName } from "../components/device-name";
import type { I18n } from "../i18n";

export type Row = Schemas["ActivityResponse"];

/** Rows of the audit trail that belong together, the latest first. */
export interface Episode {
  rows: [Row, ...Row[]];
  /** The sign-in that followed failed ones, if one did. */
  followed?: Row;
}

/** Within this time, in milliseconds, the same again is part of the same. */
const TOGETHER = 3_600_000;

const isWrongPassword = (row: Row) =>
  row.action === "sign_in" && row.outcome === "failure" && row.reason === "invalid_credentials";

const gap = (later: Row, earlier: Row) => new Date(later.at).getTime() - new Date(earlier.at).getTime();

/** Whether the later row only repeats the earlier one. */
function repeats(later: Row, earlier: Row): boolean {
  if (gap(later, earlier) > TOGETHER || later.by_other !== earlier.by_other) return false;
  if (isWrongPassword(later)) return isWrongPassword(earlier) && later.device === earlier.device;
  // A change that ends several sessions has a row for each.
  return later.action === "session_revoke" && earlier.action === later.action && earlier.reason === later.reason;
}

/** Puts rows, the latest first, together to episodes. */
export function episodesOf(rows: Row[]): Episode[] {
  const episodes: Episode[] = [];
  for (const row of rows) {
    const open = episodes.at(-1);
    const last = open?.rows.at(-1);
    const isSignIn = last?.action === "sign_in" && last.outcome === "success" && open?.rows.length === 1;
    if (open && last && repeats(last, row)) open.rows.push(row);
    else if (open && last && isSignIn && isWrongPassword(row) && gap(last, row) <= TOGETHER) {
      // One story: wrong tries, and the sign-in that came of them.
      open.followed = last;
      open.rows = [row];
    } else episodes.push({ rows: [row] });
  }
  return episodes;
}

/** What an intruder would do, too: the owner is asked about it. */
const ASKED =
  /^(new_device|refresh_reuse|password_reset_request|password_reset|password_change|email_change_request|email_change|user_delete)$/;

/** Whether to ask the owner about an episode. */
export function isInQuestion({ rows: [row] }: Episode): boolean {
  // What was done in this very session, its reader has done.
  return (
    !row.by_other && !row.current && (ASKED.test(row.action) || (row.action === "sign_in" && row.outcome === "failure"))
  );
}

/** An episode as a sentence or two. */
export function sentenceOf({ rows, followed }: Episode, i18n: I18n): string {
  const { t, n, maybe } = i18n;
  const [row] = rows;
  const nameOf = ({ device }: Row) => deviceName(i18n, device ?? "");
  const values = {
    device: nameOf(row),
    reason: row.reason ? (maybe(`audit_reason.${row.reason}`) ?? row.reason) : "",
    number: row.id,
  };
  if (isWrongPassword(row)) {
    const tries = n("story.wrong_password", rows.length, values);
    if (!followed) return tries;
    const time = i18n.time(followed.at);
    const after =
      followed.device === row.device
        ? t("story.then_signed_in", { time })
        : t("story.then_signed_in_elsewhere", { time, device: nameOf(followed) });
    return `${tries} ${after}`;
  }
  if (row.action === "session_revoke" && row.reason)
    return rows.length > 1 ? n("story.sessions_revoked", rows.length, values) : t("story.session_revoke", values);
  const name = maybe(`action.${row.action}`) ?? row.action;
  if (row.by_other) return values.reason ? `${name} · ${values.reason}` : name;
  const sentence = maybe(`story.${row.action}${row.outcome === "failure" ? "_failed" : ""}`, values);
  return sentence ?? (values.reason ? `${name}: ${values.reason}` : name);
}
