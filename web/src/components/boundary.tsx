import { Component, type ComponentType, lazy, type ReactNode, useEffect } from "react";
import { useLocation } from "wouter";
import { moreTexts, useI18n } from "../i18n";
import { Page } from "./page";

/**
 * A page that comes with its texts when it is opened: only the sign-in is in the first load. After an upgrade the server has other
 * files, whose names only a newly loaded page knows: the page is loaded again, once for each entry of the history.
 */
export function later(load: () => Promise<ComponentType>) {
  return lazy(async () => {
    try {
      return { default: (await Promise.all([load(), moreTexts()]))[0] };
    } catch (error) {
      if (!navigator.onLine || history.state?.isReloaded) throw error;
      history.replaceState({ ...history.state, isReloaded: true }, "");
      location.reload();
      return new Promise<never>(() => {});
    }
  });
}

class Catch extends Component<{ place: string; children: ReactNode }, { hasFailed: boolean }> {
  state = { hasFailed: false };
  static getDerivedStateFromError() {
    return { hasFailed: true };
  }
  componentDidUpdate({ place }: { place: string }) {
    if (this.state.hasFailed && place !== this.props.place) this.setState({ hasFailed: false });
  }
  render() {
    return this.state.hasFailed ? <Failed /> : this.props.children;
  }
}

/** Shows words instead of an empty page when a part of it cannot be loaded or fails. Going elsewhere, such as Back, tries again. */
export function Boundary({ children }: { children: ReactNode }) {
  const [location] = useLocation();
  return <Catch place={location}>{children}</Catch>;
}

function Failed() {
  const { t } = useI18n();
  const reload = () => location.reload();
  useEffect(() => {
    addEventListener("online", reload);
    return () => removeEventListener("online", reload);
  });
  return (
    <Page>
      <div className="card" role="alert">
        <h1>{t(navigator.onLine ? "error.unknown" : "offline.title")}</h1>
        {!navigator.onLine && <p>{t("offline.no_network")}</p>}
        <button type="button" className="button" onClick={reload}>
          {t("offline.retry")}
        </button>
      </div>
    </Page>
  );
}
