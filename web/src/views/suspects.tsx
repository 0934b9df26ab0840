// Ranked suspects: what changed before an object broke, in all that it depends on, the likeliest first.
import type { JSX } from "react";
import { gql } from "../api/graphql";
import { CHANGE_FIELDS, EVENT_FIELDS, laneOf, type FieldChange, type LogEvent } from "../model/events";
import { useData } from "../state/data";
import { set, to, useRoute, go, type Ref } from "../state/route";
import { Changes } from "../ui/changes";
import { Actor, FaultScreen, Rev, Skeleton, Time } from "../ui/parts";

interface Answer {
  suspects: {
    complaint: string | null;
    onset: LogEvent | null;
    lookedAt: number;
    cut: boolean;
    suspects: { event: LogEvent; score: number; distance: number; reasons: string[]; way: { resource: string; name: string; relation: string }[]; changes: FieldChange[] }[];
  };
}

const QUERY = `query($ref: ObjectRef!, $at: Moment) { suspects(ref: $ref, at: $at, first: 8) { complaint lookedAt cut onset { ${EVENT_FIELDS} }
  suspects { score distance reasons way { resource name relation } changes { ${CHANGE_FIELDS} } event { ${EVENT_FIELDS} } } } }`;

export function Suspects({ refers, at }: { refers: Ref; at: string | null }): JSX.Element {
  const { path } = useRoute();
  const key = `suspects ${refers.resource}/${refers.namespace}/${refers.name} ${at ?? ""}`;
  const ref = { resource: refers.resource, namespace: refers.namespace || null, name: refers.name };
  const found = useData<Answer>(key, (signal) => gql<Answer>(QUERY, { ref, at }, signal));
  if (found.fault) return <FaultScreen fault={found.fault} again={found.again} />;
  if (!found.data) return <Skeleton />;
  const { complaint, onset, suspects, lookedAt, cut } = found.data.suspects;
  const show = (event: LogEvent): void => {
    const change = { sel: laneOf(event), ev: event.revision, at: event.revision, tab: "change" };
    if (path === "/t") set(change);
    else go(to("/t", change));
  };
  return (
    <>
      <div className="stack">
        {complaint ? <p><strong className="bad">✕ {complaint}</strong></p> : <p className="ok">Nothing is wrong with it{at ? " at this moment" : " now"}.</p>}
        {onset ? <p className="soft row wrap">since <Time time={onset.time} /><Rev revision={onset.revision} time={onset.time} /></p> : null}
      </div>
      <ol className="stack" aria-label="Suspects, the likeliest first">
        {suspects.map((one, place) => (
          <li key={one.event.revision} className={`suspect ${place === 0 ? "first" : ""}`}>
            <div className="row">
              <span className="rank">{place + 1}</span>
              <Actor who={one.event.actor} />
              <span className="grow" />
              <Time time={one.event.time} />
              <Rev revision={one.event.revision} time={one.event.time} />
            </div>
            <p>{one.event.sentence}</p>
            {one.changes.length ? <Changes changes={one.changes.slice(0, 4)} empty="" /> : null}
            <ul className="reasons">{one.reasons.map((reason) => <li key={reason}>{reason}</li>)}</ul>
            <div className="row"><button type="button" className="button small" onClick={() => show(one.event)}>Show on the timeline</button></div>
          </li>
        ))}
      </ol>
      {suspects.length ? null : <p className="soft">No change that could have done it was found among the {lookedAt} that were weighed.</p>}
      <p className="faint">{lookedAt} changes were weighed{cut ? "; older ones were left out" : ""}.</p>
    </>
  );
}
