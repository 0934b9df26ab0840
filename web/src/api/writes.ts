// Changes go through GraphQL's mutations: tried first, told as what they would change, undone by a new event.
import { gql } from "./graphql";
import { Fault } from "./http";
import type { Manifest } from "../model/manifest";
import { toast } from "../ui/toast";

export interface Written {
  dryRun: boolean;
  revision: number | null;
  warnings: string[];
  object: { manifest: Manifest } | null;
  errors: { message: string; reason: string }[];
}

const PAYLOAD = "{ dryRun revision warnings object { manifest } errors { message reason } }";
const INPUTS: Record<string, string> = {
  create: "CreateInput", apply: "ApplyInput", replace: "ReplaceInput", patch: "PatchInput", delete: "DeleteInput", scale: "ScaleInput", restart: "RestartInput",
  rollback: "RollbackInput", cordon: "CordonInput", uncordon: "CordonInput",
}; // prettier-ignore

export async function write(verb: string, input: Record<string, unknown>): Promise<Written> {
  const data = await gql<Record<string, Written>>(`mutation($input: ${INPUTS[verb]!}!) { ${verb}(input: $input) ${PAYLOAD} }`, { input: { ...input, ...(verb === "delete" ? {} : { fieldManager: "ksql-window" }) } });
  const found = data[verb]!;
  const error = found.errors[0];
  if (error) throw new Fault(error.message, error.reason === "Conflict" ? "CONFLICT" : error.reason === "Forbidden" ? "FORBIDDEN" : "BAD_USER_INPUT");
  return found;
}

interface Undone {
  undo: { applied: boolean; conflicts: number; steps: { refusal: string | null; conflicts: { text: string }[] }[] };
}

export async function undo(revision: number): Promise<void> {
  const data = await gql<Undone>('mutation($r: [Revision!]) { undo(revisions: $r, reason: "undone in the window") { applied conflicts steps { refusal conflicts { text } } } }', { r: [revision] });
  if (!data.undo.applied) {
    const step = data.undo.steps.find((one) => one.refusal ?? one.conflicts.length);
    throw new Fault(step?.refusal ?? step?.conflicts[0]?.text ?? "there was nothing to take back", "CONFLICT");
  }
}

/** Say that it was done, with the way back. */
export function told(text: string, revision: number | null): void {
  toast(revision ? `${text} (r${revision})` : `${text}: nothing changed`, {
    ms: 14_000,
    ...(revision ? { action: { label: "Undo", run: () => { undo(revision).then(() => toast("Taken back, as a new event"), (error: unknown) => toast(`Not taken back: ${error instanceof Error ? error.message : String(error)}`, { bad: true })); } } } : {}), // prettier-ignore
  });
}
