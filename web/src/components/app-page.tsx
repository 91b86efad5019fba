import type { ComponentProps } from "react";
import { Page } from "./page";
import { UserMenu } from "./user-menu";

/** The frame of the pages that may need a signed-in user: with the user's menu. */
export function AppPage(props: Omit<ComponentProps<typeof Page>, "tools">) {
  return <Page {...props} tools={<UserMenu />} />;
}
