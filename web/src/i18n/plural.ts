/** A counted text: the forms of CLDR that the language has. `{count}` is the number. */
export type Counted = Partial<Record<Intl.LDMLPluralRule, string>> & { other: string };

export const counted = (forms: Counted): Counted => forms;

/** All six forms that Arabic has: a text that lacks one does not compile. */
export const sixForms = (forms: Record<Intl.LDMLPluralRule, string>): Counted => forms;

export function plural(language: string, forms: Counted, count: number): string {
  return forms[new Intl.PluralRules(language).select(count)] ?? forms.other;
}
