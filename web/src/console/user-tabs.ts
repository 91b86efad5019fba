/** The parts of a user's page. */
export const TABS = ["profile", "security", "sessions", "activity"] as const;

/** The address of a part of a user's page. */
export const userAt = (id: number, tab: (typeof TABS)[number] = "profile") =>
  tab === "profile" ? `/console/users/${id}` : `/console/users/${id}?tab=${tab}`;
