// The manifest with who set each line, and when, in the gutter.
import { useState, type JSX } from "react";
import { gql } from "../../api/graphql";
import { isPerson, type Who } from "../../model/events";
import { readable, toYaml, type Manifest } from "../../model/manifest";
import { utc } from "../../model/time";
import { moveTo } from "../../state/cursor";
import { useData } from "../../state/data";
import { set, type Ref } from "../../state/route";
import { Skeleton } from "../../ui/parts";
import { toast } from "../../ui/toast";

interface Told {
  blame: { whole: boolean; lines: { text: string; event: { revision: number; time: string; actor: Who; fieldManager: string | null } | null }[] } | null;
}

const QUERY = "query($ref: ObjectRef!, $at: Moment, $status: Boolean!) { blame(ref: $ref, at: $at, status: $status) { whole lines { text event { revision time fieldManager actor { name kind user } } } } }";

export function Blame({ refers, at, revision, manifest }: { refers: Ref; at: string | null; revision: number; manifest: Manifest }): JSX.Element {
  const [status, setStatus] = useState(false);
  const ref = { resource: refers.resource, namespace: refers.namespace || null, name: refers.name };
  const found = useData<Told>(`blame ${refers.resource}/${refers.namespace}/${refers.name} ${at ?? revision} ${status}`, (signal) => gql<Told>(QUERY, { ref, at, status }, signal));
  const lines = found.data?.blame?.lines;
  return (
    <div className="stack" style={{ minHeight: 0 }}>
      <div className="row wrap">
        <label className="row"><input type="checkbox" checked={status} onChange={(changed) => setStatus(changed.target.checked)} /> status</label>
        <button type="button" className="button small" onClick={() => void navigator.clipboard.writeText(toYaml(readable(manifest))).then(() => toast("Manifest copied"))}>Copy YAML</button>
        <span className="faint">The gutter says which revision set each line, and by whom; a click shows that change.</span>
      </div>
      {!lines && found.loading ? <Skeleton lines={14} /> : (
        <div className="yaml card" role="table" aria-label="Manifest with who set each line" style={{ padding: "10px 6px" }}>
          {(lines ?? toYaml(readable(manifest)).split("\n").map((text) => ({ text, event: null }))).map((line, place, all) => {
            const event = line.event;
            const same = place > 0 && all[place - 1]!.event?.revision === event?.revision;
            return (
              <div key={place} role="row" style={{ display: "contents" }}>
                <span className="gutter" role="cell">
                  {event && !same ? (
                    <button type="button" className={isPerson(event.actor.kind) ? "person" : ""} title={`${event.actor.user ?? event.actor.name}${event.fieldManager ? ` as ${event.fieldManager}` : ""} · ${utc(event.time)}`} onClick={() => { moveTo(event.revision, Date.parse(event.time)); set({ tab: "diff", b: event.revision }); }}>
                      r{event.revision} {event.actor.name}
                    </button>
                  ) : null}
                </span>
                <span className="text" role="cell"><Line text={line.text.replace(/\n$/, "")} /></span>
              </div>
            );
          })}
        </div>
      )}
      {found.data?.blame && !found.data.blame.whole ? <p className="soft">The log no longer has its beginning: what the oldest revision is said to have set may be older.</p> : null}
    </div>
  );
}

function Line({ text }: { text: string }): JSX.Element {
  const found = /^(\s*(?:- )*)([\w./$-]+|"[^"]+")(:)(.*)$/.exec(text);
  return found ? <>{found[1]}<span className="k">{found[2]}</span>{found[3]}{found[4]}</> : <>{text || " "}</>;
}
