import type { ReactNode } from "react";
import { AppPage } from "../components/app-page";
import type { TextKey } from "../i18n";
import { ConsoleNav } from "./nav";

/** The frame of the console's pages. */
export function ConsolePage(props: { title?: TextKey | undefined; actions?: ReactNode; children: ReactNode }) {
  return <AppPage {...props} width="wide console" nav={<ConsoleNav />} />;
}
