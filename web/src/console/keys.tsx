import type { Schemas } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { KeyRound, RotateCw } from "lucide-react";
import { useState } from "react";
import { Cancel, Dialog } from "../components/dialog";
import { Empty } from "../components/empty";
import { Form } from "../components/form";
import { Notice } from "../components/notice";
import { Result } from "../components/queries";
import { Table } from "../components/table";
import { Code } from "../components/values";
import { useI18n } from "../i18n";
import { ServicePage } from "./service-page";

type KeyList = Schemas["KeyList"];

const DAY = 86_400;
const TONES = { published: "badge", signs: "badge good", verifies: "badge", over: "badge bad" };

/** The keys that sign access tokens, and their replacement. */
export function Keys() {
  const { t, dateTime } = useI18n();
  const { client } = useAuth();
  const queries = useQueryClient();
  const [isAsked, setAsked] = useState(false);
  const [made, setMade] = useState<Schemas["RotatedKeyResponse"] | null>(null);
  const keys = useQuery({
    queryKey: ["keys"],
    queryFn: ({ signal }) => client.request<KeyList>("GET", "/admin/keys", { signal }),
  });
  return (
    <ServicePage
      path="/console/service"
      actions={
        keys.data &&
        !keys.data.signs_with_setting && (
          <button type="button" className="button" onClick={() => setAsked(true)}>
            <RotateCw className="icon" />
            {t("keys.rotate")}
          </button>
        )
      }
    >
      {made && <Notice kind="done">{t("keys.rotated", { kid: made.kid, date: dateTime(made.signs_from) })}</Notice>}
      <Result of={keys}>{(list) => <KeyTable list={list} />}</Result>
      {isAsked && keys.data && (
        <RotateDialog
          publishFor={keys.data.publish_for}
          onClose={() => setAsked(false)}
          onMade={(key) => {
            setAsked(false);
            setMade(key);
            void queries.invalidateQueries({ queryKey: ["keys"] });
          }}
        />
      )}
    </ServicePage>
  );
}

function KeyTable({ list }: { list: KeyList }) {
  const { t, n, dateTime } = useI18n();
  return (
    <>
      <p>
        {t(list.signs_with_setting ? "keys.of_setting" : "keys.lead")}{" "}
        {list.rotate_every !== null && n("keys.every", Math.max(1, Math.round(list.rotate_every / DAY)))}
      </p>
      {list.items.length === 0 ? (
        <Empty icon={KeyRound}>{t("keys.none")}</Empty>
      ) : (
        <Table
          label={t("service.keys")}
          columns={[
            { title: t("keys.kid") },
            { title: t("keys.algorithm"), width: "w-s" },
            { title: t("keys.state"), width: "w-m" },
            { title: t("users.created"), width: "w-m" },
            { title: t("keys.signs_from"), width: "w-m" },
            { title: t("keys.until"), width: "w-m" },
          ]}
        >
          {list.items.map((key) => (
            <tr key={key.kid}>
              <th scope="row" title={key.kid}>
                <Code>{key.kid}</Code>
              </th>
              <td>{key.algorithm}</td>
              <td>
                <span className={TONES[key.state]}>{t(`keys.state_${key.state}`)}</span>
              </td>
              <td data-label={t("users.created")}>{dateTime(key.created_at)}</td>
              <td data-label={t("keys.signs_from")}>{dateTime(key.signs_from)}</td>
              <td data-label={t("keys.until")}>{key.verifies_until ? dateTime(key.verifies_until) : "–"}</td>
            </tr>
          ))}
        </Table>
      )}
    </>
  );
}

function RotateDialog({
  publishFor,
  onClose,
  onMade,
}: {
  publishFor: number;
  onClose: () => void;
  onMade: (key: Schemas["RotatedKeyResponse"]) => void;
}) {
  const { t, duration } = useI18n();
  const { client } = useAuth();
  return (
    <Dialog title={t("keys.rotate")} onClose={onClose}>
      <p>{t("keys.rotate_lead", { duration: duration(publishFor) })}</p>
      <Form
        submit={t("keys.rotate")}
        onSubmit={async ({ now }) =>
          onMade(
            await client.request<Schemas["RotatedKeyResponse"]>("POST", "/admin/keys/rotate", {
              body: { now: now === "on" },
            }),
          )
        }
        footer={<Cancel onClick={onClose} />}
      >
        <div className="field">
          <label className="inline">
            <input type="checkbox" name="now" aria-describedby="now-hint" /> {t("keys.now")}
          </label>
          <p className="hint" id="now-hint">
            {t("keys.now_hint")}
          </p>
        </div>
      </Form>
    </Dialog>
  );
}
