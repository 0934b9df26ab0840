// The URL is the state. A route is a path and its query; every change goes through `go`, and Back undoes it.
import { useMemo, useSyncExternalStore } from "react";

export interface Route {
  path: string;
  query: URLSearchParams;
}

const watchers = new Set<() => void>();
let shown = window.location.pathname + window.location.search;

function read(): string {
  return window.location.pathname + window.location.search;
}

function tell(): void {
  shown = read();
  watchers.forEach((watcher) => watcher());
}

window.addEventListener("popstate", tell);

export function routeOf(address: string): Route {
  const url = new URL(address, "http://window");
  return { path: url.pathname, query: url.searchParams };
}

export function useRoute(): Route {
  const address = useSyncExternalStore(
    (watcher) => {
      watchers.add(watcher);
      return () => watchers.delete(watcher);
    },
    () => shown,
  );
  return useMemo(() => routeOf(address), [address]);
}

/** Parameters to set; null takes one away. */
export type Change = Readonly<Record<string, string | number | null | undefined>>;

export function addressOf(path: string, query: URLSearchParams, change: Change = {}): string {
  const next = new URLSearchParams(query);
  for (const [key, value] of Object.entries(change)) {
    if (value === null || value === undefined || value === "") next.delete(key);
    else next.set(key, String(value));
  }
  // Readable: a filter is to be understood in a message.
  const text = next.toString().replace(/%3A/g, ":").replace(/%2F/g, "/").replace(/%2C/g, ",");
  return text ? `${path}?${text}` : path;
}

export function go(address: string, replace = false): void {
  if (address === read()) return;
  // The explorer's page has a policy of its own: it is left and entered by loading.
  if (routeOf(address).path === "/q" || window.location.pathname === "/q") {
    window.location.assign(address);
    return;
  }
  window.history[replace ? "replaceState" : "pushState"](null, "", address);
  tell();
}

/** Change parameters of the route that is shown. */
export function set(change: Change, replace = false): void {
  const route = routeOf(read());
  go(addressOf(route.path, route.query, change), replace);
}

// What goes along from view to view: the cursor and the range belong to all of them.
const SHARED = ["at", "from", "to", "ns"];

/** The address of another view, as of the same cursor. */
export function to(path: string, change: Change = {}): string {
  const here = routeOf(read());
  const kept = new URLSearchParams();
  for (const key of SHARED) {
    const value = here.query.get(key);
    if (value) kept.set(key, value);
  }
  return addressOf(path, kept, change);
}

export interface Ref {
  resource: string; // with its group: deployments.apps
  namespace: string;
  name: string;
}

export function objectPath(ref: Ref, version = "_"): string {
  const dot = ref.resource.indexOf(".");
  const [resource, group] = dot < 0 ? [ref.resource, "core"] : [ref.resource.slice(0, dot), ref.resource.slice(dot + 1)];
  return `/o/${group}/${version}/${resource}/${encodeURIComponent(ref.namespace || "-")}/${encodeURIComponent(ref.name)}`;
}

export function refOf(path: string): Ref | null {
  const [, o, group, , resource, namespace, name] = path.split("/");
  if (o !== "o" || !group || !resource || !namespace || !name) return null;
  return {
    resource: group === "core" ? resource : `${resource}.${group}`,
    namespace: namespace === "-" ? "" : decodeURIComponent(namespace),
    name: decodeURIComponent(name),
  };
}
