type Question = (answer: (isVerified: boolean) => void) => void;

let ask: Question | null = null;

/** Has the page ask its user to verify once more. False where no page asks. */
export const verifyAgain = () => new Promise<boolean>((answer) => (ask ? ask(answer) : answer(false)));

/** The page asks with this from now on. Gives the function that ends that. */
export function onAsked(question: Question): () => void {
  ask = question;
  return () => {
    ask = null;
  };
}
