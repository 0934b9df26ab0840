// Events of a stretch as a file of JSON lines, read page by page.
import { gql } from "../api/graphql";

interface Page {
  search: { hits: { event: Record<string, unknown> }[]; pageInfo: { hasNextPage: boolean; endCursor: string | null } };
}

const QUERY = `query($q: String!, $after: ID) { search(query: $q, order: OLDEST_FIRST, first: 500, after: $after) { pageInfo { hasNextPage endCursor }
  hits { event { revision time verb change subresource resource kind namespace name uid causeRevision correlation sentence actor { user kind groups userAgent sourceAddress } diff { changes { kind path old new } } } } } }`;
const EVENTS_MAX = 20_000;

export async function exportEvents(from: number, to: number, q: string): Promise<number> {
  const query = `${q.replace(/(^|\s)(since|until):\S+/g, " ")} since:"${new Date(from).toISOString()}" until:"${new Date(to).toISOString()}"`;
  const lines: string[] = [];
  let after: string | null = null;
  for (;;) {
    const { search }: Page = await gql<Page>(QUERY, { q: query, after });
    lines.push(...search.hits.map((hit) => JSON.stringify(hit.event)));
    after = search.pageInfo.endCursor;
    if (!search.pageInfo.hasNextPage || lines.length >= EVENTS_MAX) break;
  }
  save(`events-${new Date(from).toISOString().slice(0, 19)}.jsonl`, `${lines.join("\n")}\n`, "application/jsonl");
  return lines.length;
}

export function save(name: string, text: string, type: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name.replace(/:/g, "-");
  link.click();
  window.setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
