// The Kubernetes API itself: server tables, manifests, logs, and what one may do. The past has the same under /at/.
import { getJson, ask, faultOf } from "./http";
import type { Ref } from "../state/route";

export interface Kind {
  resource: string; // with its group
  kind: string;
  apiVersion: string;
  namespaced: boolean;
  shortNames: string[];
  verbs: string[];
}

export const KIND_FIELDS = "resource kind apiVersion namespaced shortNames verbs";

/** The path of a kind's objects, now or as of a moment. */
export function pathOf(kind: Kind, namespace: string, name = "", at: string | null = null): string {
  const plural = kind.resource.split(".")[0]!;
  const root = kind.apiVersion.includes("/") ? `/apis/${kind.apiVersion}` : `/api/${kind.apiVersion}`;
  const place = kind.namespaced && namespace ? `/namespaces/${encodeURIComponent(namespace)}` : "";
  return `${at ? `/at/${encodeURIComponent(at)}` : ""}${root}${place}/${plural}${name ? `/${encodeURIComponent(name)}` : ""}`;
}

export interface Column {
  name: string;
  type: string;
  format: string;
  priority: number;
  description: string;
}

export interface TableRow {
  cells: (string | number | boolean | null)[];
  object: { metadata: { name: string; namespace?: string; uid: string; creationTimestamp?: string } };
}

export interface Table {
  columnDefinitions: Column[];
  rows: TableRow[];
  metadata: { continue?: string; remainingItemCount?: number; resourceVersion: string };
}

const TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

export function table(kind: Kind, options: { namespace: string; at: string | null; labels: string; limit: number; next?: string | undefined }, signal?: AbortSignal): Promise<Table> {
  const query = new URLSearchParams({ limit: String(options.limit) });
  if (options.labels) query.set("labelSelector", options.labels);
  if (options.next) query.set("continue", options.next);
  return getJson<Table>(`${pathOf(kind, options.namespace, "", options.at)}?${query}`, { headers: { accept: TABLE }, ...(signal ? { signal } : {}) });
}

export async function logs(ref: Ref, container: string, tail: number, signal?: AbortSignal): Promise<string> {
  const query = new URLSearchParams({ tailLines: String(tail), timestamps: "false", ...(container ? { container } : {}) });
  const answer = await ask(`/api/v1/namespaces/${encodeURIComponent(ref.namespace)}/pods/${encodeURIComponent(ref.name)}/log?${query}`, signal ? { signal } : {});
  if (!answer.ok) throw await faultOf(answer);
  return answer.text();
}

interface Review {
  status?: { allowed?: boolean; reason?: string };
}

/** Whether the viewer may do this, as the server's own authorizer says. */
export async function may(verb: string, ref: Ref, subresource = ""): Promise<boolean> {
  const [resource, ...group] = ref.resource.split(".");
  const told = await getJson<Review>("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      apiVersion: "authorization.k8s.io/v1", kind: "SelfSubjectAccessReview",
      spec: { resourceAttributes: { verb, group: group.join("."), resource, subresource, namespace: ref.namespace, name: ref.name } },
    }), // prettier-ignore
  });
  return told.status?.allowed ?? false;
}
