import { useState, type JSX } from "react";
import { gql } from "../api/graphql";
import { EVENT_FIELDS, type LogEvent } from "../model/events";
import { useData } from "../state/data";
import type { Ref } from "../state/route";
import { Actor, FaultScreen, Skeleton, Time } from "../ui/parts";

interface Answer {
  history: { nodes: LogEvent[]; pageInfo: { hasNextPage: boolean; endCursor: string | null }; cuts: string[]; horizon: number };
}

const QUERY = `query($resource: String, $namespace: String, $name: String, $until: Moment, $first: Int) {
  history(resource: $resource, namespace: $namespace, name: $name, until: $until, first: $first) { cuts horizon pageInfo { hasNextPage endCursor } nodes { ${EVENT_FIELDS} } } }`;
const PAGE = 100;

/** Every event that a name ever had, newest first. */
export function HistoryList(props: { refers: Ref; at: string | null; selected: number; pick: (event: LogEvent) => void; compare?: (event: LogEvent) => void }): JSX.Element {
  const { refers, at } = props;
  const [pages, setPages] = useState(1);
  const key = `history ${refers.resource}/${refers.namespace}/${refers.name} ${at ?? ""} ${pages}`;
  const found = useData<Answer>(key, (signal) => gql<Answer>(QUERY, { resource: refers.resource, namespace: refers.namespace || null, name: refers.name, until: at, first: Math.min(1000, PAGE * pages) }, signal));
  if (found.fault) return <FaultScreen fault={found.fault} again={found.again} />;
  if (!found.data) return <Skeleton />;
  const { nodes, pageInfo, cuts } = found.data.history;
  return (
    <div className="stack">
      <ol className="story" aria-label="History, newest first">
        {nodes.map((event) => (
          <li key={event.revision} className={`${event.actor.kind === "PERSON" ? "person" : ""} ${event.revision === props.selected ? "here" : ""}`}>
            <button type="button" onClick={() => props.pick(event)}>
              <span className="row faint"><span className="rev">r{event.revision}</span><Time time={event.time} /><Actor who={event.actor} /></span>
              <span>{event.sentence}</span>
            </button>
          </li>
        ))}
      </ol>
      {nodes.length ? null : <p className="soft">The log has nothing of it{at ? " up to this moment" : ""}.</p>}
      {cuts.map((cut) => <p key={cut} className="soft">{cut}</p>)}
      {pageInfo.hasNextPage && pages < 10 ? <button type="button" className="button" onClick={() => setPages(pages + 1)}>Older</button> : null}
    </div>
  );
}
