import { type RefObject, useLayoutEffect } from "react";

/** "/" goes to a list's search, as in other tools of this kind; never while something is being typed. */
export function useSearchShortcut(search: RefObject<HTMLElement | null>) {
  // Before the page is painted: what is pressed as soon as it is there counts.
  useLayoutEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      const isTyping = /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) || !!document.querySelector("dialog[open]");
      if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || isTyping) return;
      event.preventDefault();
      search.current?.focus();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, [search]);
}
