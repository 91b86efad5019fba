import type { Device } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Code, Result, Time } from "../components/data";
import { Dialog } from "../components/dialog";
import { messageOf } from "../components/form";
import { Notice } from "../components/layout";
import { useI18n } from "../i18n";

export function Devices() {
  const i18n = useI18n();
  const { t, n, date } = i18n;
  const { client } = useAuth();
  const queries = useQueryClient();
  const devices = useQuery({ queryKey: ["devices"], queryFn: () => client.devices.list() });
  const [asked, setAsked] = useState<Device | "all" | null>(null);
  const [done, setDone] = useState<string | null>(null);
  const nameOf = ({ device }: Device) => device || t("sessions.unknown_device");
  const forget = useMutation({
    mutationFn: async (what: Device | "all") => {
      if (what === "all") return n("devices.forgotten_count", await client.devices.forgetAll());
      await client.devices.forget(what.id);
      return t("devices.forgotten_one", { device: nameOf(what) });
    },
    onSuccess: (text) => {
      setDone(text);
      setAsked(null);
      return queries.invalidateQueries({ queryKey: ["devices"] });
    },
  });
  return (
    <>
      <p>{t("devices.lead")}</p>
      {done && <Notice kind="done">{done}</Notice>}
      <Result of={devices}>
        {(items) =>
          items.length === 0 ? (
            <p>{t("devices.none")}</p>
          ) : (
            <>
              <ul className="cards">
                {items.map((device) => (
                  <li key={device.id} className="card row">
                    <div>
                      <h2>
                        <bdi>{nameOf(device)}</bdi>{" "}
                        {device.current && <span className="badge good">{t("devices.current")}</span>}
                      </h2>
                      <p className="small">
                        {t("devices.last_used")} <Time at={device.last_seen_at} />
                        {" · "}
                        {t("devices.since", { date: date(device.created_at) })}
                      </p>
                      <p className="small">
                        {t("field.ip")}: <Code>{device.ip}</Code>
                      </p>
                    </div>
                    <button
                      type="button"
                      className="button quiet"
                      aria-label={t("devices.forget_of", { device: nameOf(device) })}
                      onClick={() => setAsked(device)}
                    >
                      {t("devices.forget")}
                    </button>
                  </li>
                ))}
              </ul>
              <button type="button" className="button danger" onClick={() => setAsked("all")}>
                {t("devices.forget_all")}
              </button>
            </>
          )
        }
      </Result>
      {asked && (
        <Dialog
          title={t(asked === "all" ? "devices.confirm_all_title" : "devices.confirm_title")}
          onClose={() => {
            forget.reset();
            setAsked(null);
          }}
        >
          <p>
            {asked === "all" ? t("devices.confirm_all") : t("devices.confirm_one", { device: nameOf(asked) })}{" "}
            {t("devices.sessions_go_on")}
          </p>
          {forget.error && <Notice kind="bad">{messageOf(forget.error, i18n)}</Notice>}
          <div className="actions">
            <button
              type="button"
              className="button danger"
              aria-disabled={forget.isPending}
              onClick={() => !forget.isPending && forget.mutate(asked)}
            >
              {t("devices.confirm")}
            </button>
            <button type="button" className="button quiet" onClick={() => setAsked(null)}>
              {t("dialog.cancel")}
            </button>
          </div>
        </Dialog>
      )}
    </>
  );
}
