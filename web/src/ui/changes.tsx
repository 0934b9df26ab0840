import type { JSX } from "react";
import type { FieldChange } from "../model/events";

const VALUE_CHARACTERS_MAX = 400;

function shown(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  if (text === undefined) return "";
  return text.length > VALUE_CHARACTERS_MAX ? `${text.slice(0, VALUE_CHARACTERS_MAX)}…` : text;
}

const SIGNS: Record<FieldChange["kind"], string> = { ADDED: "added", REMOVED: "removed", CHANGED: "changed", REORDERED: "reordered" };

/** Field changes, each with a sign, a path, and what it was and is. */
export function Changes({ changes, empty }: { changes: readonly FieldChange[]; empty: string }): JSX.Element {
  if (!changes.length) return <p className="soft">{empty}</p>;
  return (
    <ul className="changes">
      {changes.map((change) => (
        <li key={change.path + change.kind} className={change.kind}>
          <span className="visually-hidden">{SIGNS[change.kind]} </span>
          <span className="path">{change.path}</span>{" "}
          {change.masked ? <em>{change.text.replace(change.path, "").trim() || "changed"}</em> : (
            <>
              {change.kind === "CHANGED" || change.kind === "REMOVED" ? <del>{shown(change.old)}</del> : null}
              {change.kind === "CHANGED" ? " → " : null}
              {change.kind === "CHANGED" || change.kind === "ADDED" ? <ins>{shown(change.new)}</ins> : null}
              {change.kind === "REORDERED" ? "in another order" : null}
            </>
          )}
        </li>
      ))}
    </ul>
  );
}
