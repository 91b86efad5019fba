import { useEffect } from "react";

/** Asks before a page with changes is left: the browser asks where the page goes away, and this question is asked for links in it. */
export function useUnsaved(isChanged: boolean, question: string) {
  useEffect(() => {
    if (!isChanged) return;
    const onLeave = (event: BeforeUnloadEvent) => event.preventDefault();
    const onClick = (event: MouseEvent) => {
      const link = (event.target as Element).closest("a[href]");
      const staysOpen = event.ctrlKey || event.metaKey || event.shiftKey || link?.getAttribute("target") === "_blank";
      if (!link || staysOpen || confirm(question)) return;
      event.preventDefault();
      event.stopPropagation();
    };
    addEventListener("beforeunload", onLeave);
    document.addEventListener("click", onClick, true);
    return () => {
      removeEventListener("beforeunload", onLeave);
      document.removeEventListener("click", onClick, true);
    };
  }, [isChanged, question]);
}
