/** What the server says about itself in the page. */
export interface PageConfig {
  /** Where the service is mounted: "" or a path such as "/auth", without a slash at its end. */
  base: string;
  passwordMinLength: number;
  /** How long a deleted account can be restored, in seconds; 0: not at all. */
  deletionGrace: number;
  /** Whether people may sign in with a code by mail. */
  mailCode: boolean;
  /** Whether mails go to the development mailbox of this machine. */
  devMail: boolean;
  branding: Branding;
}

/** What the product is called and how it looks. Colours come as a style sheet. */
export interface Branding {
  name: { en: string; ar: string };
  /** Whether the operator has named it. */
  hasName: boolean;
  /** Addresses of files. */
  logo: string | null;
  logoDark: string | null;
  /** Addresses of pages elsewhere. */
  support: string | null;
  terms: string | null;
  privacy: string | null;
}

function read(): PageConfig {
  const text = document.querySelector<HTMLMetaElement>('meta[name="josoor-config"]')?.content;
  const defaults: PageConfig = {
    base: "",
    passwordMinLength: 8,
    deletionGrace: 259_200,
    mailCode: false,
    devMail: false,
    branding: {
      name: { en: "JOSOOR", ar: "جسور" },
      hasName: false,
      logo: null,
      logoDark: null,
      support: null,
      terms: null,
      privacy: null,
    },
  };
  return text ? { ...defaults, ...(JSON.parse(text) as Partial<PageConfig>) } : defaults;
}

export const config = read();

/** The address of a page or file of this service. */
export const at = (path: string) => `${config.base}${path}`;
