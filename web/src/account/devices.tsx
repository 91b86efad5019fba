import { useAuth } from "@josoor/auth/react";
import { DeviceIcon } from "../components/device-icon";
import { deviceName } from "../components/device-name";
import { Code, Time } from "../components/values";
import { useI18n } from "../i18n";
import { RemovableList } from "./removable-list";

export function Devices() {
  const i18n = useI18n();
  const { t, date } = i18n;
  const { devices } = useAuth().client;
  return (
    <RemovableList
      kind="devices"
      list={devices.list}
      remove={devices.forget}
      removeAll={devices.forgetAll}
      keepsCurrent={false}
      note={t("devices.keeps_sessions")}
    >
      {(device) => (
        <>
          <DeviceIcon device={device.device} />
          <div>
            <h2>
              <bdi>{deviceName(i18n, device.device)}</bdi>{" "}
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
        </>
      )}
    </RemovableList>
  );
}
