import { act } from "react";
import { createRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { I18nProvider, moreTexts, texts } from "../i18n";
import { Toasts, useToast } from "./toast";

let root: Root;
let say: ReturnType<typeof useToast>;

function Page() {
  say = useToast();
  return <main id="main" tabIndex={-1} />;
}

const message = () => document.querySelector(".toast");
const button = (name: string) => {
  const found = [...document.querySelectorAll("button")].find(
    (one) => (one.getAttribute("aria-label") ?? one.textContent) === name,
  );
  if (!found) throw new Error(`there is no button ${name}`);
  return found;
};
const pass = (milliseconds: number) => act(() => vi.advanceTimersByTimeAsync(milliseconds));

beforeEach(async () => {
  vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", true);
  await Promise.all([texts("en"), moreTexts()]);
  document.body.innerHTML = "<div></div>";
  root = createRoot(document.body.firstElementChild as HTMLElement);
  await act(async () =>
    root.render(
      <I18nProvider>
        <Toasts>
          <Page />
        </Toasts>
      </I18nProvider>,
    ),
  );
  vi.useFakeTimers();
});

afterEach(async () => {
  await act(async () => root.unmount());
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe("a message about a change", () => {
  it("goes by itself, but not while it is used", async () => {
    await act(async () => say("Saved."));
    expect(message()?.parentElement?.getAttribute("role")).toBe("status");
    await pass(7_900);
    await act(async () => button("Close").focus());
    await pass(60_000);
    expect(message()?.textContent).toContain("Saved.");
    await act(async () => button("Close").blur());
    await pass(8_100);
    expect(message()).toBeNull();
  });

  it("takes the change back once, says so, and gives the focus to the page", async () => {
    let finish = () => {};
    const undo = vi.fn(() => new Promise<void>((done) => (finish = done)));
    await act(async () => say("Saved.", undo));
    await pass(20_000);
    await act(async () => button("Undo").click());
    await act(async () => button("Undo").click());
    expect(undo).toHaveBeenCalledTimes(1);
    await act(async () => finish());
    expect(message()?.textContent).toContain("The change is undone.");
    expect(document.activeElement?.id).toBe("main");
  });

  it("stays where the change could not be taken back", async () => {
    await act(async () => say("Saved.", () => Promise.reject(new Error("no"))));
    await act(async () => button("Undo").click());
    await pass(120_000);
    expect(message()?.className).toContain("bad");
    await act(async () => button("Close").click());
    expect(message()).toBeNull();
  });
});
