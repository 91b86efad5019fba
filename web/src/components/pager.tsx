import { useI18n } from "../i18n";

/** The pages of a list. */
export function Pager({ page, pages, onPage }: { page: number; pages: number; onPage: (page: number) => void }) {
  const { t, number } = useI18n();
  if (pages <= 1) return null;
  return (
    <nav className="pager" aria-label={t("list.pages")}>
      <button
        type="button"
        className="button quiet"
        aria-disabled={page <= 1}
        onClick={() => page > 1 && onPage(page - 1)}
      >
        {t("list.previous")}
      </button>
      <span role="status">{t("list.page_of", { page: number(page), pages: number(pages) })}</span>
      <button
        type="button"
        className="button quiet"
        aria-disabled={page >= pages}
        onClick={() => page < pages && onPage(page + 1)}
      >
        {t("list.next")}
      </button>
    </nav>
  );
}
