// What the server tells of an event, as the views show it.

export interface Who {
  name: string;
  kind: ActorKind;
  user?: string;
}

export type ActorKind = "PERSON" | "CONTROLLER" | "SCHEDULER" | "NODE" | "SERVICE_ACCOUNT" | "SYSTEM";

export interface LogEvent {
  revision: number;
  time: string;
  verb: string;
  change: "ADDED" | "MODIFIED" | "DELETED";
  subresource: string | null;
  resource: string;
  kind: string;
  namespace: string | null;
  name: string;
  uid: string;
  causeRevision: number | null;
  sentence: string;
  actor: Who;
}

export const EVENT_FIELDS = `revision time verb change subresource resource kind namespace name uid causeRevision sentence
  actor { name kind user }`;

export interface FieldChange {
  kind: "ADDED" | "REMOVED" | "CHANGED" | "REORDERED";
  path: string;
  old: unknown;
  new: unknown;
  masked: boolean;
  text: string;
}

export const CHANGE_FIELDS = "kind path old new masked text";

export function laneOf(event: { resource: string; namespace: string | null; name: string }): string {
  return `${event.resource}/${event.namespace ?? ""}/${event.name}`;
}

/** The three parts of a lane's id. */
export function partsOf(id: string): { resource: string; namespace: string; name: string } {
  const [resource = "", namespace = "", ...name] = id.split("/");
  return { resource, namespace, name: name.join("/") };
}

export function isPerson(kind: ActorKind): boolean {
  return kind === "PERSON" || kind === "SERVICE_ACCOUNT";
}
