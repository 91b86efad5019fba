import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { MonitorSmartphone } from "lucide-react";
import { type ReactNode, useState } from "react";
import { deviceName } from "../components/device-name";
import { Cancel, Dialog } from "../components/dialog";
import { Empty } from "../components/empty";
import { messageOf } from "../components/form";
import { Notice } from "../components/notice";
import { Result } from "../components/queries";
import { useToast } from "../components/toast";
import { useI18n } from "../i18n";

interface Item {
  id: string;
  device: string;
  current: boolean;
}

/**
 * A list of the account from which one entry or all can be removed, after a question. Its texts are those of `kind`.
 */
export function RemovableList<T extends Item>({
  kind,
  list,
  remove,
  removeAll,
  keepsCurrent,
  note,
  refetchInterval,
  children,
}: {
  kind: "sessions" | "devices";
  list: () => Promise<T[]>;
  remove: (id: string) => Promise<void>;
  /** Gives how many were removed. */
  removeAll: () => Promise<number>;
  /** Whether the entry of this browser stays. */
  keepsCurrent: boolean;
  /** Said with every question. */
  note?: string;
  /** In milliseconds. */
  refetchInterval?: number;
  /** What is shown of an entry. */
  children: (item: T) => ReactNode;
}) {
  const i18n = useI18n();
  const { t, n } = i18n;
  const queries = useQueryClient();
  const items = useQuery({ queryKey: [kind], queryFn: list, ...(refetchInterval ? { refetchInterval } : {}) });
  const [asked, setAsked] = useState<T | "all" | null>(null);
  const say = useToast();
  const nameOf = ({ device }: T) => deviceName(i18n, device);
  const removal = useMutation({
    mutationFn: async (what: T | "all") => {
      if (what === "all") return n(`${kind}.removed_count`, await removeAll());
      await remove(what.id);
      return t(`${kind}.removed_one`, { device: nameOf(what) });
    },
    onSuccess: (text) => {
      say(text);
      setAsked(null);
      return queries.invalidateQueries({ queryKey: [kind] });
    },
  });
  const close = () => {
    removal.reset();
    setAsked(null);
  };
  const isRemovable = (item: T) => !(keepsCurrent && item.current);
  return (
    <>
      <p>{t(`${kind}.lead`)}</p>
      <Result of={items}>
        {(found) =>
          found.length === 0 ? (
            <Empty icon={MonitorSmartphone}>{t(`${kind}.none`)}</Empty>
          ) : (
            <>
              <ul className="cards">
                {[...found]
                  .sort((a, b) => Number(b.current) - Number(a.current))
                  .map((item) => (
                    <li key={item.id} className="card row">
                      {children(item)}
                      {isRemovable(item) && (
                        <button
                          type="button"
                          className="button quiet"
                          aria-label={t(`${kind}.remove_of`, { device: nameOf(item) })}
                          onClick={() => setAsked(item)}
                        >
                          {t(`${kind}.remove`)}
                        </button>
                      )}
                    </li>
                  ))}
              </ul>
              {found.some(isRemovable) && (
                <button type="button" className="button risky" onClick={() => setAsked("all")}>
                  {t(`${kind}.remove_all`)}
                </button>
              )}
            </>
          )
        }
      </Result>
      {asked && (
        <Dialog title={t(asked === "all" ? `${kind}.confirm_all_title` : `${kind}.confirm_title`)} onClose={close}>
          <p>
            {asked === "all" ? t(`${kind}.confirm_all`) : t(`${kind}.confirm_one`, { device: nameOf(asked) })} {note}
          </p>
          {removal.error && <Notice kind="bad">{messageOf(removal.error, i18n)}</Notice>}
          <div className="actions">
            <button
              type="button"
              className="button danger"
              aria-disabled={removal.isPending}
              onClick={() => !removal.isPending && removal.mutate(asked)}
            >
              {t(`${kind}.confirm`)}
            </button>
            <Cancel onClick={close} />
          </div>
        </Dialog>
      )}
    </>
  );
}
