import type { Schemas } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { keepPreviousData, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { RotateCw } from "lucide-react";
import { Link } from "wouter";
import { Empty } from "../components/empty";
import { messageOf } from "../components/form";
import { Notice } from "../components/notice";
import { Pager } from "../components/pager";
import { Result } from "../components/queries";
import { Table } from "../components/table";
import { Code, Time } from "../components/values";
import { type TextKey, useI18n } from "../i18n";
import { useAddress } from "./address";
import { ConsolePage } from "./console-page";
import { SelectFilter } from "./filters";

type Mail = Schemas["OutboxMail"];

const PAGE_SIZE = 50;
const COLUMNS: [title: TextKey, width?: string][] = [
  ["outbox.to", "w-l"],
  ["outbox.kind", "w-m"],
  ["outbox.state", "w-s"],
  ["outbox.when", "w-m"],
  ["outbox.error"],
];
const TONES = { waiting: "badge warn", sent: "badge good", failed: "badge bad" };

/** The mails that wait, were sent or were given up, and why. */
export function Outbox() {
  const i18n = useI18n();
  const { t, n, entries } = i18n;
  const { client } = useAuth();
  const queries = useQueryClient();
  const [address, change] = useAddress();
  const filter = { state: address.get("state") ?? "", kind: address.get("kind") ?? "" };
  const page = Math.max(1, Number(address.get("page")) || 1);
  const mails = useQuery({
    queryKey: ["outbox", filter, page],
    queryFn: ({ signal }) =>
      client.request<Schemas["OutboxList"]>("GET", "/admin/outbox", {
        query: { ...filter, page, page_size: PAGE_SIZE },
        signal,
      }),
    placeholderData: keepPreviousData,
    refetchInterval: 15_000,
  });
  const retry = useMutation({
    mutationFn: (mail: Mail) => client.request<Mail>("POST", `/admin/outbox/${mail.id}/retry`),
    onSettled: () => queries.invalidateQueries({ queryKey: ["outbox"] }),
  });
  return (
    <ConsolePage title="console.outbox">
      {retry.error && <Notice kind="bad">{messageOf(retry.error, i18n)}</Notice>}
      {retry.data && <Notice kind="done">{t("outbox.retried", { email: retry.data.to })}</Notice>}
      <div className="filters">
        <SelectFilter
          name="state"
          label={t("outbox.state")}
          value={filter.state}
          options={entries("outbox.state_")}
          onChange={(state) => change({ state, page: null })}
        />
        <SelectFilter
          name="kind"
          label={t("outbox.kind")}
          value={filter.kind}
          options={entries("mail.")}
          onChange={(kind) => change({ kind, page: null })}
        />
      </div>
      <Result of={mails}>
        {({ items, total }) => (
          <>
            <p className="small" role="status">
              {n("outbox.count", total)}
            </p>
            {items.length === 0 ? (
              <Empty>{t("outbox.none")}</Empty>
            ) : (
              <Table
                label={t("console.outbox")}
                columns={[
                  ...COLUMNS.map(([title, width]) => ({ title: t(title), width })),
                  { title: t("outbox.retry"), width: "w-s", isHidden: true },
                ]}
              >
                {items.map((mail) => (
                  <Row
                    key={mail.id}
                    mail={mail}
                    isPending={retry.isPending}
                    onRetry={() => !retry.isPending && retry.mutate(mail)}
                  />
                ))}
              </Table>
            )}
            <Pager
              page={page}
              pages={Math.ceil(total / PAGE_SIZE)}
              onPage={(next) => change({ page: next === 1 ? null : String(next) })}
            />
          </>
        )}
      </Result>
    </ConsolePage>
  );
}

function Row({ mail, isPending, onRetry }: { mail: Mail; isPending: boolean; onRetry: () => void }) {
  const { t, maybe, n } = useI18n();
  const when = mail.sent_at ?? mail.failed_at ?? mail.created_at;
  return (
    <tr>
      <th scope="row" className="whole">
        {mail.user_id === null ? (
          <span className="cut" dir="ltr" title={mail.to}>
            {mail.to}
          </span>
        ) : (
          <Link className="cut" dir="ltr" title={mail.to} href={`/console/users/${mail.user_id}`}>
            {mail.to}
          </Link>
        )}
      </th>
      <td>{maybe(`mail.${mail.kind}`) ?? mail.kind}</td>
      <td>
        <span className={TONES[mail.state]}>{t(`outbox.state_${mail.state}`)}</span>
      </td>
      <td title={mail.attempts > 0 ? n("outbox.attempts", mail.attempts) : undefined}>
        <Time at={when} />
        {mail.due_at && mail.attempts > 0 && (
          <span className="small">
            {" "}
            {t("outbox.next")} <Time at={mail.due_at} />
          </span>
        )}
      </td>
      <td className="full" title={mail.last_error?.text}>
        {mail.last_error && (
          <bdi className="cut" dir="ltr">
            {(mail.last_error.enhanced_code ?? mail.last_error.code) && (
              <Code>{mail.last_error.enhanced_code ?? mail.last_error.code}</Code>
            )}{" "}
            {mail.last_error.text}
          </bdi>
        )}
      </td>
      <td>
        {mail.state !== "sent" && (
          <button
            type="button"
            className="link"
            aria-disabled={isPending}
            aria-label={t("outbox.retry_to", { email: mail.to })}
            onClick={onRetry}
          >
            <RotateCw className="icon" />
            {t("outbox.retry")}
          </button>
        )}
      </td>
    </tr>
  );
}
