// Manifests as people read and write them.
import { parse, stringify } from "yaml";

export type Manifest = Record<string, unknown> & { metadata?: Record<string, unknown> };

// What the server writes and nobody edits.
const KEPT = ["managedFields", "uid", "resourceVersion", "creationTimestamp", "generation", "selfLink"];

function without(value: Record<string, unknown>, keys: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([key]) => !keys.includes(key)));
}

/** Without what the server keeps for itself. */
export function editable(manifest: Manifest): Manifest {
  return { ...without(manifest, ["status"]), metadata: without(manifest.metadata ?? {}, KEPT) };
}

/** For reading: everything but who manages which field. */
export function readable(manifest: Manifest): Manifest {
  return { ...manifest, metadata: without(manifest.metadata ?? {}, ["managedFields"]) };
}

export function toYaml(value: unknown): string {
  return stringify(value, { lineWidth: 0, aliasDuplicateObjects: false });
}

export function fromYaml(text: string): Manifest {
  const found: unknown = parse(text);
  if (typeof found !== "object" || found === null || Array.isArray(found)) throw new Error("a manifest is a map with apiVersion, kind and metadata");
  return found as Manifest;
}
