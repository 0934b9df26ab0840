// Whether one may write here and now; a button that may not be pressed says why.
import { may } from "../api/rest";
import { useCursor } from "./cursor";
import { useData } from "./data";
import type { Ref } from "./route";

/** Why this cannot be done: undefined where it can. */
export function useRefusal(verb: string, ref: Ref | null, subresource = ""): string | undefined {
  const cursor = useCursor();
  const key = ref ? `may ${verb} ${ref.resource}/${subresource} ${ref.namespace}/${ref.name}` : null;
  const allowed = useData(key, () => may(verb, ref!, subresource));
  if (!cursor.live) return "the cursor is in the past: go back to LIVE to change things";
  if (allowed.data === false) return `you may not ${verb} ${ref?.resource ?? "this"}${subresource ? `/${subresource}` : ""}${ref?.namespace ? ` in ${ref.namespace}` : ""}`;
  return undefined;
}
