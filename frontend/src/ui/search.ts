import { useCallback } from "react";
import { useSearchParams } from "react-router";

/** Filters of a list, kept in the address: a reload, a link and the back button show the same list. */
export function useFilters(): [URLSearchParams, (key: string, value: string | null) => void] {
  const [search, setSearch] = useSearchParams();
  // another choice is another list: it is shown from its first page
  const change = useCallback(
    (key: string, value: string | null) =>
      setSearch(
        (old) => {
          const next = new URLSearchParams(old);
          if (key !== "page") next.delete("page");
          if (value) next.set(key, value);
          else next.delete(key);
          return next;
        },
        { replace: true },
      ),
    [setSearch],
  );
  return [search, change];
}
