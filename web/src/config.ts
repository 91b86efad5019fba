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
}

function read(): PageConfig {
  const text = document.querySelector<HTMLMetaElement>('meta[name="josoor-config"]')?.content;
  const defaults: PageConfig = {
    base: "",
    passwordMinLength: 8,
    deletionGrace: 259_200,
    mailCode: false,
    devMail: false,
  };
  return text ? { ...defaults, ...(JSON.parse(text) as Partial<PageConfig>) } : defaults;
}

export const config = read();

/** The address of a page or file of this service. */
export const at = (path: string) => `${config.base}${path}`;
