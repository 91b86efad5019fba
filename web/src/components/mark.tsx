/** What a page without a form is about, at a glance; the drawings of the pages that the server renders. */
export function Mark({ kind }: { kind: "good" | "lost" }) {
  return (
    <svg className={`mark ${kind}`} viewBox="0 0 24 24" aria-hidden="true">
      <circle cx={kind === "good" ? 12 : 11} cy={kind === "good" ? 12 : 11} r={kind === "good" ? 10 : 8} />
      <path d={kind === "good" ? "m8 12 3 3 5-6" : "m17 17 5 5M8.5 8.5l5 5m0-5-5 5"} />
    </svg>
  );
}
