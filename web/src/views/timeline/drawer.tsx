// The drawer: what was clicked, what it changed, why, what came of it, and what may have broken the object.
import type { JSX } from "react";
import { gql } from "../../api/graphql";
import { CHANGE_FIELDS, EVENT_FIELDS, isPerson, laneOf, partsOf, type FieldChange, type LogEvent } from "../../model/events";
import { span } from "../../model/time";
import { useData, type Loaded } from "../../state/data";
import { moveTo } from "../../state/cursor";
import { objectPath, set, to } from "../../state/route";
import { Actor, FaultScreen, Link, Rev, Skeleton, Time } from "../../ui/parts";
import { Changes } from "../../ui/changes";
import { Suspects } from "../suspects";
import { HistoryList } from "../history";
import type { Story } from "./story";

export const TABS = [
  ["change", "Change"], ["why", "Why?"], ["then", "Then?"], ["suspects", "Suspects"], ["history", "History"],
] as const; // prettier-ignore

interface Told {
  event: (LogEvent & { diff: { changes: FieldChange[]; identical: boolean }; fieldManager: string | null; correlation: string | null }) | null;
}

const EVENT = `query($r: Revision!) { event(revision: $r) { ${EVENT_FIELDS} fieldManager correlation diff { identical changes { ${CHANGE_FIELDS} } } } }`;

export function Drawer(props: { lane: string; event: number; tab: string; story: Loaded<Story>; at: string | null }): JSX.Element {
  const { lane, event, tab } = props;
  const { resource, namespace, name } = partsOf(lane);
  const path = objectPath({ resource, namespace, name });
  return (
    <aside className="drawer" aria-label={`Details of ${name}`}>
      <header>
        <div className="row">
          <h2 className="grow ellipsis" title={lane}>{name}</h2>
          <button type="button" className="button quiet small" aria-label="Close details" title="Close (esc)" onClick={() => set({ sel: null, ev: null, tab: null })}>✕</button>
        </div>
        <div className="row soft wrap">
          <span>{resource}</span>
          {namespace ? <span>in {namespace}</span> : null}
          <span className="grow" />
          <Link className="button small" href={to(path)} title="Manifest, diff, history, tree (y)">Open</Link>
          <Link className="button small" href={to(path, { tab: "edit" })}>Edit</Link>
        </div>
      </header>
      <div className="tabs" role="tablist" aria-label="What to see">
        {TABS.map(([id, label]) => (
          <button key={id} type="button" role="tab" aria-selected={tab === id} onClick={() => set({ tab: id }, true)}>{label}</button>
        ))}
      </div>
      <div className="body" role="tabpanel" aria-label={TABS.find(([id]) => id === tab)?.[1] ?? tab}>
        {tab === "suspects" ? <Suspects refers={{ resource, namespace, name }} at={props.at} />
          : tab === "history" ? <HistoryList refers={{ resource, namespace, name }} at={props.at} selected={event} pick={(one) => { set({ ev: one.revision, tab: "change" }); moveTo(one.revision, Date.parse(one.time)); }} />
          : !event ? <p className="soft">Choose something that happened: a diamond, a circle or a cross on the lane. Or ask for the <button type="button" className="button small" onClick={() => set({ tab: "suspects" })}>suspects</button>: what changed before this object broke.</p>
          : tab === "why" || tab === "then" ? <StoryList story={props.story} kind={tab} event={event} />
          : <ChangePanel revision={event} />}
      </div>
    </aside>
  );
}

function ChangePanel({ revision }: { revision: number }): JSX.Element {
  const told = useData<Told>(`event ${revision}`, (signal) => gql<Told>(EVENT, { r: revision }, signal));
  if (told.fault) return <FaultScreen fault={told.fault} again={told.again} />;
  if (!told.data) return <Skeleton />;
  const event = told.data.event;
  if (!event) return <p className="soft">There is no event r{revision} that you may see.</p>;
  return (
    <>
      <div className="stack">
        <div className="row"><Rev revision={event.revision} time={event.time} /><Time time={event.time} /><Actor who={event.actor} /></div>
        <p>{event.sentence}</p>
        <div className="row wrap">
          <button type="button" className="button small" title="w" onClick={() => set({ tab: "why" })}>Why?</button>
          <button type="button" className="button small" title="shift-w" onClick={() => set({ tab: "then" })}>Then?</button>
          {event.causeRevision ? <span className="soft">because of r{event.causeRevision}</span> : null}
        </div>
      </div>
      <section className="stack" aria-label="What it changed">
        <h3>What it changed</h3>
        <Changes changes={event.diff.changes} empty={event.change === "DELETED" ? "It ended the object." : "Nothing that is shown."} />
      </section>
    </>
  );
}

const ROOTS: Record<string, string> = {
  PERSON: "started it",
  COMPONENT: "acted on its own: no person asked for this",
  HORIZON: "the log no longer has what was before",
  LIMIT: "the chain is longer than is shown here",
};

function StoryList({ story, kind, event }: { story: Loaded<Story>; kind: string; event: number }): JSX.Element {
  if (story.fault) return <FaultScreen fault={story.fault} again={story.again} />;
  if (!story.data) return <Skeleton />;
  const { events, root, hidden, cut, depths } = story.data;
  if (!events.length) return <p className="soft">There is nothing to tell of r{event}.</p>;
  const last = events[events.length - 1]!;
  const first = Date.parse(events[0]!.time);
  return (
    <>
      {kind === "why" && root ? (
        <p><strong className={isPerson(last.actor.kind) ? "who person" : ""}>{root === "PERSON" || root === "COMPONENT" ? last.actor.name : ""}</strong> {ROOTS[root]}{root === "PERSON" ? `, ${span(first - Date.parse(last.time))} before` : ""}.</p>
      ) : null}
      <ol className="story" aria-label={kind === "why" ? "Chain of causes" : "What followed"}>
        {events.map((one) => (
          <li key={one.revision} className={`${isPerson(one.actor.kind) ? "person" : ""} ${one.revision === event ? "here" : ""}`} style={{ marginLeft: Math.min(8, depths.get(one.revision) ?? 0) * 12 }}>
            <button type="button" onClick={() => { set({ sel: laneOf(one), at: one.revision }); }} title="Put the cursor here">
              <span className="row faint"><span className="rev">r{one.revision}</span><Time time={one.time} /></span>
              <span>{one.sentence}</span>
            </button>
          </li>
        ))}
      </ol>
      {kind === "then" && events.length === 1 ? <p className="soft">Nothing that the log knows of came of it.</p> : null}
      {hidden ? <p className="soft">{hidden} more in between, which you may not see.</p> : null}
      {cut ? <p className="soft">More followed: choose a later one to go on from there.</p> : null}
    </>
  );
}
