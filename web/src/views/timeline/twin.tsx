// The same as a table: for screen readers, and for copying. Folded away until somebody wants it.
import { useState, type JSX } from "react";
import type { Lane, Mark } from "../../api/timeline";
import { clockTime, span } from "../../model/time";
import { STATE_WORDS } from "../../ui/parts";

const ROWS_MAX = 400;

export function TableTwin({ lanes, pick }: { lanes: readonly Lane[]; pick: (lane: Lane, mark: Mark | undefined, time: number) => void }): JSX.Element {
  const [open, setOpen] = useState(false);
  return (
    <details className="twin" onToggle={(toggled) => setOpen(toggled.currentTarget.open)} style={{ borderTop: "1px solid var(--line)", background: "var(--panel)", maxHeight: open ? "40vh" : undefined, overflow: "auto" }}>
      <summary style={{ padding: "4px 14px", fontSize: 12, color: "var(--soft)", cursor: "pointer" }}>The same as a table</summary>
      {open ? (
        <table className="table">
          <thead><tr><th scope="col">Object</th><th scope="col">States</th><th scope="col">Changes</th></tr></thead>
          <tbody>
            {lanes.slice(0, ROWS_MAX).map((lane) => (
              <tr key={lane.id}>
                <th scope="row" style={{ position: "static", fontWeight: 400 }}>{lane.kind} {lane.id.split("/").slice(1).filter(Boolean).join("/")}</th>
                <td>{lane.spans.map((one) => `${one.text || STATE_WORDS[one.state]} ${clockTime(one.start)} (${span(one.end - one.start)})`).join(", ")}</td>
                <td>
                  {lane.marks.filter((mark) => mark.kind !== "status").slice(-12).map((mark) => (
                    <button key={`${mark.revision}${mark.kind}`} type="button" className="button quiet small" onClick={() => pick(lane, mark, mark.time)}>
                      {clockTime(mark.time)} {mark.kind} by {mark.actor.name}
                    </button>
                  ))}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      ) : null}
    </details>
  );
}
