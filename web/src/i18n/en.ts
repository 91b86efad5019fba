import shared from "../../../crates/josoor-auth/templates/pages/texts/shared.en.json";

/**
 * English: what every page may need. Keys are `place.what`; `error.<code>` and `field.<code>` answer to the service's own names. What
 * the pages that the server renders say as well stands in `shared.en.json`.
 */
export const en = {
  ...shared,

  "offline.title": "No connection",
  "offline.no_network": "This device is offline. The page continues once you're back.",
  "offline.no_service": "The service isn't responding. The page continues once it does.",
  "offline.retry": "Try again now",
};
